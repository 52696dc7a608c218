"""Status of the daemon and of each target, as the state directory tells it."""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from kvsync.app.state_access import open_state
from kvsync.config.model import Config
from kvsync.git import Status, read_status
from kvsync.rendering.words import moment
from kvsync.status.document import deletes_document, status_document


def current_status(file: Path, environment: str | None) -> dict[str, Any]:
    """The document `kvsync.status/1`, without a running daemon. Raises InvalidInput, StateDirError."""
    with open_state(file, environment, writable=False) as (config, state):
        budget = state.deletions.budget(config.run.max_deletes_per_hour)
        return status_document(state, time.time()) | deletes_document(budget) | {"source": _source(config)}


def _source(config: Config) -> dict[str, Any] | None:
    """The commit in force, when the files come from a repository."""
    if config.source is None:
        return None
    source = config.source
    known = read_status(config.state_dir, source.url, source.ref) or Status(source.url, source.ref)
    moments = {"fetched_at": known.fetched_at, "attempted_at": known.attempted_at}
    return asdict(known) | {name: None if at is None else moment(at) for name, at in moments.items()}
