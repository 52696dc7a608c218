"""One module per command: it parses, calls, prints, and returns the exit code."""
