"""Checks of the Git source for `kvsync doctor`."""

from __future__ import annotations

from kvsync.errors import ErrorCode, SourceError
from kvsync.git.command import find_git
from kvsync.git.model import Fetched
from kvsync.git.source import Checkout
from kvsync.model.health import DoctorCheck


async def examine(checkout: Checkout, *, offline: bool = False) -> list[DoctorCheck]:
    """Try everything that a fetch needs, and fetch unless `offline`. The clone is looked at in any case."""
    try:
        program, version = await find_git(checkout.environ)
    except SourceError as error:
        return [DoctorCheck("git", False, error.message, error.hint, error.code)]
    git = DoctorCheck("git", True, f"{program}, version {'.'.join(map(str, version))}")
    return [git, *([] if offline else await _fetch(checkout)), await _clone(checkout)]


async def _fetch(checkout: Checkout) -> list[DoctorCheck]:
    try:
        fetched = await checkout.fetch()
    except SourceError as error:
        kept = f"; commit {checkout.commit[:12]} is in use" if checkout.commit else ""
        return [DoctorCheck("reached", False, error.message + kept, error.hint, error.code)]
    return [
        DoctorCheck("reached", True, f"{checkout.source.url}, {checkout.source.ref} found"),
        _newest(checkout, fetched),
    ]


def _newest(checkout: Checkout, fetched: Fetched) -> DoctorCheck:
    refused = fetched.refused
    if refused is None:
        signed = ", with a trusted signature" if checkout.source.verify else ""
        return DoctorCheck("newest commit", True, f"{(fetched.commit or '')[:12]}{signed}")
    kept = f"commit {fetched.commit[:12]} is in use" if fetched.commit else "no commit is in use"
    detail = f"{refused.commit[:12]} was rejected: {refused.reason}; {kept}"
    return DoctorCheck("newest commit", False, detail, refused.hint, ErrorCode.COMMIT_REJECTED)


async def _clone(checkout: Checkout) -> DoctorCheck:
    try:
        flaw = await checkout.why_unusable()
    except SourceError as error:
        return DoctorCheck("clone", False, error.message, error.hint, error.code)
    hint = "the next fetch creates it again" if flaw else None
    return DoctorCheck("clone", flaw is None, flaw or "whole", hint)
