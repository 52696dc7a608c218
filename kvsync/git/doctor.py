"""Checks of the Git source for `kvsync doctor`."""

from __future__ import annotations

from dataclasses import dataclass

from kvsync.errors import SourceError
from kvsync.git.command import find_git
from kvsync.git.model import Fetched
from kvsync.git.source import Checkout


@dataclass(frozen=True, slots=True)
class SourceCheck:
    """One step by name, whether it worked, and what to do when it did not."""

    check: str
    ok: bool
    detail: str
    hint: str | None = None


async def examine(checkout: Checkout, *, offline: bool = False) -> list[SourceCheck]:
    """Try everything that a fetch needs, and fetch unless `offline`. The clone is looked at in any case."""
    try:
        program, version = await find_git(checkout.environ)
    except SourceError as error:
        return [SourceCheck("git", False, error.message, error.hint)]
    git = SourceCheck("git", True, f"{program}, version {'.'.join(map(str, version))}")
    return [git, *([] if offline else await _fetch(checkout)), await _clone(checkout)]


async def _fetch(checkout: Checkout) -> list[SourceCheck]:
    try:
        fetched = await checkout.fetch()
    except SourceError as error:
        kept = f"; commit {checkout.commit[:12]} is in use" if checkout.commit else ""
        return [SourceCheck("reached", False, error.message + kept, error.hint)]
    return [
        SourceCheck("reached", True, f"{checkout.source.url}, {checkout.source.ref} found"),
        _newest(checkout, fetched),
    ]


def _newest(checkout: Checkout, fetched: Fetched) -> SourceCheck:
    refused = fetched.refused
    if refused is None:
        signed = ", with a trusted signature" if checkout.source.verify else ""
        return SourceCheck("newest commit", True, f"{(fetched.commit or '')[:12]}{signed}")
    kept = f"commit {fetched.commit[:12]} is in use" if fetched.commit else "no commit is in use"
    return SourceCheck(
        "newest commit", False, f"{refused.commit[:12]} was rejected: {refused.reason}; {kept}", refused.hint
    )


async def _clone(checkout: Checkout) -> SourceCheck:
    try:
        flaw = await checkout.flaw()
    except SourceError as error:
        return SourceCheck("clone", False, error.message, error.hint)
    hint = "the next fetch creates it again" if flaw else None
    return SourceCheck("clone", flaw is None, flaw or "whole", hint)
