"""Confirmation prompt before writing."""

from __future__ import annotations

import signal
import sys

from kvsync.cli.output import print_message, print_message_block
from kvsync.errors import NotApproved
from kvsync.util.escaping import escape_text


def require_terminal(command: str, *, yes: bool) -> None:
    """Raise NotApproved when nobody can be asked and `--yes` is not given."""
    if not yes and not sys.stdin.isatty():
        raise NotApproved(
            f"{command} needs confirmation, and there is no terminal to ask on; use --yes to skip the question"
        )


def confirm(question: str) -> None:
    """Ask on stderr, so that stdout has the answer alone. Raises NotApproved for anything but yes."""
    # asyncio takes the first Ctrl-C for itself, and would leave the question standing.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        print_message_block(f"{escape_text(question)} Type yes to continue: ")
        given = sys.stdin.readline()
    finally:
        signal.signal(signal.SIGINT, before)
    if given.strip().lower() != "yes":
        if not given:
            print_message("")
        raise NotApproved("aborted: not confirmed")
