"""Git revisions: the commit that the state files come from, and the revision whose configuration is used."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from kvsync.app.model import Working
from kvsync.app.workspace import Workspace
from kvsync.config.revision import ConfigDraft, ConfigRevision
from kvsync.errors import SourceError
from kvsync.util.redaction import REDACTOR

if TYPE_CHECKING:
    from kvsync.git.source import Checkout

__all__ = ["ConfigDraft", "ConfigRevision", "check_out", "read_revision"]


async def read_revision(file: Path, name: str) -> ConfigRevision:
    """The configuration of a revision; of the target branch of the change, where `name` is empty. Raises UsageError,
    SourceError."""
    from kvsync.git.config_revision import read_config_revision, target_branch

    return await read_config_revision(file, name or target_branch(os.environ), os.environ, REDACTOR.redact)


async def check_out(workspace: Workspace, *, offline: bool, fetches: bool, working: Working) -> str | None:
    """Put a commit in force, where the files come from a repository; returns it in words. A person who asks for the newest one
    wants no other: raises SourceError when it cannot be had. Without `fetches` the last good one is used, if any."""
    checkout = workspace.checkout
    if checkout is None:
        return None
    if not fetches:
        with suppress(SourceError):
            await checkout.reopen()
        return None
    if offline:
        await checkout.reopen()
    else:
        await _fetch(checkout, working)
    return f"commit {(checkout.commit or '')[:12]} of {checkout.source.url} ({checkout.source.ref})"


async def _fetch(checkout: Checkout, working: Working) -> None:
    with working("fetching"):
        fetched = await checkout.fetch()
    if fetched.refused is not None:
        kept = (
            "use --offline to continue with the last good one" if fetched.commit else "there is no earlier good commit"
        )
        raise SourceError(f"{checkout.source.url}: {fetched.refused}", kept)
