"""One pass over everything."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from dataclasses import replace

import pytest

from kvsync.config.model import Window
from kvsync.daemon.once import run_once
from kvsync.daemon.parts import DaemonOptions
from kvsync.daemon.ports import LoadedTargets, PassRequest
from kvsync.errors import PermanentError, Problem, StateDirError
from kvsync.model.result import PassResult, Trigger
from tests.daemon.support import QUIET, A, B, C, FakeReconciler, FakeRecorder, ManualClock, until


async def test_every_target_once() -> None:
    """Each target gets one pass and its row; the results come back in order, nothing is tried twice."""
    reconciler, recorder = FakeReconciler([B, A, C]), FakeRecorder()

    async def failing(request: PassRequest, stop: Callable[[], bool]) -> PassResult:
        raise PermanentError("404")

    reconciler.scripts[A] = failing
    result = await run_once(reconciler, recorder, QUIET, DaemonOptions(clock=ManualClock()))
    assert [(one.target, one.error) for one in result.results] == [(C, None), (A, "404"), (B, None)]
    assert reconciler.asked(A) == [PassRequest(A, triggers=(Trigger.START,))]
    assert sorted(recorder.rows) == [C, A, B]
    assert result.interrupted is None


@pytest.mark.parametrize(("observe", "windows"), [(True, ()), (False, (Window("0 0 * * *", 86_400),))])
async def test_observing_or_in_a_window_it_does_not_apply(observe: bool, windows: tuple[Window, ...]) -> None:
    """With `observe`, or in a window that denies, no pass may apply; the window is in the answer."""
    reconciler = FakeReconciler([A])
    settings = replace(QUIET, windows=windows)
    result = await run_once(reconciler, FakeRecorder(), settings, DaemonOptions(observe=observe, clock=ManualClock()))
    assert [request.apply for request in reconciler.requests] == [False]
    assert result.denied_by == (windows[0] if windows else None)


async def test_a_paused_target_is_in_the_answer() -> None:
    """A paused target is planned and not applied, and named."""
    reconciler = FakeReconciler([A, B])
    reconciler.paused = {A}
    result = await run_once(reconciler, FakeRecorder(), QUIET, DaemonOptions(clock=ManualClock()))
    assert result.paused == (A,)
    assert [request.apply for request in reconciler.requests] == [False, True]


async def test_a_deep_pass_is_deep() -> None:
    """Asked to look deep, it asks every target for a deep pass."""
    reconciler = FakeReconciler([A, B])
    await run_once(reconciler, FakeRecorder(), QUIET, deep=True)
    assert all(request.deep for request in reconciler.requests)


async def test_problems_and_no_targets_are_an_answer() -> None:
    """Files with problems are not an exception: what they say is in the answer."""
    reconciler, problem = FakeReconciler(), Problem("bad")
    reconciler.loaded = LoadedTargets({}, hold_all=(problem,), problems=(problem,))
    result = await run_once(reconciler, FakeRecorder(), QUIET)
    assert (result.results, result.loaded.problems) == ((), (problem,))


async def test_what_reading_raises_is_raised() -> None:
    """An error that keeps the files from being read at all ends it."""
    reconciler = FakeReconciler()

    def fail() -> LoadedTargets:
        raise StateDirError("x", "full")

    reconciler.on_load = fail
    with pytest.raises(StateDirError):
        await run_once(reconciler, FakeRecorder(), QUIET)


async def test_a_signal_ends_it_after_the_batch() -> None:
    """SIGTERM lets the batch in flight end; the answer names the signal."""
    reconciler = FakeReconciler([A, B])

    async def interrupted(request: PassRequest, stop: Callable[[], bool]) -> PassResult:
        os.kill(os.getpid(), signal.SIGTERM)
        await until(stop)
        return PassResult(request.target, changes={"applied": 1})

    reconciler.scripts[A] = interrupted
    result = await run_once(reconciler, FakeRecorder(), QUIET)
    assert result.interrupted == "SIGTERM"
    assert [one.changes for one in result.results] == [{"applied": 1}, {}]
