"""HTTP server of the daemon: paths, access, connections, hooks."""
