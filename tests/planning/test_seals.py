"""Seals: made for many entries at once as for one, and told from what is not one."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvsync.model.entry import Actual, Identity, Mark
from kvsync.model.place import Place
from kvsync.planning.marks import MarkSigner, Proof, seal_from_text, seal_to_text
from tests.planning.target_model import NOW, SIGNER, actual, mark

PLACE = Place("memory", (("memory", "1"), ("namespace", "web")))
PRINT = b"fingerprint 0123"

texts = st.text(st.characters(codec=None), max_size=20)
identities = st.builds(Identity, texts, st.none() | texts)


@given(st.lists(st.tuples(identities, st.binary(min_size=16, max_size=16)), max_size=5), st.booleans(), texts)
def test_many_seals_are_those_of_each(entries: list[tuple[Identity, bytes]], is_keyed: bool, owner: str) -> None:
    """Made at once, the seals are the same as one by one, with and without an owner key, whatever keys and labels hold."""
    signer = MarkSigner(owner, PLACE, (b"a key of 32 bytes or of any size",) if is_keyed else ())
    texts = signer.plain_seal_texts([identity for identity, _ in entries], [print_ for _, print_ in entries])
    seals = [signer.signed(identity, Mark(owner, print_)).seal or b"" for identity, print_ in entries]
    assert texts == [seal_to_text(seal) for seal in seals]
    names, prints = [identity for identity, _ in entries], [print_ for _, print_ in entries]
    assert signer.sealed(names, prints, seals) == [True] * len(entries)
    assert signer.sealed(names, prints, [b"x" + seal[1:] for seal in seals]) == [seal[:1] == b"x" for seal in seals]
    for (identity, print_), seal in zip(entries, seals, strict=True):
        assert signer.seals(identity, print_, seal)
        assert signer.proof(identity, Mark(owner, print_, seal=seal)) is Proof.VALID


def test_a_label_does_not_run_into_the_options() -> None:
    """The seal of a label that reads like TTL and flags proves nothing for the label that is left without them."""
    signer = MarkSigner("me", PLACE)
    seal = signer.signed(Identity("a", "prod:60:0"), Mark("me", PRINT)).seal
    forged = Mark("me", b"None:0:" + PRINT, ttl=60, seal=seal)
    assert signer.proof(Identity("a", "prod"), forged) is Proof.NONE


@given(st.binary(min_size=16, max_size=16))
def test_a_seal_comes_back_from_its_text(seal: bytes) -> None:
    """A seal is 22 characters that can be read again."""
    text = seal_to_text(seal)
    assert len(text) == 22
    assert seal_from_text(text) == seal


@pytest.mark.parametrize("text", ["", "A", "A" * 21, "A" * 23, "é" * 22, 5, [], {}, True])
def test_what_is_not_a_seal_is_not_a_missing_one(text: object) -> None:
    """Anything but a seal is not a seal that verifies, and not the missing one of an earlier version either."""
    assert seal_from_text(text) == b""
    assert seal_from_text(None) is None
    mark = Mark("me", PRINT, seal=seal_from_text(text))
    assert MarkSigner("me", PLACE).proof(Identity("a"), mark) is Proof.NONE


LEFT = actual("k", mark=mark("v"))
"""An entry as kvsync left it."""

OTHERS: dict[str, Actual] = {
    "locked": replace(LEFT, locked=True),
    "mortal": replace(LEFT, expires_at=NOW + 60),
    "renewed": actual("k", mark=mark("v", ttl=60)),
    "sensitive": actual("k", mark=mark("v", sensitive=True)),
    "protected": actual("k", mark=mark("v", protected=True)),
    "other content": actual("k", "x", mark=mark("v")),
    "no mark": actual("k"),
    "no seal": replace(LEFT, mark=mark("v")),
    "copy": replace(LEFT, mark=SIGNER.signed(Identity("elsewhere"), mark("v"))),
    "another owner": actual("k", mark=mark("v", owner="them")),
}


@pytest.mark.parametrize("other", OTHERS.values(), ids=OTHERS)
def test_only_what_is_as_kvsync_left_it_is_settled(other: Actual) -> None:
    """The fingerprint alone counts for an entry with a valid mark and without options; any other entry is looked at."""
    assert SIGNER.is_settled(LEFT)
    assert not SIGNER.is_settled(other)


def test_a_mark_of_our_name_claims_an_entry_only_with_its_seal() -> None:
    """A mark that was made for another key, and one of another owner, do not make an entry ours."""
    claimed = {name for name, other in OTHERS.items() if SIGNER.claims(other)}
    assert claimed == OTHERS.keys() - {"no mark", "copy", "another owner"}
