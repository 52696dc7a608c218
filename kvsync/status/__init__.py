"""Status of a running daemon over HTTP.

snapshot        everything that is shown, as frozen values: a `StatusSnapshot`
plan_views      pending plans and undos, as far as they may be shown
collector       what the daemon's events and the results of passes say, as it comes
target_reports  what is kept of the plan and report of each target's last pass
pending_rows    a pending plan as rows that may be shown
run_views       runs, from the result of a pass or from the journal
assemble        builds the snapshot from what was collected, and from the state directory
fleet           what other replicas that share the state work on
metrics         the snapshot for Prometheus
document        the snapshot, or the state directory, as the JSON of `kvsync status` and `/status`
readiness       whether passes come and end, for `/readyz`
http            the server: routes, authorization, connections, the webhook
page            the snapshot as HTML
"""
