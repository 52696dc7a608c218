"""The command `kvsync pause`."""

from __future__ import annotations

import click

from kvsync.cli import completing
from kvsync.cli.command import GlobalOptions, command
from kvsync.cli.exit_codes import Exit
from kvsync.cli.open import operator, require_target
from kvsync.cli.output import print_lines


@command(
    "pause",
    short_help="Stop applying changes to a target or a store.",
    examples=("pause local/web --reason 'migration until noon'", "pause local"),
    exits=(Exit.DONE, Exit.ERROR),
)
@click.argument("target", metavar="TARGET", shell_complete=completing.targets)
@click.option("--reason", metavar="TEXT", help="Reason, shown with the pause.")
def pause(settings: GlobalOptions, target: str, reason: str | None) -> Exit:
    """Pause TARGET (STORE/NS, or STORE for all its namespaces): kvsync still plans it, but neither the daemon nor kvsync apply
    changes it. Use kvsync resume to end the pause. A target that no file names is an error.
    """
    chosen = operator(settings)
    require_target(settings, chosen, target)
    is_new = chosen.pause(target, reason)
    print_lines(f"{target} {'is paused' if is_new else 'was already paused; the reason was updated'}")
    return Exit.DONE
