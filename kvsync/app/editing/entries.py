"""Changes entries in the files that define them."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import unified_diff
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from kvsync.app.dump.yaml_text import flow, scalar
from kvsync.app.editing.appending import append
from kvsync.app.editing.masking import has_sensitive_defaults, masked_diff
from kvsync.app.editing.removals import without_keys
from kvsync.app.editing.round_trip import changed_text, meaning, snippet
from kvsync.desired.overlays import overlay_of, spellings
from kvsync.errors import InvalidInput, KvsyncError, Origin, UsageError
from kvsync.model.entry import Entry, Identity, Target, brief
from kvsync.model.exact_json import read_json
from kvsync.util.escaping import quote_text
from kvsync.yaml.parse import parse

if TYPE_CHECKING:
    from kvsync.app.workspace import Workspace
    from kvsync.desired import DesiredState

_ELSEWHERE: Final = ("template", "file", "base64", "env", "sops", "feature")
"""Forms of a value that is not written next to its key, or not as it is."""


_REFERENCE: Final = "reference its value with env or sops instead"


@dataclass(frozen=True, slots=True)
class EntryEdit:
    """The value to set: of which entry, as text or as JSON. `options` are other texts to set, `tags` single tags, `feature`
    fields of a feature flag, `fields` others as YAML; None removes one. With `keeps_value`, `value` is the one that the entry
    has; with `removes`, the entry is removed from its file."""

    target: Target
    identity: Identity
    value: str
    is_json: bool = False
    options: Mapping[str, str | None] = field(default_factory=dict)
    tags: Mapping[str, str | None] = field(default_factory=dict)
    feature: Mapping[str, Any] | None = None
    fields: Mapping[str, str | None] = field(default_factory=dict)
    keeps_value: bool = False
    removes: bool = False


@dataclass(frozen=True, slots=True)
class PlacedEdit:
    """An edit of the entry at `place`; `is_new` if no file has the entry, and it is added after the one at `place`."""

    edit: EntryEdit
    place: Origin
    is_new: bool = False


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
        raise UsageError(f"{edit.target}/{brief(edit.identity)} is sensitive; {_REFERENCE}")
    if entry is None and workspace.stores[edit.target.store].capabilities.sensitive:
        raise UsageError(f"all entries of {edit.target.store} are sensitive; {_REFERENCE}")
    place = entry.origin if entry is not None else _home(desired.entries)
    if place is None:
        raise UsageError(f"{edit.target} has no entries yet; write the first one into its state file")
    if entry is None and _lies_over_secrets(workspace, place.file):
        raise UsageError(f"{place.file}: its base file makes {brief(edit.identity)} sensitive; {_REFERENCE}")
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
                    _set(documents[index], one)
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


def _set(document: Any, placed: PlacedEdit) -> None:
    """Make one change in a document. Raises UsageError."""
    edit, keys = placed.edit, document.get("keys")
    key, label = edit.identity.key, edit.identity.label
    if placed.is_new:
        if not hasattr(keys, "items"):
            raise UsageError(f"{placed.place}: there are no keys yet; write the first one into the file")
        if (document.get("defaults") or {}).get("sensitive", "false") != "false":
            raise UsageError(f"{placed.place}: the defaults make {brief(edit.identity)} sensitive; {_REFERENCE}")
        append(keys, key, _entry(edit) if label is None else {"labels": {label: _entry(edit)}})
    elif not hasattr(keys, "items") or key not in keys:
        raise UsageError(f"{placed.place}: the value of {brief(edit.identity)} is a file; change it there")
    elif label is None:
        keys[key] = _changed(keys[key], edit)
    else:
        labels = _unshared(_unshared(keys[key], edit)["labels"], edit)
        if not hasattr(labels, "items"):
            raise UsageError(
                f"{placed.place}: the labels of {key} share one value; write them as {{label: value}} first"
            )
        labels[label] = _changed(labels[label], edit)


def _unshared(node: Any, edit: EntryEdit) -> Any:
    """A node that is changed in place. Raises UsageError if it has an anchor: a change of it may change other entries."""
    if hasattr(node, "items") and node.yaml_anchor() is not None:
        raise UsageError(f"{brief(edit.identity)} has an anchor that other entries may share; edit the file by hand")
    return node


def _changed(node: Any, edit: EntryEdit) -> Any:
    """The node of an entry with another value or other options; all else stays."""
    is_full = hasattr(node, "items")
    _check_inherited(_unshared(node, edit) if is_full else {}, edit)
    if not is_full:
        return _entry(edit)
    if not edit.keeps_value:
        _set_value(node, edit)
    _set_texts(node, edit.options)
    _set_fields(node, edit.fields)
    if edit.tags:
        _set_texts(_unshared(node.setdefault("tags", snippet("{}")), edit), edit.tags)
    return node


def _set_texts(node: Any, texts: Mapping[str, str | None]) -> None:
    for name, text in texts.items():
        if text is None:
            node.pop(name)
        else:
            append(node, name, _text(text))


def _set_fields(node: Any, fields: Mapping[str, str | None]) -> None:
    for name, text in fields.items():
        if text is None:
            node.pop(name, None)
        else:
            append(node, name, snippet(text))


def _check_inherited(node: Any, edit: EntryEdit) -> None:
    """Raise UsageError if something is to be removed that the entry itself does not say."""
    own = node.get("tags", {})
    gone = [name for name, text in edit.options.items() if text is None and name not in node]
    gone += [f"the tag {name}" for name, text in edit.tags.items() if text is None and name not in own]
    if gone:
        raise UsageError(f"{gone[0]} comes from defaults or from another entry; edit the file by hand")


def _set_feature(node: Any, changes: Mapping[str, Any]) -> None:
    """Change fields of a feature flag; None removes one."""
    for name, value in changes.items():
        if name == "filters":
            node.pop("targeting", None)
        if value is None:
            node.pop(name, None)
        else:
            append(node, name, snippet(flow(value)))


def _set_value(node: Any, edit: EntryEdit) -> None:
    if edit.feature is not None and "feature" in node:
        _set_feature(_unshared(node["feature"], edit), edit.feature)
        return
    form = next((form for form in _ELSEWHERE if form in node), None)
    if form is not None:
        raise UsageError(f"{brief(edit.identity)} takes its value from {form}; change it there")
    if edit.is_json or "json" in node:
        value = _json(edit)
        node.pop("value", None)
        node["json"] = value
    else:
        node["value"] = _text(edit.value)


def _entry(edit: EntryEdit) -> Any:
    """An entry that has no node of its own yet, or a text alone."""
    options = "".join(f", {name}: {quote_text(text)}" for name, text in edit.options.items() if text is not None)
    options += "".join(f", {name}: {text}" for name, text in edit.fields.items() if text is not None)
    if edit.tags:
        options += ", tags: " + flow({name: text for name, text in edit.tags.items() if text is not None})
    if edit.is_json:
        return snippet(f"{{json: {flow(_parsed(edit))}{options}}}")
    return snippet(f"{{value: {quote_text(edit.value)}{options}}}") if options else _text(edit.value)


def _text(value: str) -> Any:
    return snippet(scalar(value))


def _json(edit: EntryEdit) -> Any:
    return snippet(flow(_parsed(edit)))


def _parsed(edit: EntryEdit) -> Any:
    try:
        return read_json(edit.value)
    except (ValueError, RecursionError):
        raise UsageError(f"{brief(edit.identity)} is JSON, and the new value is not") from None


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
