"""HTTP server of the daemon: routes, authorization, connections, webhooks."""
