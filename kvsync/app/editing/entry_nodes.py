"""Changes of single entries in the YAML nodes of a document."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from kvsync.app.dump.yaml_text import flow, scalar
from kvsync.app.editing.appending import append
from kvsync.app.editing.round_trip import snippet
from kvsync.errors import Origin, UsageError
from kvsync.model.entry import Identity, Target, brief
from kvsync.model.exact_json import read_json
from kvsync.util.escaping import quote_text

_ELSEWHERE: Final = ("template", "file", "base64", "env", "sops", "feature")
"""Forms of a value that is not written next to its key, or not as it is."""

REFERENCE: Final = "reference its value with env or sops instead"
"""What to do instead of writing a secret into a file."""


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


def set_entry(document: Any, placed: PlacedEdit) -> None:
    """Make one change in a document. Raises UsageError."""
    edit, keys = placed.edit, document.get("keys")
    key, label = edit.identity.key, edit.identity.label
    if placed.is_new:
        if not hasattr(keys, "items"):
            raise UsageError(f"{placed.place}: there are no keys yet; write the first one into the file")
        if (document.get("defaults") or {}).get("sensitive", "false") != "false":
            raise UsageError(f"{placed.place}: the defaults make {brief(edit.identity)} sensitive; {REFERENCE}")
        append(keys, key, _entry(edit) if label is None else {"labels": {label: _entry(edit)}})
    elif not hasattr(keys, "items") or key not in keys:
        raise UsageError(f"{placed.place}: the value of {brief(edit.identity)} comes from a file; edit that file")
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
