"""The command `kvsync resume`."""

from __future__ import annotations

from collections.abc import Sequence

import click

from kvsync.cli import completing
from kvsync.cli.command import GlobalOptions, command
from kvsync.cli.exit_codes import Exit
from kvsync.cli.open import operator, require_target
from kvsync.cli.output import print_lines, print_message
from kvsync.errors import KvsyncError
from kvsync.model.entry import Identity, Target

_MOST_NAMES = 10
"""Entries that the answer names; the others are counted."""


@command(
    "resume",
    short_help="End a pause, or retry deferred entries.",
    examples=("resume local/web", "resume local", "resume local/web --key greeting", "resume local --key '*'"),
    exits=(Exit.DONE, Exit.ERROR),
)
@click.argument("target", metavar="TARGET", shell_complete=completing.targets)
@click.option(
    "--key",
    "keys",
    metavar="GLOB",
    multiple=True,
    help="Retry the deferred entries whose keys match this glob, without ending any pause; repeatable.",
)
def resume(settings: GlobalOptions, target: str, keys: tuple[str, ...]) -> Exit:
    """End the pause of TARGET (STORE/NS, or STORE for all its namespaces). A running daemon applies pending changes
    immediately; otherwise, the next kvsync apply does. A target that no file names is an error, unless kvsync has records of
    it.

    With --key, retry deferred entries of TARGET instead: entries that the store refused (quarantined), and entries that another
    writer keeps changing back (contended).
    """
    if keys:
        return _retry(settings, target, keys)
    chosen = operator(settings)
    require_target(settings, chosen, target)
    resumed = chosen.resume(target)
    if (still := resumed.still) is not None:
        raise KvsyncError(f"{target} is still paused by the pause of {still}; run kvsync resume {still}")
    print_lines(f"{target} {'is resumed' if resumed.ended else 'was not paused'}")
    return Exit.DONE


def _retry(settings: GlobalOptions, target: str, keys: Sequence[str]) -> Exit:
    chosen = operator(settings)
    require_target(settings, chosen, target)
    done = chosen.retry(target, keys)
    print_lines(f"{target}: {_named(done.released) or 'no deferred entry matches'}")
    for pause in done.pauses:
        print_message(f"kvsync: {pause} is paused, so nothing is retried; run kvsync resume {pause}")
    return Exit.DONE


def _named(released: Sequence[tuple[Target, Identity]]) -> str:
    from kvsync.rendering.words import count, name

    if not released:
        return ""
    names = [name(identity) for _, identity in released[:_MOST_NAMES]]
    more = [f"{len(released) - len(names):,} more"] if len(released) > len(names) else []
    return f"{count(len(released), 'entry', 'entries')} to retry: {', '.join(names + more)}"
