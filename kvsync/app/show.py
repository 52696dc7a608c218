"""Collects every change of a run, with the values in the journal, or every change of a saved plan."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from kvsync.app.run_list import change_document, run_documents
from kvsync.app.saved_plan import read_text
from kvsync.app.state_access import open_state
from kvsync.model.canonical import actual_fingerprint
from kvsync.model.entry import Content
from kvsync.rendering.json import Document
from kvsync.rendering.saved_plan import load
from kvsync.state import ChangeRecord, StateDir

MOST_LOOKED_UP: Final = 1_000
"""Changes of a run whose new value is looked for in the journal; beyond, fingerprints represent them."""

_LATER_CHANGES: Final = 20


def show_run(file: Path, environment: str | None, run: str) -> Document:
    """A run, named by the start of its id, and its changes. Raises InvalidInput, UsageError, StateDirError."""
    with open_state(file, environment, writable=False) as (_, state):
        found = state.journal.run(run)
        changes = state.journal.changes(found.id)
        known = _new_contents(state, changes) if len(changes) <= MOST_LOOKED_UP else {}
        described = [_change(one, known.get(number)) for number, one in enumerate(changes)]
        return {"run": run_documents(state, [found])[0], "changes": described}


def is_plan_file(name: str) -> bool:
    """True when a person names a plan file, and not a run."""
    return Path(name).is_file()


def show_plan_file(name: str) -> Document:
    """A saved plan and its changes, as they were saved: fingerprints, no values. Raises InvalidInput."""
    text = read_text(name)
    saved = load(text, name)
    document = json.loads(text)
    changes = [
        {
            "store": target["store"],
            "namespace": target["namespace"],
            **{field: change.get(field) for field in ("key", "label", "action", "class", "origin", "before", "after")},
            "outcome": None,
            "error": None,
        }
        for target in document["targets"]
        for change in target["changes"]
    ]
    plan = {"file": name, "digest": saved.digest, "owner": saved.owner, "environment": saved.environment}
    return {"plan": plan, "changes": changes}


def _new_contents(state: StateDir, changes: Sequence[ChangeRecord]) -> Mapping[int, Content]:
    """What was written, by the number of the change, where a later change of the entry found it."""
    found: dict[int, Content] = {}
    for number, change in enumerate(changes):
        if change.after is None or change.withheld:
            continue
        later = state.journal.changes_of(change.target, change.identity, _LATER_CHANGES)
        befores = (one.before.content for one in later if one.before is not None and not one.withheld)
        content = next(
            (one for one in befores if one is not None and change.matches(actual_fingerprint(one, change.matches))),
            None,
        )
        if content is not None:
            found[number] = content
    return found


def _change(change: ChangeRecord, new: Content | None) -> Document:
    before = change.before
    old = before.content if before is not None and before.mark is not None and not change.withheld else None
    old_print = before.fingerprint if before is not None and not change.withheld else None
    return change_document(change) | {
        "sensitive": change.withheld,
        "before": None if before is None else _side(old, old_print),
        "after": None if change.after is None else _side(new, change.after),
    }


def _side(content: Content | None, known: bytes | None) -> dict[str, Any]:
    """One side of a change: its value as text where that is known and is text, and its fingerprint."""
    described: dict[str, Any] = {"fingerprint": known.hex() if known is not None else None}
    if content is None:
        return described
    described["size"] = len(content.value)
    try:
        described["value"] = content.value.decode()
    except UnicodeDecodeError:
        return described
    return described
