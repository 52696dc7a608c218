from __future__ import annotations

import re
import secrets
import signal
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvsync.errors import StateDirError, UsageError
from kvsync.model.change import Action, Class, Outcome, OutcomeKind
from kvsync.model.entry import Actual, Applied, Content, Identity, Mark, Target
from kvsync.planning.sealing import SealingKeys
from kvsync.state import Intent, RunStatus, Settled, StateDir
from kvsync.state.before import before_of, before_text
from kvsync.state.journal_pruning import AT_LEAST, YOUNG
from kvsync.testing import FakeClock
from kvsync.util.clock import Clock
from tests.state.conftest import Opener
from tests.state.examples import KEY, WEB, WEB_AT, WEB_KEY, actual, applied, apply_one, done, print_of, start, update
from tests.support.places import located


class FrozenClock(Clock):
    """A clock that stands still."""

    def now(self) -> float:
        return 1_800_000_000.25


def test_a_run_tells_what_it_did(state: StateDir) -> None:
    """A finished run is read back with its changes: what was there, what was written, what came of it, and from where."""
    begun = state.journal.begin("apply", source="3f2a91c")
    begun.intend(WEB_AT, [update(KEY, "Hello", "Hi")])
    begun.settle(WEB_AT, [done(KEY, "Hi", etag="8")])
    begun.finish({"applied": 1})

    record = state.journal.run(begun.id)
    assert (record.command, record.source, record.status) == ("apply", "3f2a91c", RunStatus.FINISHED)
    assert (record.changes, dict(record.summary)) == (1, {"applied": 1})
    assert record.finished_at is not None
    [change] = state.journal.changes(begun.id)
    assert (change.run, change.target, change.identity) == (begun.id, WEB, KEY)
    assert (change.action, change.cause, change.origin) == (Action.UPDATE, Class.CHANGED, "state/web.yaml:6:3")
    assert change.before == actual(KEY, "Hello")
    assert change.matches(print_of("Hi"))
    assert not change.matches(print_of("Hello"))
    assert (change.outcome, change.etag, change.withheld) == (OutcomeKind.APPLIED, "8", False)


def test_the_ledger_moves_with_the_outcome(state: StateDir) -> None:
    """Settling a batch records what is now in agreement and forgets what is gone, in one step with the outcomes."""
    gone = Identity("old")
    state.ledger.record(WEB_KEY, {gone: applied("x")})
    begun = state.journal.begin("apply")
    begun.intend(WEB_AT, [update(KEY, "Hello", "Hi"), Intent(gone, Action.DELETE, Class.REMOVED)])
    begun.settle(WEB_AT, [done(KEY, "Hi"), Settled(Outcome(gone, Action.DELETE, OutcomeKind.APPLIED), gone=True)])
    assert state.ledger.all(WEB_KEY) == {KEY: applied("Hi", etag="8")}


def test_a_failure_keeps_the_ledger_and_says_why(state: StateDir) -> None:
    """An outcome without agreement leaves the ledger as it was, and the reason in the journal."""
    state.ledger.record(WEB_KEY, {KEY: applied("Hello")})
    begun = state.journal.begin("apply")
    begun.intend(WEB_AT, [update(KEY, "Hello", "Hi")])
    begun.settle(WEB_AT, [Settled(Outcome(KEY, Action.UPDATE, OutcomeKind.FAILED, "value too long"))])
    assert state.ledger.all(WEB_KEY) == {KEY: applied("Hello")}
    [change] = state.journal.changes(begun.id)
    assert (change.outcome, change.error) == (OutcomeKind.FAILED, "value too long")


def test_planning_again_replaces_the_intent(state: StateDir) -> None:
    """After a conflict the entry's record shows what was there when the write finally happened."""
    begun = state.journal.begin("apply")
    begun.intend(WEB_AT, [update(KEY, "Hello", "Hi"), update(Identity("other"), "a", "b")])
    begun.intend(WEB_AT, [update(KEY, "Bonjour", "Hi")])
    begun.settle(WEB_AT, [done(KEY, "Hi")])
    other, change = state.journal.changes(begun.id)
    assert change.before == actual(KEY, "Bonjour")
    assert (change.identity, change.outcome) == (KEY, OutcomeKind.APPLIED)
    assert (other.identity, other.outcome) == (Identity("other"), None)


def test_the_same_key_of_two_targets_is_two_changes(state: StateDir) -> None:
    """One run over several targets keeps them apart."""
    begun = state.journal.begin("run")
    api = Target("edge", "api")
    begun.intend(WEB_AT, [update(KEY, "a", "b")])
    begun.intend(located(api), [update(KEY, "c", "d")])
    begun.settle(WEB_AT, [done(KEY, "b")])
    outcomes = {change.target: change.outcome for change in state.journal.changes(begun.id)}
    assert outcomes == {WEB: OutcomeKind.APPLIED, api: None}


def test_ids_of_runs_are_short_sorted_and_never_twice(open_state: Opener) -> None:
    """Runs begun at the same instant still get ids of their own, which sort in the order the runs were begun."""
    with open_state(clock=FrozenClock()) as state:
        ids = [state.journal.begin("run").id for _ in range(3)]
        assert ids == ["20270115-080000-250", "20270115-080000-251", "20270115-080000-252"]
        assert [record.id for record in state.journal.runs(limit=2)] == ids[:0:-1]


def test_a_run_is_found_by_the_start_of_its_id(open_state: Opener) -> None:
    """A unique start of an id is enough; one that is not unique, or of no run, is an error that helps on."""
    with open_state(clock=FrozenClock()) as state:
        with pytest.raises(UsageError, match="unknown run 'x'; run `kvsync history`"):
            state.journal.run("x")
        first = state.journal.begin("run").id
        assert state.journal.run("20270115").id == first
        second = state.journal.begin("run").id
        with pytest.raises(UsageError, match=f"matches the runs {second}, {first}"):
            state.journal.run("20270115")
        assert state.journal.run(first).id == first


@pytest.mark.parametrize("unknown", ["", "%", "_", "20270115-080000-999"])
def test_an_unknown_run_is_a_mistake_of_usage(state: StateDir, unknown: str) -> None:
    """Nothing but the start of an id finds a run."""
    apply_one(state, KEY, "a", "b")
    with pytest.raises(UsageError, match=re.escape(f"unknown run {unknown!r}")):
        state.journal.run(unknown)


def test_the_last_change_of_an_entry(state: StateDir) -> None:
    """`explain` finds the newest change of exactly this entry, label and all."""
    assert state.journal.last_change(WEB, KEY) is None
    apply_one(state, KEY, "a", "b")
    newest = apply_one(state, KEY, "b", "c")
    apply_one(state, Identity("greeting", "prod"), "x", "y")
    change = state.journal.last_change(WEB, KEY)
    assert change is not None
    assert (change.run, change.before) == (newest, actual(KEY, "b"))


def test_old_runs_are_forgotten_with_their_changes(state: StateDir) -> None:
    """Retention keeps the newest runs whole, and nothing of the others."""
    ids = [apply_one(state, KEY, str(number), str(number + 1)) for number in range(5)]
    state.journal.prune(keep_runs=5)
    assert len(state.journal.runs()) == 5
    state.journal.prune(keep_runs=2)
    assert [record.id for record in state.journal.runs()] == [ids[4], ids[3]]
    assert [len(state.journal.changes(run_id)) for run_id in ids] == [0, 0, 0, 1, 1]


def test_the_journal_is_bounded_by_age_and_bytes(open_state: Opener) -> None:
    """Old runs are forgotten, and runs that do not fit; the last few are kept at any age, and young ones at any size."""
    clock = FakeClock()
    with open_state(clock=clock) as state:
        for number in range(AT_LEAST + 5):
            apply_one(state, KEY, secrets.token_hex(50_000), str(number))
        clock.advance(2 * YOUNG)
        state.journal.prune(max_age=3 * YOUNG)
        assert len(state.journal.runs(100)) == AT_LEAST + 5
        state.journal.prune(max_age=YOUNG)
        assert len(state.journal.runs(100)) == AT_LEAST
        young = [apply_one(state, KEY, secrets.token_hex(50_000), str(number)) for number in range(8)]
        state.journal.prune(max_size=1_000_000)
        left = [record.id for record in state.journal.runs(100)]
        assert left[: len(young)] == [*reversed(young)]
        assert len(left) == len(young) + 1
        state.journal.prune(max_size=100_000)
        assert [record.id for record in state.journal.runs(100)] == [*reversed(young)]
        clock.advance(2 * YOUNG)
        state.journal.prune(max_size=250_000)
        assert [record.id for record in state.journal.runs(100)] == young[:-3:-1]


def test_the_sizes_of_many_runs_are_read_together(open_state: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    """A daemon that starts with a large journal does not wait for an answer for each run; later, it reads new runs only."""
    with open_state() as state:
        for number in range(150):
            apply_one(state, KEY, str(number), str(number + 1))
        asked, ask = [], state.database.query

        def query(sql: str, parameters: Sequence[object] = ()) -> list[Any]:
            asked.append(sql)
            return ask(sql, parameters)

        monkeypatch.setattr(state.database, "query", query)
        monkeypatch.setattr(state.database, "size", lambda: 1 << 40)
        state.journal.prune(max_size=1)
        first = len(asked)
        assert first < 10
        apply_one(state, KEY, "1", "2")
        asked.clear()
        state.journal.prune(max_size=1)
        assert len(asked) < first
        assert len(state.journal.runs(1000)) == 151  # young runs stay


def test_a_journal_that_fits_costs_what_is_new(open_state: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files stay as large as they once were: that runs were forgotten must not make each later look read all that are left."""
    with open_state() as state:
        for number in range(30):
            apply_one(state, KEY, str(number), str(number + 1))
        rows, ask = [], state.database.query

        def query(sql: str, parameters: Sequence[object] = ()) -> list[Any]:
            found = ask(sql, parameters)
            rows.append(len(found))
            return found

        monkeypatch.setattr(state.database, "query", query)
        monkeypatch.setattr(state.database, "size", lambda: 1 << 40)
        state.journal.prune(max_size=1 << 30)
        assert sum(rows) >= 30
        rows.clear()
        apply_one(state, KEY, "1", "2")
        state.journal.prune(keep_runs=10, max_size=1 << 30)
        apply_one(state, KEY, "2", "3")
        rows.clear()
        state.journal.prune(max_size=1 << 30)
        assert sum(rows) == 2, "one row for the run, one for its size"
        assert len(state.journal.runs(100)) == 11


def test_the_size_of_a_run_under_way_is_read_again(open_state: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    """It grows, also where another process works on it."""
    clock = FakeClock()
    with open_state(clock=clock) as state:
        old = apply_one(state, KEY, "a", "b")
        grown = state.journal.begin("run")
        monkeypatch.setattr(state.database, "size", lambda: 1 << 40)
        state.journal.prune(max_size=10_000)
        grown.intend(WEB_AT, [update(KEY, secrets.token_hex(10_000), "b")])
        grown.settle(WEB_AT, [done(KEY, "b")])
        grown.finish({})
        clock.advance(2 * YOUNG)
        last = apply_one(state, KEY, "b", "c")
        state.journal.prune(max_size=10_000)
        assert [record.id for record in state.journal.runs(10)] == [last]
        assert state.journal.changes(old) == []


def test_a_run_under_way_is_not_forgotten(state: StateDir) -> None:
    """However many runs come and go meanwhile, one under way stays, and all that began after it."""
    slow = state.journal.begin("run")
    ids = [apply_one(state, KEY, str(number), str(number + 1)) for number in range(4)]
    state.journal.prune(keep_runs=2)
    assert [record.id for record in state.journal.runs()] == [*reversed(ids), slow.id]
    slow.finish({})
    state.journal.prune(keep_runs=2)
    assert [record.id for record in state.journal.runs()] == [ids[3], ids[2]]


def test_a_killed_run_is_noticed_once(state: StateDir) -> None:
    """The next writer learns of runs that never ended, and from then on they count as interrupted."""
    killed = state.journal.begin("apply").id
    apply_one(state, KEY, "a", "b")
    assert [record.id for record in state.journal.unfinished()] == [killed]
    assert [record.id for record in state.journal.close_interrupted()] == [killed]
    assert state.journal.close_interrupted() == []
    assert state.journal.run(killed).status is RunStatus.INTERRUPTED


KILLED = """
with StateDir.open(path, writable=True) as state, state.lock("kvsync apply"):
    begun = state.journal.begin("apply")
    begun.intend(WEB_AT, [update(KEY, "Hello", "Hi"), update(Identity("other"), "a", "b")])
    begun.settle(WEB_AT, [done(KEY, "Hi")])
    begun.intend(WEB_AT, [update(Identity("third"), "c", "d")])
    print(begun.id, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_kill_between_intent_and_outcome_loses_nothing(path: Path) -> None:
    """After `kill -9` the journal is readable: what was under way has its previous value and no outcome, the rest has one."""
    with start(KILLED, path) as process:
        output, _ = process.communicate()
    assert process.returncode == -signal.SIGKILL
    with StateDir.open(path, writable=False) as state:
        changes = {change.identity.key: change for change in state.journal.changes(output.strip())}
        assert {key: change.outcome for key, change in changes.items()} == {
            "greeting": OutcomeKind.APPLIED,
            "other": None,
            "third": None,
        }
        assert changes["third"].before == actual(Identity("third"), "c")
        assert state.ledger.all(WEB_KEY) == {KEY: applied("Hi", etag="8")}
    with StateDir.open(path, writable=True) as state, state.lock("kvsync apply"):
        assert [record.id for record in state.journal.close_interrupted()] == [output.strip()]


def test_an_intent_is_there_for_others_before_the_write_is_sent(path: Path, directory: StateDir) -> None:
    """`intend` returns only once another process can read the intent."""
    begun = directory.journal.begin("apply")
    begun.intend(WEB_AT, [update(KEY, "Hello", "Hi")])
    script = "print(len(StateDir.open(path, writable=False).journal.changes(sys.stdin.readline().strip())))"
    with start(script, path) as process:
        output, _ = process.communicate(begun.id + "\n")
    assert output == "1\n"


def test_a_refused_settle_changes_neither_outcome_nor_ledger(path: Path, directory: StateDir) -> None:
    """Outcome and ledger are one transaction: when it cannot be committed, both stay as they were."""
    begun = directory.journal.begin("apply")
    begun.intend(WEB_AT, [update(KEY, "Hello", "Hi")])
    (path / "state.db").rename(path / "moved.db")
    with pytest.raises(StateDirError, match=r"state\.db was removed or replaced while in use; restart kvsync"):
        begun.settle(WEB_AT, [done(KEY, "Hi")])
    (path / "moved.db").rename(path / "state.db")
    assert [change.outcome for change in directory.journal.changes(begun.id)] == [None]
    assert directory.ledger.all(WEB_KEY) == {}


def test_a_batch_is_recorded_whole_or_not_at_all(state: StateDir) -> None:
    """When one intent of a batch cannot be recorded none is, and the run goes on."""
    begun = state.journal.begin("apply")
    broken = Intent(Identity("broken"), Action.CREATE, Class.NEW, origin=object())  # type: ignore[arg-type]
    with pytest.raises(Exception, match="type"):
        begun.intend(WEB_AT, [*(update(Identity(f"key/{number}"), "a", "b") for number in range(1000)), broken])
    assert state.journal.changes(begun.id) == []
    begun.intend(WEB_AT, [update(KEY, "Hello", "Hi")])
    begun.settle(WEB_AT, [done(KEY, "Hi")])
    assert [change.outcome for change in state.journal.changes(begun.id)] == [OutcomeKind.APPLIED]


def test_targets_in_several_threads_do_not_disturb_each_other(state: StateDir) -> None:
    """Runs of different targets may be written from different threads at the same time."""

    def work(number: int) -> str:
        there, begun = located(Target("edge", str(number))), state.journal.begin("run")
        for key in map(Identity, "abcdefgh"):
            begun.intend(there, [update(key, "a", "b")])
            begun.settle(there, [done(key, "b")])
        begun.finish()
        return begun.id

    with ThreadPoolExecutor(4) as threads:
        ids = list(threads.map(work, range(4)))
    for number, run_id in enumerate(ids):
        changes = state.journal.changes(run_id)
        assert {change.target.namespace for change in changes} == {str(number)}
        assert [change.outcome for change in changes] == [OutcomeKind.APPLIED] * 8


texts = st.text(max_size=8)
optional_texts = st.none() | texts
contents = st.builds(
    Content,
    st.binary(max_size=16),
    optional_texts,
    st.dictionaries(texts, texts, max_size=2).map(lambda tags: tuple(sorted(tags.items()))),
    optional_texts,
)
marks = st.builds(
    Mark, texts, st.binary(min_size=16, max_size=16), st.none() | st.integers(1, 9), st.booleans(), st.booleans()
)
moments = st.none() | st.floats(0, 4e9, allow_nan=False)


@given(
    optional_texts, st.none() | st.binary(min_size=16, max_size=16), st.none() | contents, moments, st.none() | marks
)
def test_what_was_there_before_is_kept_whole(
    etag: str | None, digest: bytes | None, held: Content | None, expires_at: float | None, mark: Mark | None
) -> None:
    """An entry that is not sensitive comes out of the journal as it went in, so that undo can restore it."""
    before = Actual(KEY, etag, digest, held, expires_at=expires_at, mark=mark)
    keys = SealingKeys(lambda: b"k")
    text = before_text(before, withheld=False, keys=keys)
    assert before_of(KEY, text, held.value if held else None, keys) == before


@pytest.mark.parametrize("owner_keys", [(), (b"o" * 32,)])
def test_a_mark_from_the_ledger_is_kept_as_it_is(state: StateDir, owner_keys: tuple[bytes, ...]) -> None:
    """A previous mark that came sealed from the ledger, with whatever key, still matches what it stood for."""
    state.use_owner_keys(owner_keys)
    state.ledger.record(WEB_KEY, {KEY: applied("Hello", sensitive=True)})
    mark = state.ledger.all(WEB_KEY)[KEY].mark
    begun = state.journal.begin("apply")
    begun.intend(WEB_AT, [Intent(KEY, Action.DELETE, Class.REMOVED, Actual(KEY, mark=mark))])
    [change] = state.journal.changes(begun.id)
    assert change.before is not None
    assert change.before.mark is not None
    assert change.before.mark.matches(print_of("Hello"))
    assert not change.before.mark.matches(print_of("Hi"))


def test_a_run_that_does_not_know_its_outcomes_is_interrupted(state: StateDir) -> None:
    """A run that ends with an open intent is found by the next pass, as one that was killed is."""
    begun = state.journal.begin("apply")
    begun.intend(WEB_AT, [update(KEY, "a", "b")])
    begun.finish()
    assert state.journal.run(begun.id).status is RunStatus.INTERRUPTED
    assert [record.identity for record in state.journal.cut_off(WEB_AT)] == [KEY]
    again = state.journal.begin("apply")
    again.intend(WEB_AT, [update(KEY, "a", "b")])
    again.settle(WEB_AT, [done(KEY, "b")])
    again.finish()
    assert state.journal.run(again.id).status is RunStatus.FINISHED


def test_an_outcome_without_an_intent_still_moves_the_ledger(state: StateDir) -> None:
    """Agreement found without a write is recorded in the ledger and is not a change in the journal."""
    begun = state.journal.begin("apply")
    outcome = Outcome(KEY, Action.UPDATE, OutcomeKind.UNCHANGED)
    begun.settle(WEB_AT, [Settled(outcome, Applied(Mark("me", print_of("x"))))])
    assert state.journal.changes(begun.id) == []
    assert KEY in state.ledger.all(WEB_KEY)
