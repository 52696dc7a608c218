"""Confirmation prompt before writing."""

from __future__ import annotations

import select
import signal
import sys
from typing import Final

from kvsync.cli.output import print_message, print_message_block
from kvsync.errors import NotApproved
from kvsync.util.escaping import escape_text

_LOOK: Final = 0.2
"""Seconds between two looks for a signal while a person is asked."""


def require_terminal(command: str, *, yes: bool) -> None:
    """Raise NotApproved when nobody can be asked and `--yes` is not given."""
    if not yes and not sys.stdin.isatty():
        raise NotApproved(
            f"{command} needs confirmation, and there is no terminal to ask on; use --yes to skip the question"
        )


def confirm(question: str) -> None:
    """Ask on stderr, so that stdout has the answer alone. Raises NotApproved for anything but yes."""
    given = answer_to(f"{escape_text(question)} Type yes to continue: ")
    if given.strip().lower() != "yes":
        if not given:
            print_message("")
        raise NotApproved("aborted: not confirmed")


def answer_to(question: str) -> str:
    """The line that a person types on the terminal after `question`, which is escaped already; empty at the end of the input.
    A single Ctrl-C raises KeyboardInterrupt."""
    # asyncio takes the first Ctrl-C for itself, and would leave the question standing.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        print_message_block(question)
        # A signal that comes just before a read begins is not seen until the read ends.
        while not select.select([sys.stdin], [], [], _LOOK)[0]:
            pass
        return sys.stdin.readline()
    finally:
        signal.signal(signal.SIGINT, before)
