"""Edits state files to match what the stores hold."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from kvsync.app.dump.suspects import looks_secret
from kvsync.app.dump.writer import DumpEntry
from kvsync.app.dump.yaml_text import flow
from kvsync.app.editing.entries import Edit, edit_file
from kvsync.app.editing.entry_nodes import EntryEdit, PlacedEdit
from kvsync.app.editing.lifetimes import lifetime_fields
from kvsync.app.editing.lost_entries import LostEntries
from kvsync.app.model import resolve_targets
from kvsync.errors import KvsyncError, Origin, PermanentError, UsageError
from kvsync.model.change import Change, Class, Refusal
from kvsync.model.entry import Actual, Content, Entry, Identity, Target, identity_order
from kvsync.model.exact_json import read_json
from kvsync.model.feature_flags import FLAG_TYPE, flag_fields
from kvsync.model.pass_options import PassOptions
from kvsync.planning.audit import is_text
from kvsync.planning.difference import differences

if TYPE_CHECKING:
    from kvsync.app.workspace import Workspace
    from kvsync.desired import DesiredState

_SENSITIVE: Final = "it is sensitive; change the value at the source that its reference names"
_SUSPECT: Final = "its value in the store looks like a secret; reference it with env or sops instead"
_DISAGREEING: Final = "the stores that take it from this line hold different contents; choose one with --target"
_CONFLICT: Final = (
    "it was deleted in the store and changed in the file; remove it there, or run kvsync apply to restore it"
)
_UNAPPLIED: Final = "it is not in the store yet; run kvsync apply to create it"


@dataclass(frozen=True, slots=True)
class LeftEntry:
    """An entry that differs, and why its file stays as it is."""

    target: Target
    identity: Identity
    reason: str


@dataclass(frozen=True, slots=True)
class AdoptedFiles:
    """The changed files, and the entries that differ and are not changed."""

    edits: tuple[Edit, ...]
    left: tuple[LeftEntry, ...]


async def adopt_into_files(
    workspace: Workspace, loaded: DesiredState, names: Sequence[str], keys: tuple[str, ...]
) -> AdoptedFiles:
    """The changes after which the files of these targets, of all if none is named, say what the stores hold under these keys.
    Nothing is written. Raises StoreError, UsageError, KvsyncError."""
    if workspace.config.source is not None:
        raise UsageError("the state files come from a Git repository; run kvsync adopt --write in a checkout of it")
    found: list[PlacedEdit] = []
    left: list[LeftEntry] = []
    targets = resolve_targets(loaded, names) or sorted(loaded.managed)
    for target in targets:
        differing = [one async for one in _differing(workspace, loaded, target, keys)]
        lost = LostEntries.of(loaded, target, [one.entry.identity for one in differing if one.is_lost])
        for difference in differing:
            entry, actual = difference.entry, difference.actual
            reason = _why_left(workspace, difference, lost)
            if reason is not None or entry.origin is None:
                left.append(LeftEntry(target, entry.identity, reason or _UNAPPLIED))
            elif actual is None:
                found.append(PlacedEdit(EntryEdit(target, entry.identity, "", removes=True), entry.origin))
            else:
                found.append(PlacedEdit(_edit(target, entry, actual, difference.lifetime), entry.origin))
    placed: dict[str, list[PlacedEdit]] = {}
    for one in _agreeing(found, loaded, targets, left):
        placed.setdefault(one.place.file, []).append(one)
    edits = [_edited(workspace, loaded, found, left) for _, found in sorted(placed.items())]
    return AdoptedFiles(tuple(one for one in edits if one is not None and one.diff), tuple(left))


def _agreeing(
    placed: Sequence[PlacedEdit], loaded: DesiredState, targets: Sequence[Target], left: list[LeftEntry]
) -> list[PlacedEdit]:
    """The edits, one for each entry of the files. Several targets may take an entry from the same line: it stays as it is if
    their stores do not agree."""
    by_place: dict[tuple[Origin, Identity], list[EntryEdit]] = {}
    for one in placed:
        by_place.setdefault((one.place, one.edit.identity), []).append(one.edit)
    kept: list[PlacedEdit] = []
    for (place, identity), edits in by_place.items():
        entries = (loaded.targets[target].entries.get(identity) for target in targets)
        sharing = sum(entry is not None and entry.origin == place for entry in entries)
        if len(edits) == sharing and all(replace(one, target=edits[0].target) == edits[0] for one in edits):
            kept.append(PlacedEdit(edits[0], place))
        else:
            left += [LeftEntry(one.target, identity, _DISAGREEING) for one in edits]
    return kept


def _edited(
    workspace: Workspace, loaded: DesiredState, placed: Sequence[PlacedEdit], left: list[LeftEntry]
) -> Edit | None:
    """The change of the file that all of these edits are in; None if it cannot be changed."""
    try:
        edit, refused = edit_file(workspace.config.root, placed[0].place.file, placed, loaded)
    except KvsyncError as error:
        left += [LeftEntry(one.edit.target, one.edit.identity, str(error)) for one in placed]
        return None
    left += [LeftEntry(target, identity, reason) for (target, identity), reason in refused.items()]
    return edit


@dataclass(frozen=True, slots=True)
class _Difference:
    """An entry of the files, what the store holds, and the fields that its lifetime needs; `cause` is its class in the plan.
    `is_certain`: the whole target was read."""

    entry: Entry
    actual: Actual | None
    lifetime: Mapping[str, str | None]
    cause: Class | None = None
    is_certain: bool = True

    @property
    def is_lost(self) -> bool:
        """True if kvsync wrote the entry, and the store does not have it any more."""
        return self.actual is None and self.cause in (Class.MISSING, Class.CONFLICT)


async def _differing(
    workspace: Workspace, loaded: DesiredState, target: Target, keys: tuple[str, ...]
) -> AsyncIterator[_Difference]:
    """The entries of a target that are not as the files say. Raises StoreError."""
    looking = workspace.target_pass(
        target, await workspace.find_place(target), loaded, PassOptions(deep=True, keys=keys)
    )
    plan = await looking.plan()
    if plan.error:
        raise PermanentError(f"{target}: {plan.error}")
    judged: tuple[Change | Refusal, ...] = (*plan.changes, *plan.reported, *plan.refused)
    causes = {one.identity: one.cause for one in judged}
    desired, capabilities = loaded.targets[target].entries, workspace.stores[target.store].capabilities
    for identity in sorted(causes.keys() & desired.keys(), key=identity_order):
        entry, actual = desired[identity], looking.observer.read_entries.get(identity)
        if actual is None:
            yield _Difference(entry, None, {}, causes[identity], plan.complete)
            continue
        fields = lifetime_fields(entry, actual, workspace.config.owner, capabilities, workspace.clock.now())
        if fields or differences(entry, actual):
            yield _Difference(entry, actual, fields)


def _why_left(workspace: Workspace, difference: _Difference, lost: LostEntries) -> str | None:
    """Why an entry must not be written to its file, or removed from it; None if it may."""
    entry, actual = difference.entry, difference.actual
    if actual is None and not difference.is_lost:
        return _UNAPPLIED
    if difference.cause is Class.CONFLICT and actual is None:
        return _CONFLICT
    if actual is None:
        return lost.why_kept(entry, workspace.config.environments, is_certain=difference.is_certain)
    if entry.sensitive or (actual.mark is not None and actual.mark.sensitive):
        return _SENSITIVE
    if actual.content is None:
        return "it could not be read"
    owner = actual.mark.owner if actual.mark is not None else None
    if owner not in (None, workspace.config.owner):
        return f"it belongs to owner {owner!r}"
    if not is_text(actual.content.value):
        return "its value in the store is not text; write it to the file as base64"
    if looks_secret(DumpEntry(actual.identity, actual.content)):
        return _SUSPECT
    return None


def _edit(target: Target, entry: Entry, actual: Actual, lifetime: Mapping[str, str | None]) -> EntryEdit:
    content = actual.content
    assert content is not None
    reasons = differences(entry, actual)
    texts = {"content_type": content.content_type, "description": content.description}
    fields = dict(lifetime)
    if "metadata" in reasons and content.metadata is not None:
        fields["metadata"] = flow(read_json(content.metadata))
    elif "metadata" in reasons:
        texts["metadata"] = None
    old, new = dict(entry.content.tags), dict(content.tags)
    return EntryEdit(
        target,
        entry.identity,
        content.value.decode(),
        entry.json,
        {name: text for name, text in texts.items() if name in reasons},
        {tag: new.get(tag) for tag in sorted(old.keys() | new.keys()) if old.get(tag) != new.get(tag)},
        _feature(entry, content),
        fields,
        keeps_value="value" not in reasons,
    )


def _feature(entry: Entry, content: Content) -> Mapping[str, Any] | None:
    """The fields in which a feature flag differs, None for those that it has no longer; None for anything else, and for a flag
    with members that state files do not have."""
    if FLAG_TYPE not in (entry.content.content_type, content.content_type):
        return None
    old, new = (flag_fields(entry.identity.key, one.value) for one in (entry.content, content))
    if old is None or new is None:
        return None
    return {name: new.get(name) for name in sorted(old.keys() | new.keys()) if old.get(name) != new.get(name)}
