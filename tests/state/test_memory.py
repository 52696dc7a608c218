"""What is remembered from pass to pass: approvals, pauses, quarantine, contention, removals, clean passes, status."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvsync.errors import NotApproved, UsageError
from kvsync.model.entry import Identity, Target
from kvsync.planning.waves import WaveRecord
from kvsync.state import CleanPass, Contention, DaemonRecord, StateDir
from kvsync.state.clean_passes import TOGETHER
from kvsync.state.contended import CALM_SECONDS, WAITS
from kvsync.state.passes import HISTORY_POINTS
from tests.state.conftest import Opener
from tests.state.examples import KEY, WEB, WEB_KEY, print_of
from tests.support.places import key_of

API = Target("edge", "api")
ONE, TWO, WHOLE = ("sha256:" + digit * 64 for digit in "abc")


def park_both(state: StateDir) -> None:
    state.parked.park(WEB, ONE, WHOLE, ["would delete 12 of 30 entries"], 1)
    state.parked.park(API, TWO, WHOLE, ["no entry is desired"], 2)


@pytest.mark.parametrize("given_hash", [ONE, "a" * 64, "a" * 12, "sha256:" + "a" * 13, f"  {'A' * 12}\n"])
def test_a_hash_may_be_given_in_any_form(state: StateDir, given_hash: str) -> None:
    """With or without its algorithm, whole or cut, a hash approves exactly the plan it represents."""
    park_both(state)
    assert [record.target for record in state.parked.approve(given_hash, 5)] == [WEB]
    assert state.parked.approved(WEB, ONE)
    assert not state.parked.approved(API, TWO)


def test_the_hash_of_a_whole_plan_approves_all_its_targets(state: StateDir) -> None:
    """What `plan` shows as its digest releases every target of it that is parked."""
    park_both(state)
    assert [record.target for record in state.parked.approve(WHOLE, 5)] == [API, WEB]
    assert state.parked.approved(WEB, ONE)
    assert state.parked.approved(API, TWO)


def test_an_approval_is_for_one_plan_only(state: StateDir) -> None:
    """When the plan of a parked target changes, the approval of the old one is void; the same plan keeps it."""
    park_both(state)
    state.parked.approve(ONE, 5)
    assert not state.parked.park(WEB, ONE, WHOLE, ["the same"], 6)
    assert state.parked.approved(WEB, ONE)
    assert not state.parked.approved(WEB, TWO), "another plan, which was not parked yet"
    assert state.parked.park(WEB, TWO, WHOLE, ["another"], 7)
    assert not state.parked.approved(WEB, ONE)
    assert not state.parked.approved(WEB, TWO)


def test_an_approval_is_used_up(state: StateDir) -> None:
    """Once an approved plan was applied, the next one like it needs its own approval."""
    park_both(state)
    state.parked.approve(ONE, 5)
    state.parked.consume(WEB, ONE)
    assert not state.parked.approved(WEB, ONE)
    state.parked.park(WEB, ONE, WHOLE, ["again"], 8)
    assert not state.parked.approved(WEB, ONE)


def test_what_is_parked_is_listed_with_its_reasons(state: StateDir) -> None:
    """People see what waits for them, why, and since when; what is unparked is gone."""
    park_both(state)
    state.parked.park(WEB, ONE, WHOLE, ["would delete 13 of 30 entries"], 9)
    api, web = state.parked.all()
    assert (web.target, web.digest, web.plan_digest, web.since) == (WEB, ONE, WHOLE, 1)
    assert web.reasons == ("would delete 13 of 30 entries",)
    assert state.parked.unpark(API)
    assert not state.parked.unpark(API)
    assert state.parked.all() == [web]
    assert api.approved_at is None


@pytest.mark.parametrize("wrong", ["", "a" * 11, "z" * 12, "sha512:" + "a" * 12, "a" * 65, "aaaaaa%aaaaaa"])
def test_what_is_not_a_hash_is_a_mistake_of_usage(state: StateDir, wrong: str) -> None:
    """Anything but at least twelve hex digits approves nothing, and the error lists what is parked."""
    park_both(state)
    with pytest.raises(UsageError, match=f"give at least 12 hex digits; parked now: edge/api {TWO}, edge/web {ONE}"):
        state.parked.approve(wrong, 5)


def test_a_hash_of_nothing_parked_is_refused(state: StateDir) -> None:
    """A stale or unknown hash approves nothing, and the error lists what is parked."""
    with pytest.raises(NotApproved, match=r"no plan sha256:dddddddddddd is parked; nothing is parked now"):
        state.parked.approve("dddddddddddd", 5)
    park_both(state)
    with pytest.raises(NotApproved, match=f"parked now: edge/api {TWO}"):
        state.parked.approve("dddddddddddd", 5)


def test_a_hash_that_could_be_two_is_refused(state: StateDir) -> None:
    """A start that several plans share approves none of them."""
    state.parked.park(WEB, ONE, WHOLE, ["x"], 1)
    state.parked.park(API, ONE[:-1] + "b", WHOLE, ["x"], 1)
    with pytest.raises(UsageError, match="is ambiguous"):
        state.parked.approve("aaaaaaaaaaaa", 5)
    assert [record.approved_at for record in state.parked.all()] == [None, None]


def test_a_pause_of_a_store_covers_its_namespaces(state: StateDir) -> None:
    """Pausing a store pauses every target of it and no other; resuming one namespace does not lift it."""
    assert state.pauses.pause("edge", None, "maintenance", 1)
    assert state.pauses.is_paused(WEB)
    assert not state.pauses.is_paused(Target("edges", "web"))
    assert not state.pauses.resume("edge", "web")
    assert state.pauses.is_paused(WEB)
    assert state.pauses.resume("edge", None)
    assert not state.pauses.is_paused(WEB)


def test_pauses_of_store_and_namespace_are_apart(state: StateDir) -> None:
    """A namespace that was paused on its own stays paused when its store is resumed."""
    state.pauses.pause("edge", "web", "looking into it", 1)
    state.pauses.pause("edge", None, "maintenance", 2)
    assert [str(pause) for pause in state.pauses.all()] == ["edge", "edge/web"]
    state.pauses.resume("edge", None)
    found = state.pauses.find(WEB)
    assert found is not None
    assert (found.reason, found.since) == ("looking into it", 1)
    assert not state.pauses.is_paused(API)


def test_pausing_twice_is_one_pause(state: StateDir) -> None:
    """A second pause says that it was paused already, and gives the newer reason."""
    assert state.pauses.pause("edge", None, "one", 1)
    assert not state.pauses.pause("edge", None, "two", 2)
    [pause] = state.pauses.all()
    assert (pause.reason, pause.since) == ("two", 1)


def test_a_refused_write_is_held_longer_each_time(state: StateDir) -> None:
    """The same refused write waits ever longer; another write of the entry does not wait for it, and starts with the first
    wait."""
    waits = []
    for attempt in range(12):
        held = state.quarantine.put(WEB_KEY, KEY, print_of("bad"), "413", now=100)
        assert held.attempts == attempt + 1
        waits.append(held.until - 100)
    assert waits[:3] == [60, 120, 240]
    assert waits == sorted(waits)
    assert waits[-1] == WAITS.cap
    [held] = state.quarantine.held(WEB_KEY, 101).values()
    assert held.matches(print_of("bad"))
    assert not held.matches(print_of("good"))
    assert state.quarantine.put(WEB_KEY, KEY, print_of("worse"), "413", now=100).attempts == 1


def test_quarantine_ends(state: StateDir) -> None:
    """An entry leaves quarantine when its time is over, or when it is let go; other targets never see it."""
    state.quarantine.put(WEB_KEY, KEY, print_of("bad"), "413", now=100)
    assert state.quarantine.held(key_of(API), 101) == {}
    assert state.quarantine.held(WEB_KEY, 161) == {}
    state.quarantine.clear(WEB_KEY, [KEY])
    assert state.quarantine.held(WEB_KEY, 101) == {}


def test_an_entry_that_is_changed_back_is_contended(state: StateDir) -> None:
    """The third heal in a row makes an entry contended, and holds it back from then on."""
    assert state.contended.record_heals(WEB_KEY, {KEY: b"1"}, 0) == {}
    assert state.contended.record_heals(WEB_KEY, {KEY: b"1"}, 300) == {}
    assert state.contended.held(WEB_KEY, 300) == {}
    [known] = state.contended.record_heals(WEB_KEY, {KEY: b"1", Identity("other"): b"1"}, 600).values()
    assert (known.count, known.until) == (3, 660)
    assert state.contended.matches(known, b"1")
    assert not state.contended.matches(known, b"2")
    assert list(state.contended.held(WEB_KEY, 659)) == [KEY]
    assert state.contended.held(WEB_KEY, 660) == {}
    state.contended.remove(WEB_KEY, [KEY])
    assert list(state.contended.all(WEB_KEY)) == [Identity("other")]


def test_heals_are_counted_for_one_desired_entry(state: StateDir) -> None:
    """The count starts again when what is healed is another desired entry, and does not go on when the first one comes back."""
    for digest in (b"1", b"1", b"2", b"1", b"1"):
        assert state.contended.record_heals(WEB_KEY, {KEY: digest}, 0) == {}
    assert state.contended.all(WEB_KEY)[KEY].count == 2


@given(st.lists(st.floats(0, 7 * 86400), max_size=30))
def test_contention_grows_until_there_is_peace(gaps: list[float]) -> None:
    """An entry is healed at once while it is not contended, ever more slowly while it is, and at once after a calm time."""
    known, now = Contention(0, 0, 0), 0.0
    for gap in gaps:
        now += gap
        calm = now > known.until + CALM_SECONDS
        after = known.after_heal(now, b"")
        assert after.last == now
        assert 0 <= after.until - now <= WAITS.cap
        assert after.contended == (after.until > now)
        assert calm == (after.count == 1) or known.count == 0
        if after.count > 1:
            assert after.until - now >= known.until - known.last
        known = after


def test_removals_keep_their_first_moment(state: StateDir) -> None:
    """An entry counts as removed since the first pass that saw it so, and again when it was wanted in between."""
    old, other = Identity("old", "prod"), Identity("other")
    assert state.removals.update(WEB_KEY, [old], 10) == {old: 10}
    assert state.removals.update(WEB_KEY, [old, other], 20) == {old: 10, other: 20}
    assert state.removals.update(WEB_KEY, [other], 30) == {other: 20}
    assert state.removals.update(WEB_KEY, [old, other], 40) == {old: 40, other: 20}
    assert state.removals.since(WEB_KEY) == {old: 40, other: 20}
    assert state.removals.since(key_of(API)) == {}


def test_a_removal_that_another_process_recorded_meanwhile_stays(open_state: Opener) -> None:
    """Someone may plan by hand while the daemon, which has read what it knew of the place, is still planning."""
    with open_state() as daemon, open_state() as by_hand:
        known = daemon.removals.since(WEB_KEY)
        by_hand.removals.update(WEB_KEY, [KEY], 10)
        daemon.removals.update(WEB_KEY, [KEY], 20, known)
        assert daemon.removals.since(WEB_KEY) == {KEY: 10}


def test_a_memo_represents_what_it_saw(state: StateDir) -> None:
    """A clean pass is only returned while files and configuration are the same, and never after it was dropped."""
    clean = CleanPass("token", 99.5, {"unchanged": 3})
    assert state.clean_passes.get(WEB_KEY, "d", "c") is None
    state.clean_passes.put(WEB_KEY, "d", "c", clean)
    assert state.clean_passes.get(WEB_KEY, "d", "c") == clean
    assert state.clean_passes.get(WEB_KEY, "other", "c") is None
    assert state.clean_passes.get(WEB_KEY, "d", "other") is None
    assert state.clean_passes.get(key_of(API), "d", "c") is None
    state.clean_passes.put(WEB_KEY, "d2", "c", CleanPass(None))
    assert state.clean_passes.get(WEB_KEY, "d", "c") is None
    state.clean_passes.drop(WEB_KEY)
    assert state.clean_passes.get(WEB_KEY, "d2", "c") is None


def test_a_failed_pass_keeps_the_last_success(state: StateDir) -> None:
    """Status tells the last attempt from the last success."""
    state.passes.record(WEB, 10, drift={"drifted": 2}, changes={"applied": 2}, next_at=310)
    state.passes.record(WEB, 20, error="503", next_at=25)
    [last] = state.passes.all()
    assert (last.target, last.attempted_at, last.succeeded_at, last.error, last.next_at) == (WEB, 20, 10, "503", 25)
    state.passes.record(WEB, 30)
    [last] = state.passes.all()
    assert (last.succeeded_at, last.error, dict(last.drift)) == (30, None, {})


def test_drift_over_time(state: StateDir) -> None:
    """Every pass that saw the store adds a point, oldest first; one that failed adds none."""
    state.passes.record(WEB, 10, drift={"drifted": 2})
    state.passes.record(API, 11)
    state.passes.record(WEB, 20, error="503")
    state.passes.record(WEB, 30)
    assert [(point.at, dict(point.counts)) for point in state.passes.drift_history(WEB)] == [
        (10, {"drifted": 2}),
        (30, {}),
    ]
    assert [point.at for point in state.passes.drift_history(limit=2)] == [11, 30]


def test_drift_history_is_bounded(state: StateDir, monkeypatch: pytest.MonkeyPatch) -> None:
    """A daemon that runs for years does not grow its history without end."""
    assert HISTORY_POINTS > 1000
    monkeypatch.setattr("kvsync.state.passes.HISTORY_POINTS", 3)
    for moment in range(6):
        state.passes.record(WEB, moment)
    assert [point.at for point in state.passes.drift_history()] == [3, 4, 5]


def test_a_full_drift_history_is_pruned_a_part_at_a_time(state: StateDir, monkeypatch: pytest.MonkeyPatch) -> None:
    """Deleting one point with each pass would change one more page each time."""
    monkeypatch.setattr("kvsync.state.passes.HISTORY_POINTS", 300)
    found = []
    for moment in range(320):
        state.passes.record(WEB, moment)
        found.append(len(state.passes.drift_history()))
    assert max(found) == 302
    assert min(found[-10:]) == 300


def test_targets_that_no_file_names_leave_the_status(state: StateDir) -> None:
    """Only managed targets are shown."""
    state.passes.record(WEB, 1)
    state.passes.record(API, 1)
    state.passes.keep([API])
    assert [record.target for record in state.passes.all()] == [API]


def test_the_daemon_has_one_row(state: StateDir) -> None:
    """Status shows the daemon that said so last, until it says goodbye."""
    assert state.passes.daemon() is None
    state.passes.set_daemon(DaemonRecord(1, 10, 10, "apply", "0.1"))
    later = DaemonRecord(1, 10, 20, "apply", "0.1", ready=True, window="0 22 * * 5")
    state.passes.set_daemon(later)
    assert state.passes.daemon() == later
    state.passes.clear_daemon()
    assert state.passes.daemon() is None


def test_in_bulk_what_is_remembered_is_the_same(state: StateDir) -> None:
    """Read for all targets at once, each target has its own rows, and what this process writes meanwhile is seen."""
    state.clean_passes.put(WEB_KEY, "d", "c", CleanPass("token"))
    state.removals.update(WEB_KEY, [KEY], 10)
    state.quarantine.put(WEB_KEY, KEY, print_of("bad"), "413", now=100)
    state.contended.record_heals(WEB_KEY, {KEY: b"1"}, 0)
    with state.bulk():
        assert state.clean_passes.get(WEB_KEY, "d", "c") == CleanPass("token")
        assert state.removals.since(WEB_KEY) == {KEY: 10}
        assert state.quarantine.held(WEB_KEY, 101).keys() == state.contended.all(WEB_KEY).keys() == {KEY}
        assert state.clean_passes.get(key_of(API), "d", "c") is None
        assert not any(
            (
                state.removals.since(key_of(API)),
                state.quarantine.held(key_of(API), 101),
                state.contended.all(key_of(API)),
            )
        )
        state.removals.update(key_of(API), [KEY], 20)
        state.quarantine.clear(WEB_KEY, [KEY])
        state.contended.remove(WEB_KEY, [KEY])
        state.clean_passes.drop(WEB_KEY)
        assert state.removals.since(key_of(API)) == {KEY: 20}
        assert not any((state.quarantine.held(WEB_KEY, 101), state.contended.all(WEB_KEY)))
        assert state.clean_passes.get(WEB_KEY, "d", "c") is None


def test_in_bulk_memos_are_written_at_the_end(state: StateDir) -> None:
    """A clean pass recorded in the block is there after it, unless it was dropped inside."""
    with state.bulk():
        for number in range(TOGETHER + 1):
            state.clean_passes.put(str(number), "d", "c", CleanPass("token"))
        state.clean_passes.drop(str(TOGETHER))
    known = [state.clean_passes.get(str(number), "d", "c") for number in range(TOGETHER + 1)]
    assert known == [CleanPass("token")] * TOGETHER + [None]


def test_what_a_wave_knows_of_a_target_is_replaced(state: StateDir) -> None:
    """One record a target, found alone and among all."""
    state.waves.put(WEB, WaveRecord("d1", 5.0, "1 pending"), durable=True)
    state.waves.put(WEB, WaveRecord("d2", 7.5))
    state.waves.put(API, WaveRecord("d3", 6.0))
    assert state.waves.find(WEB) == WaveRecord("d2", 7.5)
    assert state.waves.find(Target("edge", "none")) is None
    assert state.waves.all() == {WEB: WaveRecord("d2", 7.5), API: WaveRecord("d3", 6.0)}
    state.waves.remove([WEB])
    assert state.waves.all() == {API: WaveRecord("d3", 6.0)}
