"""The command `kvsync approve`."""

from __future__ import annotations

import click

from kvsync.cli import completing
from kvsync.cli.command import GlobalOptions, command
from kvsync.cli.exit_codes import Exit
from kvsync.cli.open import operator
from kvsync.cli.output import print_lines


@command(
    "approve",
    short_help="Approve the parked plan with this hash.",
    examples=("approve 3f9ad1c2b7e0",),
    exits=(Exit.DONE, Exit.ERROR, Exit.REFUSED),
)
@click.argument("hash_", metavar="HASH", shell_complete=completing.hashes)
def approve(settings: GlobalOptions, hash_: str) -> Exit:
    """Approve exactly the parked plan with this hash, as shown by kvsync plan and kvsync status. The hash of a target approves
    that target; the hash of a whole plan approves all its targets. Twelve characters are enough. A running daemon applies the
    plan immediately; otherwise, the next kvsync apply does."""
    released = operator(settings).approve(hash_)
    print_lines(*(f"approved {record.target} ({record.digest})" for record in released))
    return Exit.DONE
