"""Status of a running daemon over HTTP.

model      the frozen view of everything: a `Board`
collector  fills it, from what the daemon tells and the passes leave
rows       a pending plan as rows that may be shown
metrics    the board for Prometheus
status     the board, and the state directory, as the JSON of `kvsync status` and `/status`
server     listens, and says who may ask for what
"""
