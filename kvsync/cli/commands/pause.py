"""The command `kvsync pause`."""

from __future__ import annotations

import click

from kvsync.cli.command import GlobalOptions, command
from kvsync.cli.exit_codes import Exit
from kvsync.cli.open import operator
from kvsync.cli.output import answer_lines, say


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
    done = operator(settings).pause(target, reason)
    answer_lines(f"{target} {'is paused' if done.is_new else 'was already paused; the reason was updated'}")
    if not done.is_known:  # a pause may be there before its target, but is more likely misspelt
        near = f" (did you mean {done.near}?)" if done.near else ""
        say(f"kvsync: the daemon does not know a target {target}{near}")
    return Exit.DONE
