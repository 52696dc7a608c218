"""Shell completion of names: what a shell offers for targets, keys, runs, commits, hashes, environments and states.

Whatever goes wrong, nothing is offered, and nothing is printed: a person is in the middle of a line.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import click

from kvsync.util.escaping import escape_name

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from kvsync.app.names import KnownNames, Name

    Found = Iterable[Name] | Awaitable[Iterable[Name]]
    Completer = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]

MOST: Final = 200
"""Names that are offered at once."""


def _completer(*kinds: Callable[[KnownNames, click.Context], Found]) -> Completer:
    """A completer that offers names of these kinds, those of the first kind first."""

    def complete(ctx: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
        import asyncio
        from inspect import isawaitable

        from click.shell_completion import CompletionItem

        from kvsync.app.names import KnownNames
        from kvsync.cli.command import chosen_config, nearest_option

        known, items = KnownNames(chosen_config(ctx), nearest_option(ctx, "env")), list[CompletionItem]()
        for kind in kinds:
            with suppress(Exception):  # a shell would show an error as names
                found = kind(known, ctx)
                names = asyncio.run(_awaited(found)) if isawaitable(found) else found
                items += _offered(names, incomplete, MOST - len(items))
        return items

    return complete


async def _awaited(found: Awaitable[Iterable[Name]]) -> Iterable[Name]:
    return await found


def _offered(names: Iterable[Name], incomplete: str, room: int) -> list[CompletionItem]:
    """The names that begin so, as many as there is room for. Those with white space or control characters break the protocols
    of shells."""
    from click.shell_completion import CompletionItem

    fitting = (one for one in names if one.text.startswith(incomplete) and escape_name(one.text) == one.text)
    usable = (one for one in fitting if one.text.split() == [one.text])
    return [CompletionItem(one.text, help=one.about or None) for one, _ in zip(usable, range(room), strict=False)]


environments = _completer(lambda known, _ctx: known.environments())
targets = _completer(lambda known, _ctx: known.targets(), lambda known, _ctx: known.stores())
stores = _completer(lambda known, _ctx: known.stores())
runs = _completer(lambda known, _ctx: known.runs())
commits = _completer(lambda known, _ctx: known.commits())
hashes = _completer(lambda known, _ctx: known.hashes())
keys = _completer(lambda known, ctx: known.keys(ctx.params.get("target")))
sides = _completer(
    lambda known, _ctx: known.environments(), lambda known, _ctx: known.stores(), lambda known, _ctx: known.targets()
)


def states(_ctx: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The states of targets."""
    from click.shell_completion import CompletionItem

    from kvsync.app.status import STATES

    return [CompletionItem(state) for state in STATES if state.startswith(incomplete)]
