"""A week of a daemon's life in seconds: real files, scheduler, stores and emulators, and nothing virtual but time.

Time is in hours since Monday, 00:00 UTC. What happens:

    every day   3:00  Cloudflare lets another token in; ten minutes later the token's file has it
                9:00  the files change, and the daemon notices
               21:00  a window denies applying for two hours (22:00 in Paris); in the middle of it the files change again
    Monday     15:00  a broken configuration and SIGHUP, mended at 16:30
    Wednesday  12:00  an entry with `expires_at` ends
               15:20  someone changes one of our entries
    Thursday   14:00  the daemon leaves for half an hour
    Friday     22:00  a window denies applying for twelve hours
    always            one store is away for 20 minutes in each 90, and one is never there
"""

from __future__ import annotations

import asyncio
import io
import json
import os
import signal
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from itertools import pairwise

import pytest

from kvsync.logs import EVENTS, configure
from kvsync.model.entry import Target
from kvsync.model.result import PassResult, Trigger
from tests.daemon.support import Log
from tests.simulation.deployment import DEAD, EDGE, FLAPPING, HEALTHY, HOUR, LOCAL, MINUTE, RUN, SETTINGS, Deployment
from tests.simulation.virtual import BEGIN, LoopClock, simulate

pytestmark = pytest.mark.system  # a week of a team in a minute

DAYS = range(7)
WINDOWS = """windows: [
  {deny: "0 22 * * *", for: 2h, timezone: Europe/Paris},
  {deny: "0 22 * * 5", for: 12h},
  {allow: "0 0 * * *", for: 24h},
]"""
DENIED = [*((24 * day + 21.0, 24 * day + 23.0) for day in DAYS), (4 * 24 + 22.0, 5 * 24 + 10.0)]
SALE_ENDS, SOMEBODY, LEAVES, COMES_BACK = 2 * 24 + 12.0, 2 * 24 + 15 + 1 / 3, 3 * 24 + 14.0, 3 * 24 + 14.5
PROMO_ENDS, LEASE, LIVES = 1.5, 40.0, 40 * 2 / 3
"""When the promotion ends; how long a lease lasts, and how old it gets until it is renewed."""

Step = Callable[[], Coroutine[None, None, None]]


@dataclass
class WeekRecord:
    """What was seen."""

    deployment: Deployment
    log: Log
    refused: list[tuple[int, int]] = field(default_factory=list)
    ends: dict[str, tuple[bool, bool]] = field(default_factory=dict)
    held: dict[str, bytes | None] = field(default_factory=dict)

    def hours_of(self, target: Target, key: str, value: str | None = None) -> list[float]:
        """When an entry was written (with this value)."""
        return [
            (call.at - BEGIN) / HOUR
            for call in self.deployment.watch.written
            if call.target == target
            for write in call.writes
            if write.identity.key == key
            and (value is None or (write.content is not None and write.content.value == value.encode()))
        ]

    def passes(self, target: Target, trigger: Trigger, begin: float = 0, end: float = 999) -> list[PassResult]:
        """Passes of a target with this trigger that ended between these hours."""
        passed = self.deployment.watch.of(target)
        return [one for one in passed if trigger in one.triggers and begin <= (one.at - BEGIN) / HOUR < end]


class WeekEvents:
    """Does what happens in the week."""

    def __init__(self, week: WeekRecord) -> None:
        self.week, self.deployment, self.theirs = week, week.deployment, dict[Target, object]()
        self.day, self.late, self.token = -1, -1, "token-0"

    async def live(self) -> None:
        """The whole week."""
        await self._found()
        looking = asyncio.create_task(self._look_on())
        async with self.deployment.daemon_at_work():
            await self._go_through(self._first_half(), LEAVES)
        await self.deployment.until(COMES_BACK)
        async with self.deployment.daemon_at_work():
            await self._go_through(self._daily(), 7 * 24)
            looking.cancel()

    async def _found(self) -> None:
        self.deployment.configure(f"{RUN}, {WINDOWS}")
        self.deployment.let_in_with(self.token)
        self._write()
        self.deployment.flapping.write("web", "theirs", b"\x00\xff")
        await self.deployment.kv("POST", "", self.token, b'{"title": "web"}')
        await self.deployment.kv(
            "PUT", f"/{await self.deployment.namespace(self.token)}/values/theirs", self.token, b"\x00\xff"
        )
        await self.deployment.setting("theirs", "theirs")
        self.theirs = {target: await self._their(target) for target in (EDGE, SETTINGS, FLAPPING)}

    def _write(self) -> None:
        for target in (*HEALTHY, FLAPPING, DEAD):
            lines = f"  day: {self.day}\n  late: {self.late}\n  lease: {{value: x, ttl: 40h}}\n"
            lines += "  promo: {value: x, ttl: 90m, renew_before: 0s}\n" if target != FLAPPING else ""
            lines += '  sale: {value: "on", expires_at: 2026-11-18T12:00:00Z}\n'
            self.deployment.want(target, lines)

    def _first_half(self) -> dict[float, Step]:
        steps: dict[float, Step] = {0.1: self._add_a_row, 15.0: self._break, 16.5: self._mend, SOMEBODY: self._meddle}
        steps |= {PROMO_ENDS - 0.01: self._see_promo, PROMO_ENDS + 0.01: self._see_promo}
        steps |= {SALE_ENDS - 0.001: self._see_sale, SALE_ENDS + 0.001: self._see_sale}
        return self._daily() | steps

    def _daily(self) -> dict[float, Step]:
        of_a_day = {3.0: self._change_locks, 3.1: self._knock, 3 + 1 / 6: self._hand_out_keys, 9.0: self._edit_day}
        of_a_day[21.5] = self._edit_late
        return {24 * day + hour: step for day in DAYS for hour, step in of_a_day.items()}

    async def _go_through(self, steps: dict[float, Step], end: float) -> None:
        for hour, step in sorted(steps.items()):
            if self.deployment.watch.hours - 1e-6 <= hour < end:
                await self.deployment.until(hour)
                await step()
        await self.deployment.until(end)

    # -- what happens -------------------------------------------------------------------------------------------------

    async def _change_locks(self) -> None:
        old, self.token = self.token, f"token-{self.deployment.watch.hours:.0f}"
        await self.deployment.edge_server.serve(self.token)
        statuses = [(await self.deployment.kv("GET", "", token))[0] for token in (old, self.token)]
        self.week.refused.append((statuses[0], statuses[1]))

    async def _knock(self) -> None:
        os.kill(os.getpid(), signal.SIGUSR1)

    async def _hand_out_keys(self) -> None:
        self.deployment.let_in_with(self.token)

    async def _edit_day(self) -> None:
        self.day = int(self.deployment.watch.hours // 24)
        self._edit()

    async def _edit_late(self) -> None:
        self.late = int(self.deployment.watch.hours // 24)
        self._edit()

    def _edit(self) -> None:
        self._write()
        assert self.deployment.daemon is not None
        self.deployment.daemon.trigger(Trigger.FILES)

    async def _add_a_row(self) -> None:
        self.deployment.by_hand("INSERT INTO entries(namespace, key, value) VALUES ('web', 'theirs', x'00ff')")
        self.theirs[LOCAL] = await self._their(LOCAL)

    async def _break(self) -> None:
        (self.deployment.root / "kvsync.yaml").write_text("version: 1\nowner: [team-a\n")
        os.kill(os.getpid(), signal.SIGHUP)

    async def _mend(self) -> None:
        self.deployment.configure(f"{RUN}, {WINDOWS}")
        os.kill(os.getpid(), signal.SIGHUP)

    async def _meddle(self) -> None:
        self.deployment.by_hand("UPDATE entries SET value = 'mine' WHERE key = 'day'")

    async def _see_promo(self) -> None:
        await self._see("promo")

    async def _see_sale(self) -> None:
        await self._see("sale")

    async def _see(self, key: str) -> None:
        for target in HEALTHY:
            before = self.week.ends.get(f"{target.store} {key}", (False, False))[1]
            self.week.ends[f"{target.store} {key}"] = before, await self._is_there(target, key)

    # -- looking on ---------------------------------------------------------------------------------------------------

    async def _look_on(self) -> None:
        for hour in range(7 * 24):
            await self.deployment.until(hour + 0.6)
            for target, theirs in self.theirs.items():
                if await self._their(target) != theirs:
                    self.deployment.watch.wrong(f"an entry of someone else's in {target} is not what it was")
            for target in HEALTHY:
                if not await self._is_there(target, "lease"):
                    self.deployment.watch.wrong(f"the entry with a TTL is not there in {target}")

    async def _their(self, target: Target) -> object:
        if target == LOCAL:
            return self.deployment.row("theirs")
        if target == FLAPPING:
            return next(held for slot, held in self.deployment.flapping.held["web"].items() if slot.key == "theirs")
        if target == SETTINGS:
            return await self.deployment.setting("theirs")
        return await self.deployment.kv_value("theirs", self.token)

    async def _is_there(self, target: Target, key: str) -> bool:
        if target == LOCAL:
            return self.deployment.is_alive(key)
        found = self.deployment.setting(key) if target == SETTINGS else self.deployment.kv_value(key, self.token)
        return await found is not None


@pytest.fixture(scope="module")
def week(tmp_path_factory: pytest.TempPathFactory) -> WeekRecord:
    root, stream = tmp_path_factory.mktemp("town") / "repo", io.StringIO()
    configure("json", "info", stream=stream)

    async def main(clock: LoopClock) -> WeekRecord:
        async with Deployment.founded(root, clock, "token-0") as deployment:
            found = WeekRecord(deployment, Log(stream))
            await WeekEvents(found).live()
            found.held = {key: deployment.flapping.value_of(key) for key in ("day", "late", "lease")}
            return found

    try:
        return simulate(main)
    finally:
        configure("json", "error", stream=io.StringIO())


def test_no_promise_was_broken_at_any_moment(week: WeekRecord) -> None:
    """All week: others' entries stay as they are, an entry with a TTL is always there, a target has one pass at a time, and a
    second pass right after one that wrote finds nothing to do."""
    assert week.deployment.watch.wrongs == []


def test_nothing_is_written_in_a_window_that_denies(week: WeekRecord) -> None:
    """While a window denies, no store gets a write, whatever else allows it."""
    denied = [call for call in week.deployment.watch.written if _is_denied((call.at - BEGIN) / HOUR)]
    assert denied == []
    assert len(week.deployment.watch.written) > 50


def _is_denied(hour: float) -> bool:
    return any(begin <= hour < end for begin, end in DENIED)


@pytest.mark.parametrize("target", HEALTHY, ids=str)
def test_what_waited_for_a_window_is_applied_when_it_opens(week: WeekRecord, target: Target) -> None:
    """A change that was asked for in a window is in the store the moment the last window ends, and not before."""
    for day in DAYS:
        opens = 5 * 24 + 10 if day == 4 else day * 24 + 23
        assert week.hours_of(target, "late", str(day))[0] == pytest.approx(opens, abs=2 / HOUR)


@pytest.mark.parametrize("target", HEALTHY, ids=str)
def test_what_the_files_ask_is_there_at_once(week: WeekRecord, target: Target) -> None:
    """A change of the files is applied when it is made; one that meets a window waits for its end."""
    for day in DAYS:
        asked = day * 24 + 9
        wanted = 5 * 24 + 10 if day == 5 else asked
        assert week.hours_of(target, "day", str(day))[0] == pytest.approx(wanted, abs=2 / HOUR)


@pytest.mark.parametrize("target", HEALTHY, ids=str)
def test_a_ttl_is_renewed_at_its_moment(week: WeekRecord, target: Target) -> None:
    """A lease is written again when a third of its life is left: then, or when the window ends that denies it, and at no other
    time."""
    hours = week.hours_of(target, "lease")
    assert len(hours) >= 6
    for before, after in pairwise(hours):
        due = before + LIVES
        due = next((end for begin, end in reversed(DENIED) if begin <= due < end), due)
        assert after == pytest.approx(due, abs=5 * MINUTE / HOUR)


def test_what_ends_as_declared_ends_then_and_stays_away(week: WeekRecord) -> None:
    """An entry with `expires_at`, or with a TTL that is not renewed, is there a moment before its end and gone a moment after,
    also where the store cannot end anything on its own; and nothing makes it again."""
    assert week.ends == {f"{one.store} {key}": (True, False) for one in HEALTHY for key in ("promo", "sale")}
    for target in HEALTHY:
        assert all(hour <= SALE_ENDS + 0.001 for hour in week.hours_of(target, "sale"))
        assert all(hour <= PROMO_ENDS + 0.01 for hour in week.hours_of(target, "promo"))


def test_every_beat_is_a_pass_of_every_target_that_can_have_one(week: WeekRecord) -> None:
    """While one target fails forever and another now and then, each of the others has a pass at every beat of the week."""
    beats = week.deployment.watch.triggers[Trigger.SCHEDULE]
    assert 160 <= beats <= 220  # one an hour, a deep one every six, half an hour away
    for target in (LOCAL, SETTINGS):
        assert len(week.passes(target, Trigger.SCHEDULE)) >= 0.85 * beats
        assert all(one.ok for one in week.deployment.watch.of(target))
    assert len(week.passes(EDGE, Trigger.SCHEDULE)) >= 0.8 * beats


def test_a_target_that_fails_forever_is_tried_forever(week: WeekRecord) -> None:
    """A store that never answers is asked again about every two and a half minutes, all week. The log says at once that it is
    down, and then every six hours at most."""
    tries = len(week.deployment.watch.of(DEAD))
    assert 7 * 24 * 60 / 5 <= tries <= 7 * 24 * 60 / 1.5
    down = [event for event in week.log.events("store.unavailable") if event["store"] == "dead"]
    assert len(down) == 2  # at once by each of the two daemons
    lasting = [event for event in week.log.events("store.down") if event["store"] == "dead"]
    assert 0 < len(lasting) <= 7 * 24 / 6 + 2 * 6


def test_a_flapping_store_is_caught_up_with(week: WeekRecord) -> None:
    """A store that goes and comes holds at the end what the files ask, and each of its absences is said once, as is its end."""
    assert week.held == {"day": b"6", "late": b"6", "lease": b"x"}
    down, up = (
        [event for event in week.log.events(name) if event["store"] == "flapping"]
        for name in ("store.unavailable", "store.recovered")
    )
    assert len(down) >= 40  # of 112 absences those in which someone looked
    assert 0 <= len(down) - len(up) <= 2


def test_a_token_is_exchanged_without_a_restart(week: WeekRecord) -> None:
    """Each night the old token is refused; the store is down until its file has the new one, and is back within minutes."""
    assert week.refused == [(401, 200)] * 7 or week.refused == [(403, 200)] * 7
    for day in DAYS:
        night = [one for one in week.deployment.watch.of(EDGE) if 3.05 <= (one.at - BEGIN) / HOUR - 24 * day < 4]
        assert not night[0].ok
        assert next((one.at - BEGIN) / HOUR - 24 * day for one in night if one.ok) <= 3 + 1 / 6 + 0.1


def test_drift_is_healed_by_the_next_beat(week: WeekRecord) -> None:
    """What someone changed is what the files ask again, an hour and a bit later at most."""
    (event,) = week.log.events("drift.detected")
    assert (event["store"], event["key"]) == ("local", "day")
    healed = [hour for hour in week.hours_of(LOCAL, "day", "2") if hour > SOMEBODY]
    assert len(healed) == 1
    assert healed[0] - SOMEBODY <= 1.2


def test_a_broken_configuration_is_said_and_changes_nothing(week: WeekRecord) -> None:
    """After SIGHUP with a broken file the log says what is wrong and where, the beats go on as before, and the mended file is
    taken."""
    (broken,) = week.log.events("config.invalid")
    assert "kvsync.yaml:" in broken["error"]
    assert len(week.log.events("config.reloaded")) == 1
    assert week.passes(LOCAL, Trigger.SCHEDULE, 15, 16.5)


def test_a_restart_is_not_an_event(week: WeekRecord) -> None:
    """The daemon leaves without a pass cut off, and comes back to find nothing to do."""
    assert [event["unfinished"] for event in week.log.events("daemon.stopped")] == [0, 0]
    for target in HEALTHY:
        (first,) = week.passes(target, Trigger.START, COMES_BACK)
        assert (first.ok, sum(first.changes.values()), first.pending) == (True, 0, 0)


def test_nothing_is_left_open(week: WeekRecord) -> None:
    """Neither the workspaces that a reload replaced nor those in use at the end leave a connection open: nobody complains."""
    assert {event["event"] for event in week.log.events()} <= EVENTS.keys()


def test_no_token_is_in_the_log(week: WeekRecord) -> None:
    """None of the tokens of the week stands anywhere in the log."""
    assert "token-" not in json.dumps(week.log.events())
