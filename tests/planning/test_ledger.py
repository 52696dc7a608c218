"""The ledger as a document: one text for one content, and no damage goes unnoticed."""

from __future__ import annotations

import json
from dataclasses import replace
from hashlib import sha256

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kvsync.ledger.document import LedgerDamaged, LedgerDocument, LedgerRefused, LedgerRow, decode, encode
from kvsync.model.canonical import canonical_json
from kvsync.model.entry import ENDED, Applied, Identity, Mark, sealed
from kvsync.model.place import Place
from kvsync.planning.marks import MarkSigner
from kvsync.planning.sealing import SealingKeys
from tests.support.examples import examples

OWNER = "team-a"
PLACE, OTHER_PLACE = Place("test", (("id", "one"),)), Place("test", (("id", "two"),))
SIGNER = MarkSigner(OWNER, PLACE)
KEY, OTHER_KEY = b"k" * 32, b"o" * 32
PRINT = b"f" * 16

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
identities = st.builds(Identity, texts, st.none() | texts)
prints = st.binary(min_size=16, max_size=16)
moments = st.none() | st.integers(0, 4 * 10**9) | st.floats(0, 4e9, allow_nan=False)
etags = st.none() | st.just(ENDED) | texts
lifetimes = st.none() | st.integers(0, 10**9)
plain = st.builds(
    LedgerRow, prints, lifetimes, st.just(False), st.booleans(), etags, moments, st.none(), unseen_since=moments
)
secret = st.builds(
    LedgerRow, prints, st.none(), st.just(True), st.booleans(), etags, moments, st.sampled_from("abc"), moments
)
documents = st.builds(
    LedgerDocument, texts, st.dictionaries(identities, plain | secret, max_size=6), st.integers(0, 2**60)
)


@settings(max_examples=examples(60), deadline=None)
@given(documents)
def test_a_ledger_comes_back_as_it_was(document: LedgerDocument) -> None:
    """What is written is read, for any entries."""
    signer = MarkSigner(document.owner, PLACE)
    assert decode(encode(document, signer), signer) == document


@settings(max_examples=examples(30), deadline=None)
@given(documents, st.randoms(use_true_random=False))
def test_one_content_has_one_text(document: LedgerDocument, chance: object) -> None:
    """The order in which rows are known does not show, so that a ledger that says the same need not be written."""
    rows = list(document.rows.items())
    chance.shuffle(rows)  # type: ignore[attr-defined]
    assert encode(replace(document, rows=dict(rows)), SIGNER) == encode(document, SIGNER)


SAMPLE = encode(
    LedgerDocument(
        OWNER,
        {
            Identity("greeting"): LedgerRow(PRINT, etag="5:abc"),
            Identity("token"): LedgerRow(PRINT, sensitive=True, seal="0a1b", expires_at=1.5),
            Identity("theme", "dark"): LedgerRow(PRINT, ttl=3600, protected=True, etag=ENDED),
        },
    ),
    SIGNER,
)


@pytest.mark.parametrize("length", range(0, len(SAMPLE), 7))
def test_a_cut_ledger_is_known_for_what_it_is(length: int) -> None:
    """However short it was cut, what is left is not a ledger."""
    with pytest.raises(LedgerDamaged):
        decode(SAMPLE[:length], SIGNER)


@pytest.mark.parametrize("place", range(0, len(SAMPLE), 11))
def test_a_ledger_changed_by_hand_is_known_for_what_it_is(place: int) -> None:
    """No byte can be changed without being noticed."""
    changed = bytearray(SAMPLE)
    changed[place] = ord("x") if changed[place] != ord("x") else ord("y")
    with pytest.raises((LedgerDamaged, LedgerRefused)):
        decode(bytes(changed), SIGNER)


@pytest.mark.parametrize(
    "entries", [None, [["k"]], [["k", None, 7]], [["k", None, "!"]], [[1, 2, "AAAA", 0, 1, "", 0, 9]]]
)
def test_a_ledger_of_another_form_is_damaged(entries: object) -> None:
    """A document whose digest is right and whose rows are not makes no traceback."""
    body = {"entries": entries, "owner": OWNER, "schema": "kvsync.ledger/1", "seals": []}
    text = canonical_json({"digest": sha256(canonical_json(body).encode()).hexdigest(), **body})
    with pytest.raises(LedgerDamaged):
        decode(text.encode(), SIGNER)


def test_a_ledger_of_a_newer_kvsync_is_not_for_us() -> None:
    """What a later version has left is neither read nor taken for damaged."""
    with pytest.raises(LedgerRefused, match="newer release of kvsync"):
        decode(json.dumps({"schema": "kvsync.ledger/3", "digest": "?", "more": 1}).encode(), SIGNER)


def test_a_ledger_of_another_owner_is_not_for_us() -> None:
    """The owner of a ledger is reported, and what to do."""
    with pytest.raises(LedgerRefused, match=r"'team-a'.*use another namespace"):
        decode(SAMPLE, MarkSigner("team-b", PLACE))
    assert len(decode(SAMPLE, SIGNER).rows) == 3


@pytest.mark.parametrize("keys", [(), (KEY,)])
def test_a_ledger_is_bound_to_its_place(keys: tuple[bytes, ...]) -> None:
    """A copy at another place is not a ledger there, signed or not."""
    text = encode(LedgerDocument(OWNER, {Identity("a"): LedgerRow(PRINT)}), MarkSigner(OWNER, PLACE, keys))
    with pytest.raises(LedgerDamaged, match="another place"):
        decode(text, MarkSigner(OWNER, OTHER_PLACE, keys))


@pytest.mark.parametrize("forged_with", [(), (OTHER_KEY,)])
@pytest.mark.parametrize("schema", ["kvsync.ledger/1", "kvsync.ledger/2"])
def test_with_an_owner_key_nobody_else_makes_a_ledger(forged_with: tuple[bytes, ...], schema: str) -> None:
    """An unsigned ledger, one that is signed with another key and one of an earlier version count as lost."""
    text = encode(LedgerDocument(OWNER, {Identity("a"): LedgerRow(PRINT)}), MarkSigner(OWNER, PLACE, forged_with))
    if schema == "kvsync.ledger/1":
        body = {**json.loads(text), "schema": schema}
        del body["digest"]
        text = canonical_json({"digest": sha256(canonical_json(body).encode()).hexdigest(), **body}).encode()
    with pytest.raises(LedgerDamaged, match="not signed with the owner key"):
        decode(text, MarkSigner(OWNER, PLACE, (KEY,)))


def test_a_ledger_under_an_older_key_is_to_be_signed_again() -> None:
    """What a listed older key has signed is believed, and written again with the first one."""
    text = encode(LedgerDocument(OWNER, {}), MarkSigner(OWNER, PLACE, (KEY,)))
    assert decode(text, MarkSigner(OWNER, PLACE, (KEY, OTHER_KEY))).is_current
    assert not decode(text, MarkSigner(OWNER, PLACE, (OTHER_KEY, KEY))).is_current


@pytest.mark.parametrize("revision", [-1, 1.5, "7", None, [1]])
def test_a_revision_is_a_count(revision: object) -> None:
    """A document that counts otherwise is not what kvsync writes."""
    body = json.loads(SAMPLE) | {"revision": revision}
    del body["digest"]
    text = canonical_json({"digest": sha256(canonical_json(body).encode()).hexdigest(), **body})
    with pytest.raises(LedgerDamaged):
        decode(text.encode(), SIGNER)


def test_no_plain_fingerprint_of_a_secret_gets_into_a_ledger() -> None:
    """A row of a sensitive entry cannot be made without a seal."""
    with pytest.raises(AssertionError):
        LedgerRow.of(Applied(Mark(OWNER, PRINT, sensitive=True)))


def test_a_ledger_is_compact() -> None:
    """5,000 entries take no more than 70 bytes each next to their keys."""
    rows = {
        Identity(f"key-{number:04}"): LedgerRow(number.to_bytes(16, "big"), etag="123:0123456789abcdef")
        for number in range(5000)
    }
    assert len(encode(LedgerDocument(OWNER, rows), SIGNER)) < 5000 * (8 + 70)


def test_a_seal_can_be_compared_with_its_own_key_alone() -> None:
    """The row of a sensitive entry matches where its key is held, and matches nothing elsewhere."""
    applied = Applied(Mark(OWNER, sealed(PRINT, KEY), sensitive=True, key=KEY), "7")
    row = LedgerRow.of(applied)
    assert row.applied(OWNER, SealingKeys(lambda: KEY)) == applied
    assert row.applied(OWNER, SealingKeys(lambda: KEY)).matches(PRINT)
    blind = row.applied(OWNER, SealingKeys(lambda: OTHER_KEY))
    assert not blind.matches(PRINT)
    assert not blind.mark.is_comparable
    assert LedgerRow.of(blind) == row


def test_rows_under_two_seals_are_the_same_as_far_as_can_be_known() -> None:
    """Fingerprints under different seals say nothing of each other; everything else does."""
    row = LedgerRow(PRINT, None, True, etag="1", seal="a")
    assert row.is_same(row._replace(fingerprint=b"g" * 16, seal="b"))
    assert not row.is_same(row._replace(fingerprint=b"g" * 16))
    assert not row.is_same(row._replace(seal="b", etag="2"))
    assert not row.is_same(row._replace(seal=None, sensitive=False))
    assert not row.is_same(None)
