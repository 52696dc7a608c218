"""Digest of a plan, so that approval releases exactly the plan that was reviewed.

It covers the changes and the versions they expect, and nothing that changes over time: no stats, no cost, no expiry that the
store reports, and no renewals, which change no content. Whether the target is parked is not part of it, because approving must
not change what is approved.

It is keyed (HMAC), with a key that authors of state files do not have. Without one, an author could look for two plans whose
digests begin with the same digits, show one and push the other: for 12 digits that takes a minute. The key also lets it cover
sensitive values: nobody can try values against it.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Iterable
from hashlib import sha256

from kvsync.model.change import Action, Change, Refusal
from kvsync.model.entry import Actual, Entry, Target
from kvsync.model.place import Place

SHORTEST_HASH = 12
"""Hex digits of a digest that an approval must give, and that a plan shows. Enough, because only who has the key can compute
one: an author needs a plan by kvsync for each try."""

_Row = tuple[str | int | None, ...]

_encode = json.JSONEncoder(separators=(",", ":")).encode


def target_digest(
    key: bytes, target: Target, place: Place | None, changes: Iterable[Change], refused: Iterable[Refusal] = ()
) -> str:
    """`sha256:<64 hex>` of what would be done to one target at its place, whatever the order in which it is given."""
    rows = [_change_row(change) for change in changes if change.action is not Action.RENEW]
    rows += [_refusal_row(refusal) for refusal in refused]
    place_key = place.key if place is not None and place.is_resolved else None
    return _digest("kvsync.target/3", [(target.store, target.namespace, place_key)], rows, key)


def plan_digest(key: bytes, owner: str, targets: Iterable[tuple[Target, str]]) -> str:
    """`sha256:<64 hex>` of a whole plan: its owner, and every target with its digest, in any order."""
    rows: list[_Row] = [(target.store, target.namespace, digest) for target, digest in targets]
    return _digest("kvsync.plan/2", [(owner,)], rows, key)


def entry_digest(entry: Entry | None) -> bytes:
    """A digest of everything that the files say about an entry, but for where they say it; None when they do not name it. It
    can be guessed from a guessed value: seal it before it is kept."""
    return _digest("kvsync.entry/1", [], [_entry_row(entry)]).encode()


def write_digest(change: Change) -> bytes:
    """A digest of the entry that a change would write, and of what it would overwrite. As for `entry_digest`."""
    return _digest("kvsync.write/1", [_overwritten_row(change.before)], [_entry_row(change.after)]).encode()


def _entry_row(entry: Entry | None) -> _Row:
    if entry is None:
        return ()
    lifetime = (entry.ttl, entry.expires_at, entry.renew_before)
    order: _Row = ("after", *entry.after, entry.after_all) if entry.after or entry.after_all else ()
    return (entry.fingerprint.hex(), *lifetime, entry.mode, entry.json, entry.protected, entry.sensitive, *order)


def _overwritten_row(before: Actual | None) -> _Row:
    """The version, as the precondition of the write names it; where the store has none, what is known of the content."""
    if before is None:
        return ()
    return ("etag", before.etag) if before.etag is not None else ("content", _hex(before.fingerprint), before.size)


def _change_row(change: Change) -> _Row:
    before, after = change.before, change.after
    is_shown = before is not None and (before.etag is None or not change.sensitive)
    row: _Row = (
        *("change", *change.identity, change.action, change.cause),
        before.etag if before else None,
        _hex(before.fingerprint) if before and is_shown else None,
        *(("to", *_entry_row(after)) if after else ()),
        *(sorted(change.reasons) if change.reasons else ()),
    )
    if change.moved_to:
        row += ("moved to", *change.moved_to)
    if change.moved_to_target:
        row += ("of target", *_target_name(change.moved_to_target))
    if after is None or not (after.after or after.after_all):
        return row
    order: _Row = ("after", *change.written_after) if change.written_after else ()
    return (*row, *order, *(("after all",) if change.is_last else ()))


def _refusal_row(refusal: Refusal) -> _Row:
    return ("refused", *refusal.identity, refusal.action, refusal.cause, refusal.reason)


def _target_name(target: Target) -> tuple[str, str]:
    return target.store, target.namespace


def _hex(fingerprint: bytes | None) -> str | None:
    return None if fingerprint is None else fingerprint.hex()


def _digest(kind: str, head: list[_Row], rows: Iterable[_Row], key: bytes | None = None) -> str:
    """Hash JSON texts, one a line: JSON escapes line ends, so no two lists of rows give the same bytes."""
    lines = [_encode(kind), *map(_encode, head), *sorted(map(_encode, rows))]
    text = "\n".join(lines).encode()
    return "sha256:" + (sha256(text).digest() if key is None else hmac.digest(key, text, "sha256")).hex()
