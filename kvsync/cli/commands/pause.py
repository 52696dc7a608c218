"""The command `kvsync pause`."""

from __future__ import annotations

import time
from collections.abc import Sequence

import click

from kvsync.cli import open as opening
from kvsync.cli.command import GlobalOptions, command
from kvsync.cli.exit_codes import Exit
from kvsync.cli.output import answer_lines, say
from kvsync.model.entry import Target
from kvsync.state import operator as control
from kvsync.yaml.problems import nearest


@command(
    "pause",
    short_help="Stop applying changes to a target or a store.",
    examples=("pause local/web --reason 'migration until noon'", "pause local"),
    exits=(Exit.DONE, Exit.ERROR),
)
@click.argument("target", metavar="TARGET")
@click.option("--reason", metavar="TEXT", help="Reason, shown wherever the pause is shown.")
def pause(settings: GlobalOptions, target: str, reason: str | None) -> Exit:
    """Pause TARGET (STORE/NS, or STORE for all its namespaces): kvsync still plans it, but neither the daemon nor kvsync apply
    changes it. Use kvsync resume to end the pause.
    """
    with opening.state(settings, writable=True) as (config, state):
        news = control.pause(state, config.stores, target, reason, time.time(), "command")
        state.wake()
        known = [record.target for record in state.passes.all()]
    answer_lines(f"{target} {'is paused' if news else 'was already paused; the reason was updated'}")
    _warn_of_strangers(target, known)
    return Exit.DONE


def _warn_of_strangers(target: str, known: Sequence[Target]) -> None:
    """A pause may be there before its target, but a target that the daemon never saw is more likely misspelt."""
    names = [str(one) for one in known]
    if "/" in target and names and target not in names:
        near = nearest(target, names)
        say(f"kvsync: the daemon does not know a target {target}{f' (did you mean {near}?)' if near else ''}")
