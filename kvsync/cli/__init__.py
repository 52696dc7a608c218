"""The command line: it parses, calls, prints, and alone sets exit codes."""

from kvsync.cli.main import cli, run

__all__ = ["cli", "run"]
