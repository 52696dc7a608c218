"""`kvsync resume`."""

from __future__ import annotations

import click

from kvsync import control
from kvsync.cli import opening
from kvsync.cli.command import Settings, command
from kvsync.cli.exits import Exit
from kvsync.cli.output import answer_lines
from kvsync.errors import KvsyncError


@command(
    "resume",
    short_help="End a pause.",
    examples=("resume local/web", "resume local"),
    exits=(Exit.DONE, Exit.ERROR),
)
@click.argument("target", metavar="TARGET")
def resume(settings: Settings, target: str) -> Exit:
    """End the pause of TARGET. What is pending is applied by a running daemon at once, otherwise by the next kvsync apply."""
    with opening.state(settings, writable=True) as (config, state):
        resumed = control.resume(state, config.stores, target, "command")
        state.wake()
    if (still := resumed.still) is not None:
        raise KvsyncError(f"{target} stays paused, because all of {still} is: kvsync resume {still} ends that")
    answer_lines(f"{target} {'is resumed' if resumed.ended else 'was not paused'}")
    return Exit.DONE
