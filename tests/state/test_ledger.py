from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from kvsync.model.entry import Applied, Identity, Mark, Target
from kvsync.state import StateDir
from tests.state.conftest import Opener
from tests.state.examples import KEY, WEB_KEY, applied, print_of
from tests.support.examples import examples
from tests.support.places import key_of

identities = st.builds(Identity, st.text(max_size=6), st.none() | st.text(max_size=4))
known = st.builds(
    Applied,
    st.builds(
        Mark,
        st.text(min_size=1, max_size=4),
        st.binary(min_size=16, max_size=16),
        st.none() | st.integers(0, 10**9),
        st.just(False),
        st.booleans(),
    ),
    st.none() | st.text(max_size=4),
    st.none() | st.floats(0, 4e9, allow_nan=False),
)


@settings(max_examples=examples(25), deadline=None)
@given(st.dictionaries(identities, known, max_size=6), st.sets(identities, max_size=3))
def test_the_ledger_gives_back_what_it_was_given(entries: dict[Identity, Applied], gone: set[Identity]) -> None:
    """Any identity, with any label or none, keeps its own record, until it is gone."""
    with tempfile.TemporaryDirectory() as folder, StateDir.open(Path(folder), writable=True) as state:
        state.ledger.record(WEB_KEY, entries)
        assert state.ledger.all(WEB_KEY) == entries
        assert state.ledger.get(WEB_KEY, [*entries, *gone]) == entries
        state.ledger.record(WEB_KEY, {}, gone)
        assert state.ledger.all(WEB_KEY) == {one: entries[one] for one in entries if one not in gone}


def test_targets_do_not_mix(state: StateDir) -> None:
    """What was applied to one target is unknown in every other."""
    api, backup = Target("edge", "api"), Target("backup", "web")
    state.ledger.record(WEB_KEY, {KEY: applied("a")})
    state.ledger.record(key_of(backup), {KEY: applied("b")})
    assert state.ledger.get(key_of(api), [KEY]) == {}
    assert state.ledger.get(key_of(backup), [KEY, Identity("no")]) == {KEY: applied("b")}


def test_a_sensitive_record_can_be_compared_and_not_read(state: StateDir) -> None:
    """Of a sensitive entry the ledger still tells equal from different, without holding its fingerprint."""
    state.ledger.record(WEB_KEY, {KEY: applied("hunter2", sensitive=True)})
    [kept] = state.ledger.get(WEB_KEY, [KEY]).values()
    assert kept.matches(print_of("hunter2"))
    assert not kept.matches(print_of("hunter3"))
    assert kept.mark.fingerprint != print_of("hunter2")


def test_a_sensitive_record_may_be_written_back(state: StateDir) -> None:
    """A record read from the ledger and stored again, with a new version, still matches."""
    state.ledger.record(WEB_KEY, {KEY: applied("hunter2", sensitive=True)})
    kept = state.ledger.all(WEB_KEY)[KEY]
    state.ledger.record(WEB_KEY, {KEY: Applied(kept.mark, "9")})
    [again] = state.ledger.all(WEB_KEY).values()
    assert again.etag == "9"
    assert again.matches(print_of("hunter2"))


def test_a_lost_key_makes_sensitive_entries_differ(path: Path) -> None:
    """Without the old key nothing sensitive counts as applied, which is the safe side."""
    with StateDir.open(path, writable=True) as state:
        state.ledger.record(WEB_KEY, {KEY: applied("hunter2", sensitive=True)})
    (path / "key").unlink()
    with StateDir.open(path, writable=True) as state:
        assert not state.ledger.all(WEB_KEY)[KEY].matches(print_of("hunter2"))


def test_owner_keys_seal_the_ledger_of_each_place(tmp_path: Path, open_state: Opener) -> None:
    """With an owner key two state directories keep a sensitive record alike; without it the record stays as it is, and matches
    nothing."""
    kept: list[Mark] = []
    for name in ("one", "two"):
        with open_state(tmp_path / name) as state:
            state.use_owner_keys((b"o" * 32,))
            state.ledger.record(WEB_KEY, {KEY: applied("hunter2", sensitive=True)})
            [one] = state.ledger.get(WEB_KEY, [KEY]).values()
            assert one.matches(print_of("hunter2"))
            kept.append(one.mark)
    assert kept[0] == kept[1]
    with open_state(tmp_path / "two") as state:
        [blind] = state.ledger.get(WEB_KEY, [KEY]).values()
        assert not blind.matches(print_of("hunter2"))
        state.ledger.record(WEB_KEY, {KEY: blind})
        state.use_owner_keys((b"n" * 32, b"o" * 32))
        [again] = state.ledger.all(WEB_KEY).values()
        assert again.matches(print_of("hunter2"))


def test_records_of_before_there_was_an_owner_key_are_compared(state: StateDir) -> None:
    """What the directory sealed with its own key can be compared when there is an owner key, too."""
    state.ledger.record(WEB_KEY, {KEY: applied("hunter2", sensitive=True)})
    state.use_owner_keys((b"o" * 32,))
    [kept] = state.ledger.all(WEB_KEY).values()
    assert kept.matches(print_of("hunter2"))


def test_very_many_records_keep_their_own_values(state: StateDir) -> None:
    """More than one statement takes; some values are absent, and a moment may be a whole number."""
    many = {
        Identity(f"key{number}", "x" if number % 2 else None): Applied(
            Mark("me", print_of(str(number)), number if number % 3 else None), None, number if number % 5 else 0.5
        )
        for number in range(2_500)
    }
    state.ledger.record(WEB_KEY, many)
    assert state.ledger.all(WEB_KEY) == many
    asked = [Identity("no"), *many]
    assert state.ledger.get(WEB_KEY, asked) == many
    state.ledger.record(WEB_KEY, {}, many)
    assert state.ledger.all(WEB_KEY) == {}
