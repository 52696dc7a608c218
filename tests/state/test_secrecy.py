from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from kvsync.errors import StateDirError
from kvsync.model.change import Action, Class, Outcome, OutcomeKind
from kvsync.model.entry import Actual, Content, Identity, Mark
from kvsync.state import CleanPass, Intent, Settled, StateDir
from tests.state.examples import KEY, WEB, WEB_AT, WEB_KEY, applied, print_of, run, update

SECRET = "hunter2-correct-horse"
PREVIOUS = "hunter1-battery-staple"
NEEDLES = [
    form
    for text in (SECRET, PREVIOUS)
    for form in (text.encode(), print_of(text), print_of(text).hex().encode(), hashlib.sha256(text.encode()).digest())
]


def use_everything(state: StateDir) -> None:
    """Put a sensitive entry through every part of the state directory, as a badly behaved store would show it."""
    begun = state.journal.begin("apply")
    begun.intend(WEB_AT, [update(KEY, PREVIOUS, SECRET, sensitive=True)])
    complaint = f"400: value {SECRET!r} is not allowed"
    begun.settle(
        WEB_AT, [Settled(Outcome(KEY, Action.UPDATE, OutcomeKind.FAILED, complaint), applied(SECRET, sensitive=True))]
    )
    begun.finish({"failed": 1})
    state.quarantine.put(WEB_KEY, KEY, print_of(SECRET), complaint, now=0)
    state.passes.record(WEB, 0, error=complaint)
    state.clean_passes.put(WEB_KEY, print_of(SECRET).hex(), "config", CleanPass("token"))


def bytes_of(path: Path) -> bytes:
    return b"".join(file.read_bytes() for file in path.rglob("*") if file.is_file())


def test_no_sensitive_value_reaches_the_files(path: Path) -> None:
    """Neither a sensitive value, before or after, nor a fingerprint that a guess could be tried on is in any file."""
    with StateDir.open(path, writable=True, redact=lambda text: text.replace(SECRET, "***")) as state:
        use_everything(state)
        assert (path / "state.db-wal").stat().st_size > 0
        found = [needle for needle in NEEDLES if needle in bytes_of(path)]
    assert found == []
    assert [needle for needle in NEEDLES if needle in bytes_of(path)] == []
    assert b"is not allowed" in bytes_of(path)


def test_the_search_would_find_what_is_not_sensitive(directory: StateDir, path: Path) -> None:
    """The same entry, not marked sensitive, is found: the search above looks in the right place."""
    begun = directory.journal.begin("apply")
    begun.intend(WEB_AT, [update(KEY, PREVIOUS, SECRET)])
    assert {PREVIOUS.encode(), print_of(SECRET)} <= {needle for needle in NEEDLES if needle in bytes_of(path)}


@pytest.mark.parametrize("side", ["after", "before"])
def test_sensitive_on_one_side_is_withheld_on_both(directory: StateDir, path: Path, side: str) -> None:
    """A value that was sensitive stays out of the journal when the files stop saying so, and the other way round."""
    mark = Mark("me", print_of(PREVIOUS), sensitive=side == "before")
    before = Actual(KEY, "1", print_of(PREVIOUS), Content(PREVIOUS.encode()), mark=mark)
    begun = directory.journal.begin("apply")
    begun.intend(
        WEB_AT, [Intent(KEY, Action.UPDATE, Class.CHANGED, before, print_of(SECRET), sensitive=side == "after")]
    )
    [change] = directory.journal.changes(begun.id)
    assert change.withheld
    assert change.before is not None
    assert change.before.content is None
    assert change.matches(print_of(SECRET))
    assert [needle for needle in NEEDLES if needle in bytes_of(path)] == []


def test_nothing_that_travels_shows_the_key(state: StateDir) -> None:
    """No repr of a record gives the key of the state directory away."""
    use_everything(state)
    records = [
        *state.journal.changes(state.journal.runs()[0].id),
        *state.ledger.all(WEB_KEY).values(),
        *state.quarantine.held(WEB_KEY, -1).values(),
    ]
    assert len(records) == 3
    assert repr(state.key) not in repr(records)


def test_a_seal_is_the_same_for_every_process_with_the_key(path: Path, directory: StateDir) -> None:
    """A saved plan made by one process is compared by another."""
    assert run("print(StateDir.open(path, writable=False).seal(b'x'))", path) == directory.seal(b"x") + "\n"
    assert directory.seal(b"x") != directory.seal(b"y")


def test_another_directory_seals_differently(directory: StateDir, tmp_path: Path) -> None:
    """A seal is worth nothing without the key it was made with."""
    with StateDir.open(tmp_path / "other", writable=True) as other:
        assert other.seal(b"x") != directory.seal(b"x")


def test_a_reading_command_makes_the_key_others_will_use(path: Path) -> None:
    """A plan saved before anything was applied still matches afterwards."""
    with StateDir.open(path, writable=False) as reader:
        sealed = reader.seal(b"x")
    with StateDir.open(path, writable=True) as writer:
        assert writer.seal(b"x") == sealed


def test_without_a_place_for_a_key_sealing_still_works(tmp_path: Path) -> None:
    """Where no key can be kept, seals last as long as the process: nothing is shown unsealed instead."""
    blocked = tmp_path / "file"
    blocked.write_text("")
    with StateDir.open(blocked / "state", writable=False) as state:
        assert state.seal(b"x") == state.seal(b"x") != b"x".hex()


def test_a_damaged_key_is_not_replaced_in_silence(path: Path, directory: StateDir) -> None:
    """A key of the wrong length is an error that says what deleting it would mean."""
    (path / "key").write_bytes(b"short")
    with pytest.raises(StateDirError, match=r"key is damaged \(5 bytes, 32 expected\); restore it, or delete it"):
        directory.seal(b"x")


def test_whoever_makes_the_key_second_takes_the_first(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two processes that make the key at once, the slower one uses what the quicker one made, and leaves nothing behind."""
    quicker = b"q" * 32
    random_bytes = os.urandom

    def outrun(count: int) -> bytes:
        (path / "key").write_bytes(quicker)
        return random_bytes(count)

    monkeypatch.setattr("kvsync.state.keys.os.urandom", outrun)
    with StateDir.open(path, writable=False) as state:
        assert state.key == quicker
    assert sorted(file.name for file in path.iterdir()) == [".gitignore", "control", "key"]
    assert (path / "key").read_bytes() == quicker


def test_identities_are_not_secret(state: StateDir) -> None:
    """Keys and labels of sensitive entries are kept: without them nobody could tell what was done."""
    begun = state.journal.begin("apply")
    labelled = Identity("token", "prod")
    begun.intend(WEB_AT, [update(labelled, PREVIOUS, SECRET, sensitive=True)])
    assert [change.identity for change in state.journal.changes(begun.id)] == [labelled]
