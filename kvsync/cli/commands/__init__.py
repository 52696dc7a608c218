"""One module a command: it parses, calls, prints, and returns the exit code."""
