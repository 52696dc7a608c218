"""Changes entries in the files that define them."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from difflib import unified_diff
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kvsync.app.editing.entry_nodes import REFERENCE, EntryEdit, PlacedEdit, set_entry
from kvsync.app.editing.masking import has_sensitive_defaults, masked_diff
from kvsync.app.editing.removals import without_keys
from kvsync.app.editing.round_trip import changed_text, meaning
from kvsync.desired.overlays import overlay_of, spellings
from kvsync.errors import InvalidInput, KvsyncError, Origin, UsageError
from kvsync.model.entry import Entry, Identity, Target, brief
from kvsync.yaml.parse import parse

if TYPE_CHECKING:
    from kvsync.app.workspace import Workspace
    from kvsync.desired import DesiredState


@dataclass(frozen=True, slots=True)
class Edit:
    """A changed file: its path relative to the configuration, and its text before and after. `sensitive` are the keys of its
    sensitive entries, None for a file that has no entries, such as the settings of an editor."""

    file: str
    path: Path
    before: str
    after: str
    sensitive: frozenset[str] | None = frozenset()

    @property
    def diff(self) -> str:
        """What changes, as a unified diff without sensitive values."""
        if self.sensitive is None:
            before, after = self.before.splitlines(keepends=True), self.after.splitlines(keepends=True)
            return "".join(unified_diff(before, after, self.file, self.file))
        return masked_diff(self.before, self.after, self.file, self.sensitive)


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
        raise UsageError(f"{edit.target}/{brief(edit.identity)} is sensitive; {REFERENCE}")
    if entry is None and workspace.stores[edit.target.store].capabilities.sensitive:
        raise UsageError(f"all entries of {edit.target.store} are sensitive; {REFERENCE}")
    place = entry.origin if entry is not None else _home(desired.entries)
    if place is None:
        raise UsageError(f"{edit.target} has no entries yet; write the first one into its state file")
    if entry is None and _lies_over_secrets(workspace, place.file):
        raise UsageError(f"{place.file}: its base file makes {brief(edit.identity)} sensitive; {REFERENCE}")
    found, refused = edit_file(workspace.config.root, place.file, [PlacedEdit(edit, place, entry is None)], loaded)
    for reason in refused.values():
        raise UsageError(reason)
    return found


def edit_file(
    root: Path, file: str, edits: Sequence[PlacedEdit], loaded: DesiredState
) -> tuple[Edit, Mapping[tuple[Target, Identity], str]]:
    """The change of one file, and why some of the edits are not part of it. Raises KvsyncError."""
    path = (root / file).resolve()
    before = path.read_bytes().decode()
    starts = [node.line for node in parse(before.encode(), file)]
    numbered = [(max(index for index, line in enumerate(starts) if line <= one.place.line), one) for one in edits]
    refused: dict[tuple[Target, Identity], str] = {}

    def change(documents: list[Any]) -> None:
        for index, one in numbered:
            try:
                if not one.edit.removes:
                    set_entry(documents[index], one)
            except UsageError as error:
                refused[one.edit.target, one.edit.identity] = str(error)

    removed: dict[int, set[str]] = {}
    for index, one in numbered:
        if one.edit.removes:
            removed.setdefault(index, set()).add(one.edit.identity.key)
    after = changed_text(before, file, change) if len(numbered) > sum(map(len, removed.values())) else before
    after = without_keys(after, file, removed) if removed else after
    _check(before, after, file, {one.edit.identity.key for one in edits})
    return Edit(file, path, before, after, sensitive_keys(loaded, file)), refused


def sensitive_keys(loaded: DesiredState, file: str) -> frozenset[str]:
    """The keys of the sensitive entries of a file. Another file may say so, such as the one that an overlay belongs to."""
    entries = (entry for desired in loaded.targets.values() for entry in desired.entries.values() if entry.sensitive)
    return frozenset(one.identity.key for one in entries if one.origin is not None and one.origin.file == file)


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


def _lies_over_secrets(workspace: Workspace, file: str) -> bool:
    """True for an overlay of a file whose defaults make entries sensitive."""
    base, _ = overlay_of(file, workspace.config.environments)
    paths = [workspace.config.root / name for name in spellings(base)] if base is not None else []
    return any(has_sensitive_defaults(path.read_bytes().decode(), str(path)) for path in paths if path.exists())


def _home(entries: Mapping[Identity, Entry]) -> Origin | None:
    """Where the last entry of a target stands: others are added after it."""
    last = list(entries.values())[-1:]
    return last[0].origin if last else None


def _check(before: str, after: str, file: str, edited: Collection[str]) -> None:
    """Raise KvsyncError unless the new text says what the old one did, but for the entries under the edited keys."""
    try:
        old, new = meaning(before, file), meaning(after, file)
    except InvalidInput as error:
        raise KvsyncError(f"{file}: cannot change the file safely: {error.problems[0].message}") from None
    for documents in (old, new):
        for document in documents:
            keys = document.get("keys") if isinstance(document, dict) else None
            if isinstance(keys, dict):
                for key in edited:
                    keys.pop(key, None)
    if old != new:
        raise KvsyncError(f"{file}: cannot change the file without changing something else; edit it by hand")
