"""The digest represents exactly what would be done."""

from __future__ import annotations

import hmac
import json
import re
from collections.abc import Callable
from dataclasses import fields, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvsync.errors import Origin
from kvsync.model.change import Action, Change, Class, Refusal
from kvsync.model.digest import entry_digest, plan_digest, target_digest, write_digest
from kvsync.model.entry import Actual, Content, Entry, Identity, Mark, Mode, Target
from tests.planning.plans import TARGET, change, plan, stored, target_plan, wanted

UPDATE = change(stored("a", "old"), wanted("a", "new"))
CREATE = change(None, wanted("b", "v", "prod"))
DELETE = change(stored("c", "v"), None)
RENEW = change(stored("d", "v"), wanted("d", "v", ttl=60), ("ttl",), action=Action.RENEW, cause=Class.EXPIRING)
REFUSAL = Refusal(Identity("e"), Class.TAKEN, Action.UPDATE, "it belongs to another owner")
ALL = (UPDATE, CREATE, DELETE)
KEY = b"key"


def test_form() -> None:
    """A digest is `sha256:` and 64 hexadecimal digits."""
    assert re.fullmatch("sha256:[0-9a-f]{64}", target_digest(KEY, TARGET, None, ALL))
    assert re.fullmatch("sha256:[0-9a-f]{64}", plan_digest(KEY, "owner", []))


@given(st.permutations(ALL), st.permutations([TARGET, Target("a", "b"), Target("ab", "")]))
def test_order(changes: list[Change], targets: list[Target]) -> None:
    """The order in which changes and targets are given does not matter."""
    assert target_digest(KEY, TARGET, None, changes) == target_digest(KEY, TARGET, None, ALL)
    digests = [(target, "sha256:0") for target in targets]
    assert plan_digest(KEY, "owner", digests) == plan_digest(KEY, "owner", sorted(digests))


@pytest.mark.parametrize(
    "vary",
    [
        lambda one: replace(one, action=Action.ADOPT),
        lambda one: replace(one, cause=Class.DRIFTED),
        lambda one: replace(one, identity=Identity("z")),
        lambda one: replace(one, identity=Identity("a", "")),
        lambda one: replace(one, reasons=("value", "tags")),
        lambda one: replace(one, before=replace(one.before, etag="etag-2")),
        lambda one: replace(one, before=replace(one.before, fingerprint=b"other")),
        lambda one: replace(one, after=replace(one.after, fingerprint=b"other")),
        lambda one: replace(one, after=replace(one.after, ttl=60)),
        lambda one: replace(one, after=replace(one.after, expires_at=60)),
        lambda one: replace(one, after=replace(one.after, sensitive=True)),
        lambda one: replace(one, moved_to=Identity("z")),
    ],
)
def test_what_counts(vary: Callable[[Change], Change]) -> None:
    """Whatever is done differently, or to another version, changes the digest."""
    assert target_digest(KEY, TARGET, None, [vary(UPDATE)]) != target_digest(KEY, TARGET, None, [UPDATE])


def test_refusals_and_targets_count() -> None:
    """Refusals, the target and the owner are part of what is approved."""
    base = target_digest(KEY, TARGET, None, ALL)
    assert target_digest(KEY, TARGET, None, ALL, [REFUSAL]) != base
    assert target_digest(KEY, Target("edge", "other"), None, ALL) != base
    assert plan_digest(KEY, "us", [(TARGET, base)]) != plan_digest(KEY, "them", [(TARGET, base)])


@pytest.mark.parametrize(
    "changes",
    [
        [replace(UPDATE, before=stored("a", "old", expires_at=123.4)), CREATE, DELETE],
        [*ALL, RENEW],
    ],
)
def test_time_does_not_count(changes: list[Change]) -> None:
    """What comes and goes with time alone, the end of an entry and its renewal, leaves the digest as it was."""
    assert target_digest(KEY, TARGET, None, changes) == target_digest(KEY, TARGET, None, ALL)


def test_parked_is_not_part_of_it() -> None:
    """A plan has the same digest parked and released, whatever it cost to make."""
    free, parked = target_plan(*ALL), target_plan(*ALL, parked=("too many",), unchanged=5)
    assert plan(free).digest == plan(parked).digest


def test_an_approval_covers_no_other_secret() -> None:
    """A sensitive value counts, the new one and, where there are no versions, the one that is overwritten."""

    def digest(old: str, new: str, etag: str | None = None) -> str:
        return target_digest(KEY, TARGET, None, [change(stored("a", old, etag=etag), wanted("a", new, sensitive=True))])

    assert len({digest("old", "new"), digest("old", "new!"), digest("old!", "new")}) == 3
    assert digest("old", "new", "1") != digest("old", "new!", "1")


def test_nobody_computes_a_digest_without_the_key() -> None:
    """The same plan has other digests under another key, of a target and of the whole: otherwise an author could look for two
    plans with the same beginning."""
    digests = [target_digest(key, TARGET, None, ALL) for key in (KEY, b"other")]
    assert digests[0] != digests[1]
    assert plan_digest(KEY, "us", [(TARGET, digests[0])]) != plan_digest(b"other", "us", [(TARGET, digests[0])])


def test_names_do_not_run_together() -> None:
    """Names that only look alike when put side by side give different digests."""
    pairs = [("a", "b c"), ("a b", "c"), ("a\nb", "c"), ("a", "b\nc"), ("", "abc")]
    digests = {target_digest(KEY, TARGET, None, [change(None, wanted(key, "v", label))]) for key, label in pairs}
    targets = {target_digest(KEY, Target(*pair), None, ()) for pair in pairs}
    assert len(digests) == len(targets) == len(pairs)


ENTRY_PARTS: dict[str, dict[str, object]] = {
    "fingerprint": {"fingerprint": b"other"},
    "ttl": {"ttl": 60},
    "expires_at": {"expires_at": 60},
    "renew_before": {"renew_before": 60},
    "json": {"json": True},
    "mode": {"mode": Mode.CREATE_ONLY},
    "protected": {"protected": True},
    "sensitive": {"sensitive": True},
    "after": {"after": ("b",)},
    "after_all": {"after_all": True},
}


def test_the_parts_of_an_entry_are_all_known() -> None:
    """A new field of an entry is put into the digest, or into this list of those that name the entry, its place in the files,
    or its turn (which the digest of a plan covers)."""
    assert {one.name for one in fields(Entry)} == {*ENTRY_PARTS, "identity", "content", "origin", "after", "after_all"}


@pytest.mark.parametrize("part", ENTRY_PARTS)
def test_every_part_of_an_entry_counts(part: str) -> None:
    """Whatever the files ask for differently makes another entry, and another write."""
    entry = wanted("a", "v")
    other = replace(entry, **ENTRY_PARTS[part])  # type: ignore[arg-type]
    assert entry_digest(entry) != entry_digest(other)
    assert write_digest(change(None, entry)) != write_digest(change(None, other))


def test_where_an_entry_is_written_does_not_count() -> None:
    """The line in the file says nothing of what is asked for."""
    entry = wanted("a", "v")
    assert entry_digest(entry) == entry_digest(replace(entry, origin=Origin("other.yaml", 7, 3)))


def test_no_entry_is_distinguished_from_any_entry() -> None:
    """An entry that no file names has a digest of its own."""
    assert entry_digest(None) == entry_digest(None)
    assert entry_digest(None) != entry_digest(wanted("a", ""))


def test_what_a_write_overwrites_counts() -> None:
    """Nothing, a version, and another version are each another write; of one version nothing else counts."""
    after, before = wanted("a", "v"), stored("a", "old")
    versions = [None, before, replace(before, etag="etag-2"), replace(before, etag=None)]
    assert len({write_digest(change(one, after)) for one in versions}) == len(versions)
    assert write_digest(change(replace(before, size=9, mark=None), after)) == write_digest(change(before, after))
    assert write_digest(change(before, None)) != write_digest(change(before, after))


def test_without_versions_the_content_is_what_a_write_overwrites() -> None:
    """Where there is no version the fingerprint counts, and the size where that is all there is."""
    before = stored("a", "old", etag=None)
    befores = [
        before,
        replace(before, fingerprint=b"other"),
        *(replace(before, fingerprint=None, size=n) for n in (1, 2)),
    ]
    assert len({write_digest(change(one, wanted("a", "v"))) for one in befores}) == len(befores)


def reference_digest(changes: list[Change]) -> str:
    """The digest of a target without a place, by its definition: one row of JSON for each change, and the parts of a row that
    a change lacks are left out."""
    rows = []
    for one in changes:
        before, after = one.before, one.after
        is_shown = not one.sensitive or (before is not None and before.etag is None)
        row: list[object] = ["change", one.identity.key, one.identity.label, one.action, one.cause]
        row.append(before.etag if before else None)
        row.append(before.fingerprint.hex() if before and before.fingerprint is not None and is_shown else None)
        if after:
            order = ["after", *after.after, after.after_all] if after.after or after.after_all else []
            row += [
                "to",
                after.fingerprint.hex(),
                after.ttl,
                after.expires_at,
                after.renew_before,
                after.mode,
                after.json,
            ]
            row += [after.protected, after.sensitive, *order]
        row += sorted(one.reasons)
        row += ["moved to", one.moved_to.key, one.moved_to.label] if one.moved_to else []
        where = one.moved_to_target
        row += ["of target", where.store, where.namespace] if where else []
        row += ["after", *one.written_after] if one.written_after else []
        row += ["after all"] if one.is_last else []
        rows.append(row)
    head = (TARGET.store, TARGET.namespace, None)
    texts = [json.dumps(row, separators=(",", ":")) for row in ("kvsync.target/3", head)]
    texts += sorted(json.dumps(row, separators=(",", ":")) for row in rows)
    return "sha256:" + hmac.digest(KEY, "\n".join(texts).encode(), "sha256").hex()


NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=5)
IDENTITIES = st.builds(Identity, NAMES, st.none() | NAMES)
ENTRIES = st.builds(
    Entry,
    IDENTITIES,
    st.just(Content(b"v")),
    st.binary(min_size=2, max_size=4),
    ttl=st.none() | st.integers(1, 99),
    json=st.booleans(),
    mode=st.sampled_from(Mode),
    sensitive=st.booleans(),
    after=st.lists(NAMES, max_size=2).map(tuple),
    after_all=st.booleans(),
)
ACTUALS = st.builds(
    Actual,
    IDENTITIES,
    st.none() | NAMES,
    st.none() | st.binary(max_size=3),
    mark=st.none() | st.builds(Mark, NAMES, st.just(b"f"), sensitive=st.booleans()),
)
CHANGES = st.builds(
    Change,
    st.sampled_from([action for action in Action if action is not Action.RENEW]),
    st.sampled_from(Class),
    IDENTITIES,
    st.lists(st.sampled_from(["value", "tags", "mark"]), unique=True).map(tuple),
    st.none() | ACTUALS,
    st.none() | ENTRIES,
    moved_to=st.none() | IDENTITIES,
    moved_to_target=st.none() | st.builds(Target, NAMES, NAMES),
)


@given(st.lists(CHANGES, max_size=4))
def test_the_digest_of_a_plan_stays_the_same(changes: list[Change]) -> None:
    """Whatever is in a change, its row is the one that approvals of earlier versions were given for."""
    assert target_digest(KEY, TARGET, None, changes) == reference_digest(changes)
