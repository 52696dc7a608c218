"""The desired state as last loaded, and the check that the files have stopped changing."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from pathlib import Path

from kvsync.daemon.ports import LoadedTargets, Reconciler
from kvsync.errors import KvsyncError, Problem
from kvsync.logs import get_logger
from kvsync.model.entry import Target
from kvsync.util.clock import Clock
from kvsync.util.shortage import code_of, shortage_of

SETTLE = 1.0
"""Seconds without a change after which the files count as stable: an editor, or a checkout, may drop and bring back."""

TICK = 0.01
"""Seconds; less than anybody notices, more than what two clocks disagree about."""

FIRST_REST = 5.0
"""Seconds that a daemon which starts waits for files that are being written; then it starts without them."""

_log = get_logger()


class Files:
    """Reads the files through the reconciler and finds out whom a change concerns."""

    def __init__(self, reconciler: Reconciler, clock: Clock) -> None:
        self.loaded = LoadedTargets({})
        self.targets: frozenset[Target] = frozenset()
        self._reconciler, self._clock = reconciler, clock
        self._moving_since = self._moved_at = float("-inf")  # monotonic
        self._first, self._has_failed = True, False

    async def load_first(self) -> None:
        """Read for the first time, and again while files are still being written, for a while. Raises what reading raises."""
        await self.reload()
        ends = self._clock.monotonic() + FIRST_REST
        while self.loaded.look_again is not None and self._clock.monotonic() + self.loaded.look_again <= ends:
            await self._clock.sleep(self.loaded.look_again)
            await self.reload()

    async def reload(self, touched: Collection[Path] | None = None) -> frozenset[Target]:
        """Read again. Only the `touched` real paths may have changed since the last look; None: anything. Returns the targets
        whose desired state, or whose problems, changed.

        Only the first look raises; a later one that fails is logged and changes nothing.
        """
        began, touched = self._clock.monotonic(), None if self._has_failed else touched
        self._has_failed = True
        try:
            loaded = await self._reconciler.load(touched)
        except Exception as error:  # no file may take the daemon down
            if self._first:
                raise
            text = str(error) if isinstance(error, KvsyncError) else shortage_of(error)
            _log.error("source.invalid", error=text or "unexpected", code=code_of(error), exc_info=text is None)
            return frozenset()
        self._has_failed = False
        changed = self._take(loaded)
        if changed or self._first:
            seconds = round(self._clock.monotonic() - began, 3)
            _log.info("source.loaded", targets=len(self.targets), changed=len(changed), seconds=seconds)
        self._first = False
        return changed

    def is_held(self, target: Target) -> bool:
        """True if the target keeps its last good state because of problems in the files."""
        return bool(self.loaded.hold_all) or target in self.loaded.held

    def grace(self) -> float:
        """Seconds that an entry must have been undesired before it may be deleted; 0 once the files are stable.

        While they move it is as long as they have been moving, and a bit: what was dropped at the very beginning waits too.
        """
        if self._clock.monotonic() - self._moved_at >= SETTLE:
            return 0
        return SETTLE + self._moved_at - self._moving_since

    def stable_at(self) -> float:
        """The moment (epoch seconds) from which the files count as stable, and a tick later, as clocks are not exact."""
        return self._clock.now() + self._moved_at + SETTLE - self._clock.monotonic() + TICK

    def _take(self, loaded: LoadedTargets) -> frozenset[Target]:
        before, known = self.loaded, self.targets
        self.loaded = loaded
        self.targets = frozenset(loaded.targets.keys() | loaded.held.keys()) | (
            known - loaded.elsewhere if loaded.hold_all else frozenset()
        )
        changed = frozenset(target for target in self.targets if _state_of(target, loaded) != _state_of(target, before))
        stays = known - loaded.elsewhere  # that another replica takes a target over does not change the files
        comes = self.targets - before.elsewhere
        if not self._first and (changed & comes or comes != stays):
            self._moved()
            _log_targets(stays, comes)
        _log_problems(before.problems, loaded.problems)
        return changed

    def _moved(self) -> None:
        now = self._clock.monotonic()
        if now - self._moved_at >= SETTLE:
            self._moving_since = now
        self._moved_at = now


def _state_of(target: Target, loaded: LoadedTargets) -> tuple[str | None, tuple[Problem, ...], tuple[Problem, ...]]:
    return loaded.targets.get(target), loaded.hold_all, loaded.held.get(target, ())


def _log_targets(before: frozenset[Target], after: frozenset[Target]) -> None:
    for target in sorted(after - before):
        _log.info("target.added", store=target.store, namespace=target.namespace)
    for target in sorted(before - after):
        _log.info("target.removed", store=target.store, namespace=target.namespace)


def _log_problems(before: tuple[Problem, ...], after: tuple[Problem, ...]) -> None:
    known = set(before)
    for problem in _new(after, known):
        place = problem.origin
        fields = {"file": place.file, "line": place.line, "column": place.column} if place else {}
        _log.error("source.invalid", error=problem.message, hint=problem.hint, code=problem.code, **fields)
    if before and not after:
        _log.info("source.recovered", problems=len(before))


def _new(problems: Iterable[Problem], known: set[Problem]) -> list[Problem]:
    return [problem for problem in problems if problem not in known]
