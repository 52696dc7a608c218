"""One replica of a fleet: renews its lease, and takes or gives up targets so that all replicas have about as much to do."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from contextlib import suppress
from random import Random
from typing import Final

from kvsync.errors import KvsyncError, StateRolledBack
from kvsync.leader.balance import Division, targets_to_claim, targets_to_release
from kvsync.leader.known_claims import KnownClaims
from kvsync.logs import get_logger
from kvsync.model.entry import Target
from kvsync.model.revision import same_files
from kvsync.state import LeaseRecord
from kvsync.state.claims import Replica, TargetClaims
from kvsync.util.background import in_background
from kvsync.util.clock import Clock
from kvsync.util.shortage import code_of
from kvsync.util.values import dataclass

_SPREAD: Final = 0.2
"""The part of a pause that is left to chance, so that replicas do not all ask at the same moment."""

_SMOOTH: Final = 0.3
"""The weight of the newest pass in the cost of a target."""

_LEAST_COST: Final = 0.1
"""Seconds that every pass counts at least: what takes milliseconds would move targets by chance."""

_NOTABLE: Final = 0.1
"""The part by which a cost must have changed for the others to know it."""

_OVERDUE: Final = 2
"""Steps after which a target that nobody takes is taken whatever the load."""

_log = get_logger()


@dataclass(frozen=True, slots=True)
class FleetTiming:
    """Seconds: how long a lease runs, how often it is renewed, how long before its end this replica stops writing, and how long
    its files may be older than those of another one before that one takes its targets. After every change of the files, some
    replica has them first."""

    lease: float = 10.0
    renew_every: float = 2.0
    margin: float = 2.0
    patience: float = 120.0


class Fleet:
    """This replica's part. It may write only while `seconds_left` says so, and only to targets that it `owns`."""

    def __init__(self, claims: TargetClaims, timing: FleetTiming, clock: Clock, rng: Random) -> None:
        self._claims, self._timing, self._clock, self._rng = claims, timing, clock, rng
        self.changed: Callable[[], None] = lambda: None
        """Called when this replica holds other targets than before."""
        self.woken: Callable[[], None] = lambda: None
        """Called when a person approved, paused or resumed something."""
        self.is_busy: Callable[[Target], bool] = lambda _target: False
        """Whether a pass of the target is in flight: then its claim is kept."""
        self.revision: Callable[[], str | None] = lambda: None
        """The revision of the files of this replica."""
        self.superseded_by: Callable[[], str | None] = lambda: None
        """The revision that another replica applied since, where the files of this one are older."""
        self._wanted: frozenset[Target] = frozenset()
        self._costs: dict[Target, float] = {}
        self._announced: dict[Target, float] = {}
        self._measured: set[Target] = set()
        self._leaving: set[Target] = set()
        self._free_for: dict[Target, int] = {}
        self._until = 0.0
        self._not_before = 0.0
        self._led_since = self._up_to_date_at = clock.monotonic()
        self._is_registered = self._is_failing = self._has_lapsed = False
        self._known = KnownClaims(claims)

    @property
    def identity(self) -> str:
        """What this replica is called."""
        return self._claims.me.id

    @property
    def lease(self) -> LeaseRecord:
        """How things stand, for people."""
        return LeaseRecord("fleet", self.identity, None, self.may_write())

    @property
    def replicas(self) -> tuple[Replica, ...]:
        """The replicas that were alive at the last step."""
        return self._known.replicas

    def may_write(self) -> bool:
        """True while the lease of this replica runs."""
        return self.seconds_left() > 0

    def seconds_left(self) -> float:
        """How long a write that goes out now may be in flight; 0 when it must not go out. For a `Fence`."""
        return max(0.0, self._until - self._clock.monotonic())

    def led_since(self) -> float:
        """When the newest claim was taken (epoch seconds, by the wall clock as it is set now): what was written before may have
        been overwritten since."""
        ago = self._clock.monotonic() - self._led_since if self.may_write() else 0.0
        return self._clock.now() - ago

    def wants(self, targets: Iterable[Target]) -> None:
        """The targets that the files name, and the configuration allows this replica to hold."""
        self._wanted = frozenset(targets)

    def owns(self, target: Target) -> bool:
        """True when this replica holds the target, and goes on holding it."""
        return target in self._claims.held and target not in self._leaving

    def claim_temporarily(self, target: Target) -> bool:
        """Hold a target that no file names, until nothing is in flight in it; False when another replica holds it. Raises
        StateDirError."""
        return target in self._claims.held or bool(self._claims.take([target], {}))

    def spent(self, target: Target, seconds: float) -> None:
        """Note how many seconds a pass of a target took."""
        cost = _LEAST_COST + seconds
        before = self._costs.get(target, cost)
        self._costs[target] = before + _SMOOTH * (cost - before)
        self._measured.add(target)

    async def run(self, on_change: Callable[[], None]) -> None:
        """Take part until cancelled; `on_change` is called when this replica may or may not write any more."""
        could_write = False
        while True:
            held, wakes = self._own(), self._claims.wakes
            try:
                await self.turn()
            except KvsyncError as error:
                self._failed(str(error), error)
            except Exception as error:  # noqa: BLE001 - whatever it is, the lease ends, and then nothing is written
                self._failed("unexpected", error)
            if could_write != self.may_write() or self._has_lapsed:
                could_write, self._has_lapsed = self.may_write(), False
                on_change()
            if held != self._own():
                self.changed()
            if wakes != self._claims.wakes:
                self.woken()
            await self._clock.sleep(self._timing.renew_every * (1 - self._rng.uniform(0, _SPREAD)))

    async def turn(self) -> None:
        """Renew the lease, then take or give up targets. Raises StateDirError."""
        asked_at = self._clock.monotonic()
        if asked_at < self._not_before:
            return
        try:
            is_renewed = await in_background(self._renew)
        except StateRolledBack:
            self._until, self._not_before, self._is_registered = 0.0, asked_at + self._timing.lease, False
            raise
        if not is_renewed:
            _log.warning("fleet.lost", replica=self.identity, reason="the lease was not renewed in time")
            return
        # Passes that met the end of the lease wrote nothing, also when it was renewed right after.
        self._has_lapsed = 0 < self._until <= self._clock.monotonic()
        self._until = asked_at + self._timing.lease - self._timing.margin
        self._recovered()
        await self._balance()

    async def release(self) -> None:
        """Give everything up, so that others take it at once. Raises nothing: what cannot be given up ends with the lease."""
        self._until = 0.0
        with suppress(KvsyncError, TimeoutError):
            async with asyncio.timeout(self._timing.margin):
                await in_background(self._claims.release_all)
                _log.info("fleet.left", replica=self.identity)

    def _renew(self) -> bool:
        if not self._is_registered:
            self._claims.register(self._timing.lease)
            self._is_registered = True
            _log.info("fleet.joined", replica=self.identity)
            return True
        load = sum(self._costs.get(target, _LEAST_COST) for target in self._claims.held)
        is_behind = self._is_long_behind()  # then it is not counted as one that takes work
        renewed = self._claims.renew(self._timing.lease, load, is_draining=is_behind, revision=self.revision())
        if not renewed:
            self._is_registered = False
        return renewed

    async def _balance(self) -> None:
        await self._read_claims()
        if self._is_replaceable():
            self._leaving.update(self._claims.held)
        await self._release_announced()
        if self._is_replaceable():
            return
        division = self._division()
        taken = await in_background(lambda: self._claims.take(self._chosen(division), self._costs))
        for target in taken:  # its claim may have what another replica measured
            self._announced.pop(target, None)
        self._measured.update(taken)
        if taken:
            self._led_since = self._clock.monotonic()
            _log.info("fleet.taken", replica=self.identity, targets=len(taken), held=len(self._claims.held))
        shed = targets_to_release(division)
        if shed:
            self._leaving.update(shed)
            _log.info("fleet.shed", replica=self.identity, targets=len(shed), held=len(self._claims.held))

    def _is_replaceable(self) -> bool:
        """True while another replica has the newer files that this one lacks."""
        newest, others = self.superseded_by(), (one for one in self.replicas if one.id != self.identity)
        if newest is None or not self._is_long_behind():
            return False
        return any(same_files(one.revision or "", newest) and not one.is_draining for one in others)

    def _is_long_behind(self) -> bool:
        """True once this replica has lacked for too long what another one applied."""
        now = self._clock.monotonic()
        if self.superseded_by() is None:
            self._up_to_date_at = now
        return now - self._up_to_date_at >= self._timing.patience

    async def _read_claims(self) -> None:
        """Announce what targets cost, where it changed, and learn who holds which."""
        changed = {target: self._costs[target] for target in self._measured if self._is_notable(target)}
        self._measured.clear()
        try:
            await in_background(lambda: self._claims.set_costs(changed))
        except BaseException:
            self._measured.update(changed)
            raise
        self._announced |= changed
        await in_background(lambda: self._known.read(self._wanted))

    def _is_notable(self, target: Target) -> bool:
        if target not in self._claims.held or target not in self._costs:
            return False
        known = self._announced.get(target, 0.0)
        return abs(self._costs[target] - known) > _NOTABLE * known

    async def _release_announced(self) -> None:
        """Give up what was announced a step ago and has no pass in flight, and what no file names any more."""
        holders = self._known.holders
        unwanted = {target for target in self._claims.held if target not in self._wanted}
        over = sorted(target for target in self._leaving | unwanted if target in holders and not self.is_busy(target))
        if over:
            await in_background(lambda: self._claims.give_up(over))
        self._leaving = {target for target in self._leaving if target in self._claims.held}

    def _division(self) -> Division:
        held = [target for target in self._claims.held if target in self._wanted]
        mine = [target for target in held if target not in self._leaving]
        free = [target for target in self._known.unclaimed if target not in self._claims.held]
        self._free_for = {target: self._free_for.get(target, 0) + 1 for target in free}
        costs = {target: self._cost(target) for target in (*held, *free)}
        others = [one for one in self.replicas if one.id != self.identity]
        loads = tuple(one.cost for one in others if not one.is_draining)
        given_up = sum(one.cost for one in others if one.is_draining) + sum(
            costs.get(target, 0.0) for target in self._leaving
        )
        return Division(costs, mine, free, loads, given_up)

    def _cost(self, target: Target) -> float:
        """What a pass of a target costs: as measured here, else as it was announced."""
        measured = self._costs.get(target)
        if measured is not None:
            return measured
        claim = self._known.holders.get(target)
        return _LEAST_COST if claim is None else claim.cost

    def _chosen(self, division: Division) -> list[Target]:
        overdue = [target for target, steps in self._free_for.items() if steps > _OVERDUE]
        return list(dict.fromkeys([*targets_to_claim(division, self.identity), *overdue]))

    def _own(self) -> frozenset[Target]:
        return frozenset(target for target in self._claims.held if target not in self._leaving)

    def _failed(self, text: str, error: Exception) -> None:
        """Say it once until the next answer. The traceback comes with what was not expected."""
        if not self._is_failing:
            fields = {"replica": self.identity, "error": text, "code": code_of(error), "writes": self.may_write()}
            _log.error("fleet.error", **fields, exc_info=not isinstance(error, KvsyncError))
        self._is_failing = True

    def _recovered(self) -> None:
        if self._is_failing:
            _log.info("fleet.available", replica=self.identity)
        self._is_failing = False
