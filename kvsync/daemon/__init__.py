"""Daemon: decides when each target gets a pass.

loop           the order of work, from start to end
triggers       which triggers mean what, and how those that arrive together are folded
files          the desired state as last loaded, and whether the files have stopped changing
loading        reads the files in the background
config_reload  loads a changed configuration
watch          notices changed files; `watch_plan` says which folders to watch
fetching       fetches the Git repository of the files
store_watch    notices changes in stores that report them
schedule       regular passes, by interval or cron
signals        signals, and the request to stop
wake           the file that commands touch to wake the daemon
undoing        undo requests of operators
pool           one worker a target; `worker` combines triggers, and schedules retries
pass_runner    one pass, whose every exception becomes a result
gate           whether a pass may apply: observe mode, pauses, `windows`, leadership
report         log, status row, systemd; `observer` is the interface for others
readiness      whether every target has had its first pass
work_health    whether the passes work at all, for the election
parts          wires these for `loop` and for `once`, which does one pass over all targets
ports          what the daemon needs of the rest
"""
