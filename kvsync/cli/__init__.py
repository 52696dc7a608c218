"""Command line interface: parses arguments, calls the application layer, prints, and sets the exit code."""

from kvsync.cli.main import cli, run

__all__ = ["cli", "run"]
