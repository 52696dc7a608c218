"""Sealing keys: what one machine sealed another can compare where both have the owner key, and nobody else can."""

from __future__ import annotations

from kvsync.model.entry import NOT_HELD, Mark, sealed
from kvsync.planning.sealing import SealingKeys, name_of, sealing_keys

OWN, OTHER_OWN, OWNER_KEY, NEW_KEY = b"1" * 32, b"2" * 32, b"o" * 32, b"n" * 32
PRINT = b"f" * 16
SENSITIVE = Mark("team-a", PRINT, sensitive=True)


def keys(own: bytes = OWN, *owner_keys: bytes, place: str = "here") -> SealingKeys:
    return sealing_keys(lambda: own, owner_keys, place)


def test_machines_with_one_owner_key_seal_alike() -> None:
    """The key is derived from the owner key, so that two state directories come to the same one."""
    one, two = keys(OWN, OWNER_KEY), keys(OTHER_OWN, OWNER_KEY)
    assert one.sealed(SENSITIVE) == two.sealed(SENSITIVE)
    assert two.key(one.current_name) == one.current
    assert one.is_for_all(two.current_name)


def test_places_and_owner_keys_seal_differently() -> None:
    """The same secret at two places, or under two keys, has two sealed fingerprints, and the owner key is not used itself."""
    marks = [
        keys(OWN, OWNER_KEY).sealed(SENSITIVE),
        keys(OWN, OWNER_KEY, place="there").sealed(SENSITIVE),
        keys(OWN, NEW_KEY).sealed(SENSITIVE),
        keys(OWN).sealed(SENSITIVE),
    ]
    assert len({mark.fingerprint for mark in marks}) == len(marks)
    assert OWNER_KEY not in {mark.key for mark in marks}


def test_what_is_sealed_with_a_key_that_is_not_held_matches_nothing() -> None:
    """Another machine's own key is known by name alone: it is kept as it is, and neither matches nor can be made to match."""
    mark = keys(OTHER_OWN).sealed(SENSITIVE)
    assert mark.key is not None
    stand_in = keys(OWN).key(name_of(mark.key))
    assert name_of(stand_in) == name_of(mark.key)
    blind = Mark("team-a", mark.fingerprint, sensitive=True, key=stand_in)
    assert not blind.is_comparable
    assert not blind.matches(PRINT)
    forged = Mark("team-a", sealed(PRINT, stand_in), sensitive=True, key=stand_in)
    assert stand_in.startswith(NOT_HELD)
    assert not forged.matches(PRINT)


def test_an_older_owner_key_still_compares() -> None:
    """While an older owner key is listed, what was sealed with it can be compared, and what is new is sealed with the first."""
    before, after = keys(OWN, OWNER_KEY), keys(OWN, NEW_KEY, OWNER_KEY)
    old = before.sealed(SENSITIVE)
    assert old.key is not None
    assert after.key(name_of(old.key)) == old.key
    assert after.is_held(name_of(old.key))
    assert not after.is_for_all(name_of(old.key))
    assert after.current == keys(OWN, NEW_KEY).current


def test_only_sensitive_marks_are_sealed() -> None:
    """What is not sensitive is compared as it is, everywhere; what came sealed stays as it came."""
    plain = Mark("team-a", PRINT)
    assert keys(OWN, OWNER_KEY).sealed(plain) == plain
    once = keys(OWN).sealed(SENSITIVE)
    assert keys(OWN, OWNER_KEY).sealed(once) == once


def test_the_key_of_the_directory_is_read_when_it_is_needed() -> None:
    """With owner keys a ledger that is sealed with them needs no key of this directory."""

    def unreadable() -> bytes:
        raise AssertionError("the directory's key was read")

    shared = sealing_keys(unreadable, (OWNER_KEY,), "here")
    assert shared.sealed(SENSITIVE).key == shared.current
    assert shared.key(shared.current_name) == shared.current
