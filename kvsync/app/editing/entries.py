"""Sets the value of one entry in the file that defines it."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import unified_diff
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from kvsync.app.dump.yaml_text import flow, scalar
from kvsync.app.editing.round_trip import changed_text, meaning, snippet
from kvsync.errors import InvalidInput, KvsyncError, Origin, UsageError
from kvsync.model.entry import Entry, Identity, Target, brief
from kvsync.model.exact_json import read_json
from kvsync.yaml.parse import parse

if TYPE_CHECKING:
    from kvsync.app.workspace import Workspace

_ELSEWHERE: Final = ("template", "file", "base64", "env", "sops", "feature")
"""Forms of a value that is not written next to its key, or not as it is."""


@dataclass(frozen=True, slots=True)
class EntryEdit:
    """The value to set: of which entry, as text or as JSON."""

    target: Target
    identity: Identity
    value: str
    is_json: bool = False


@dataclass(frozen=True, slots=True)
class Edit:
    """A changed file: its path relative to the configuration, and its text before and after."""

    file: str
    path: Path
    before: str
    after: str

    @property
    def diff(self) -> str:
        """What changes, as a unified diff."""
        before, after = self.before.splitlines(keepends=True), self.after.splitlines(keepends=True)
        return "".join(unified_diff(before, after, self.file, self.file))


def edit_entry(workspace: Workspace, edit: EntryEdit) -> Edit:
    """The change of the file, or overlay, that defines an entry in the environment in force. An entry that no file defines is
    added to the file of the target. Raises InvalidInput, UsageError, KvsyncError."""
    if workspace.config.source is not None:
        raise UsageError("the state files come from a Git repository; run kvsync set in a checkout of it")
    loaded = workspace.load()
    desired = loaded.targets.get(edit.target)
    if desired is None or edit.target in loaded.held or loaded.hold_all:
        if loaded.problems:
            raise InvalidInput(loaded.problems)
        raise UsageError(f"no state file names {edit.target}")
    entry = desired.entries.get(edit.identity)
    if entry is not None and entry.sensitive:
        message = f"{edit.target}/{brief(edit.identity)} is sensitive"
        raise UsageError(f"{message}; keep its value out of state files, with env or sops")
    place = entry.origin if entry is not None else _home(desired.entries)
    if place is None:
        raise UsageError(f"{edit.target} has no entries yet; write the first one into its state file")
    path = (workspace.config.root / place.file).resolve()
    before = path.read_bytes().decode()
    is_new = entry is None
    after = changed_text(before, place.file, lambda documents: _set(documents, before, place, edit, is_new=is_new))
    _check(before, after, place, edit)
    return Edit(place.file, path, before, after)


def write_edit(edit: Edit) -> None:
    """Replace the file at once; its permissions stay. A file that is not there is created. Raises KvsyncError when it was
    changed in the meantime."""
    if not edit.before:
        edit.path.parent.mkdir(parents=True, exist_ok=True)
        edit.path.touch()
    if edit.path.read_bytes().decode() != edit.before:
        raise KvsyncError(f"{edit.file}: the file was changed in the meantime; run the command again")
    handle, name = tempfile.mkstemp(dir=edit.path.parent, prefix=".kvsync-")
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="") as stream:
            stream.write(edit.after)
        shutil.copymode(edit.path, name)
        Path(name).replace(edit.path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _home(entries: Mapping[Identity, Entry]) -> Origin | None:
    """Where the last entry of a target stands: others are added after it."""
    last = list(entries.values())[-1:]
    return last[0].origin if last else None


def _set(documents: list[Any], text: str, place: Origin, edit: EntryEdit, *, is_new: bool) -> None:
    """Make the change in the documents of a file."""
    document = documents[_document_at(text, place)]
    keys = document["keys"]
    key, label = edit.identity.key, edit.identity.label
    names = {str(name): name for name in keys}
    if is_new:
        keys[key] = _entry(edit) if label is None else {"labels": {label: _entry(edit)}}
    elif label is None:
        keys[names[key]] = _changed(keys[names[key]], edit)
    else:
        labels = keys[names[key]]["labels"]
        if not hasattr(labels, "items"):
            raise UsageError(f"{place}: the labels of {key} share one value; write them as {{label: value}} first")
        name = {str(one): one for one in labels}[label]
        labels[name] = _changed(labels[name], edit)


def _changed(node: Any, edit: EntryEdit) -> Any:
    """The node of an entry with another value; its options stay."""
    if not hasattr(node, "items"):
        return _entry(edit)
    form = next((form for form in _ELSEWHERE if form in node), None)
    if form is not None:
        raise UsageError(f"{brief(edit.identity)} takes its value from {form}; change it there")
    changed = node
    if edit.is_json or "json" in node:
        changed.pop("value", None)
        changed["json"] = _json(edit)
    else:
        changed["value"] = _text(edit.value)
    return changed


def _entry(edit: EntryEdit) -> Any:
    return snippet(f"{{json: {flow(_parsed(edit))}}}") if edit.is_json else _text(edit.value)


def _text(value: str) -> Any:
    return snippet(scalar(value))


def _json(edit: EntryEdit) -> Any:
    return snippet(flow(_parsed(edit)))


def _parsed(edit: EntryEdit) -> Any:
    try:
        return read_json(edit.value)
    except (ValueError, RecursionError):
        raise UsageError(f"{brief(edit.identity)} is JSON, and the new value is not") from None


def _document_at(text: str, place: Origin) -> int:
    """The number of the document that a place is in."""
    starts = [node.line for node in parse(text.encode(), place.file)]
    return max(index for index, line in enumerate(starts) if line <= place.line)


def _check(before: str, after: str, place: Origin, edit: EntryEdit) -> None:
    """Raise KvsyncError unless the new text says what the old one did, but for this entry."""
    try:
        old, new = meaning(before, place.file), meaning(after, place.file)
    except InvalidInput as error:
        raise KvsyncError(f"{place.file}: cannot change the file safely: {error.problems[0].message}") from None
    for documents in (old, new):
        for document in documents:
            keys = document.get("keys") if isinstance(document, dict) else None
            if isinstance(keys, dict):
                keys.pop(edit.identity.key, None)
    if old != new:
        raise KvsyncError(f"{place.file}: cannot change the file without changing something else; edit it by hand")
