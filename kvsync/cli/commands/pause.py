"""`kvsync pause`."""

from __future__ import annotations

import time

import click

from kvsync import control
from kvsync.cli import opening
from kvsync.cli.command import Settings, command
from kvsync.cli.exits import Exit
from kvsync.cli.output import answer


@command(
    "pause",
    short_help="Apply nothing to a target, or to all of a store, for now.",
    examples=("pause local/web --reason 'migration until noon'", "pause local"),
    exits=(Exit.DONE, Exit.ERROR),
)
@click.argument("target", metavar="TARGET")
@click.option("--reason", metavar="TEXT", help="Why, for those who meet the pause.")
def pause(settings: Settings, target: str, reason: str | None) -> Exit:
    """Leave TARGET (STORE/NS, or STORE for all of it) alone: plans go on, nothing is applied, neither by the daemon nor by
    kvsync apply. kvsync resume ends it.
    """
    with opening.state(settings, writable=True) as (config, state):
        news = control.pause(state, config.stores, target, reason, time.time(), "command")
        state.wake()
    answer(f"{target} {'is paused' if news else 'was paused already; the reason is noted'}\n")
    return Exit.DONE
