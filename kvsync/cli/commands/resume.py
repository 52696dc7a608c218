"""`kvsync resume`."""

from __future__ import annotations

import click

from kvsync.cli import opening
from kvsync.cli.command import Settings, command
from kvsync.cli.exits import Exit
from kvsync.cli.output import answer
from kvsync.core.model import Target
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
        store, namespace = opening.place(target, config)
        ended = state.pauses.resume(store, namespace)
        left = state.pauses.find(Target(store, namespace)) if namespace is not None else None
        state.wake()
    if left is not None:
        raise KvsyncError(f"{target} stays paused, because all of {left} is: kvsync resume {left} ends that")
    answer(f"{target} {'is resumed' if ended else 'was not paused'}\n")
    return Exit.DONE
