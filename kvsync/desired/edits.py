"""What an edit of state files changed in a target, so that a pass can leave out everything else."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Final

from kvsync.desired.model import DocumentRows
from kvsync.desired.rows import Rows, RowTemplate
from kvsync.desired.views import EntriesView, TargetRows
from kvsync.model.desired import Desired, EditedEntries
from kvsync.model.entry import Entry, Identity

FEW: Final = 256
"""Entries of the changed documents, and of all edits that are kept: with more, a whole pass costs hardly more."""

_MOST_BYTES: Final = 1024 * 1024
"""Bytes of the values that an edit keeps in memory until the next one."""

_KEPT: Final = 4
"""Earlier states of a target whose difference to the current one is kept: files may be read several times until a pass."""

_Pair = tuple[DocumentRows, DocumentRows]


def changed_documents(before: Sequence[DocumentRows], after: Sequence[DocumentRows]) -> list[_Pair]:
    """The documents of a target that an edit replaced, with those in their places."""
    return [(old, new) for old, new in zip(before, after, strict=True) if old is not new]


def keeps_names(documents: Iterable[_Pair]) -> bool:
    """True if the documents have the same entries as before, perhaps with other values: then they conflict with nothing that
    they did not conflict with before."""
    return all(
        _is_alike(old, new)
        and old.count == new.count
        and not (_is_ordered(old.rows) or _is_ordered(new.rows))
        and old.rows.keys == new.rows.keys
        and old.rows.labels == new.rows.labels
        for old, new in documents
    )


def with_edits(desired: Desired, rows: TargetRows, known: Desired, documents: Sequence[_Pair]) -> Desired:
    """The state of a target with what the documents changed since a `known` state of it, and since earlier states."""
    edits = () if desired.digest == known.digest else _edits_since(known, documents)
    if not edits:
        return desired
    edited: dict[Identity, Entry | None] = {identity: None for one in edits for identity in one.before}
    for one in edits:
        edited |= one.after
    return replace(desired, entries=EntriesView(rows, edited), edits=edits)


def _edits_since(known: Desired, documents: Sequence[_Pair]) -> tuple[EditedEntries, ...]:
    """What the documents changed; nothing if more than entries changed, or too many of them."""
    if not all(_is_alike(old, new) for old, new in documents):
        return ()
    if sum(old.count + new.count for old, new in documents) > FEW:
        return ()
    entries = {row: new.rows.entry(index) for _, new in documents for index, row in enumerate(new.rows.identities())}
    edit = _edit(known.digest, documents, entries)
    edits = (edit, *(_joined(earlier, edit, entries) for earlier in known.edits))
    return tuple(one for one in edits[:_KEPT] if _is_small(one))


def _is_small(edit: EditedEntries) -> bool:
    if len(edit.before) + len(edit.after) > FEW:
        return False
    return sum(len(entry.content.value) for entry in edit.after.values()) <= _MOST_BYTES


def _is_alike(old: DocumentRows, new: DocumentRows) -> bool:
    """True if documents may differ in their entries only."""
    if old.policy != new.policy or old.is_source_only or new.is_source_only:
        return False
    return not (old.absent or new.absent or old.moved or new.moved)


def _is_ordered(rows: Rows) -> bool:
    return any(shape.after or shape.after_all for shape in rows.table)


def _edit(digest: str, documents: Sequence[_Pair], entries: Mapping[Identity, Entry]) -> EditedEntries:
    was = dict(row for old, _ in documents for row in _contents(old.rows))
    now = dict(row for _, new in documents for row in _contents(new.rows))
    changed = {identity for identity in was.keys() | now.keys() if was.get(identity) != now.get(identity)}
    return EditedEntries(
        digest,
        frozenset(was.keys() & changed),
        {identity: entry for identity, entry in entries.items() if identity in changed},
    )


def _contents(rows: Rows) -> Iterator[tuple[Identity, tuple[bytes, RowTemplate]]]:
    """What makes the entries of rows equal for a plan: fingerprint and options."""
    shapes = (rows.table[number] for number in rows.shapes)
    return zip(rows.identities(), zip(rows.prints, shapes, strict=True), strict=True)


def _joined(earlier: EditedEntries, later: EditedEntries, entries: Mapping[Identity, Entry]) -> EditedEntries:
    """Both edits as one. The `entries` of the documents that the later one changed may be in other lines since the earlier."""
    before = earlier.before | {identity for identity in later.before if identity not in earlier.after}
    left: Mapping[Identity, Entry] = {
        identity: entries.get(identity, entry)
        for identity, entry in earlier.after.items()
        if identity not in later.before
    }
    return EditedEntries(earlier.digest, before, {**left, **later.after})
