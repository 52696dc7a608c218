"""What kvsync itself waits for is said: without a terminal in lines, and by `doctor`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from kvsync.app.doctor import Finding, examine
from kvsync.cli import progress
from kvsync.http.rate_limits import TokenBucket
from kvsync.model.health import DoctorCheck
from kvsync.stores.memory import MemoryStore
from kvsync.util.clock import Clock
from kvsync.util.waits import WAITS, waiting_place


def test_long_waits_are_lines_without_a_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line at first, and the next one only after a while."""
    monkeypatch.setattr(progress, "_FIRST_LINE", 0.01)
    clock, said, latest = Clock(), "", time.monotonic() + 60
    ends = clock.monotonic() + 3600
    with progress.progress("planning"), waiting_place("store edge"), WAITS.shown("the rate limit", ends, clock):
        while not said and time.monotonic() < latest:
            said = capsys.readouterr().err
    assert said.startswith("kvsync: store edge: waiting ")
    assert said.endswith(" for the rate limit\n")
    assert capsys.readouterr().err == ""


async def late_check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, check: Callable[..., Any]) -> Finding:
    """What `doctor` reports of a store whose check does not end."""
    config = tmp_path / "kvsync.yaml"
    config.write_text("version: 1\nowner: us\npolicy: {prune: owned}\nstores:\n  edge: {type: memory, timeout: 0.1s}\n")
    (tmp_path / "state").mkdir()
    (tmp_path / "state/web.yaml").write_text("store: edge\nnamespace: web\nkeys: {a: '1'}\n")
    monkeypatch.setattr(MemoryStore, "check", check)
    found = await examine(config, None, offline=False, working=progress.progress)
    (late,) = (one for one in found.findings if one.subject == "store edge")
    return late


async def test_doctor_distinguishes_its_own_wait_from_a_dead_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A rate limit that takes longer than the timeout is not taken for a server that does not respond."""

    async def check(store: MemoryStore) -> Sequence[DoctorCheck]:
        bucket = TokenBucket(0.001, store.context.clock)
        await bucket.take()
        await bucket.take()
        return []

    late = await late_check(tmp_path, monkeypatch, check)
    assert late.detail.startswith("not checked within 0.1 s, because kvsync itself is waiting 16 min ")
    assert late.detail.endswith(" for the rate limit")


async def test_doctor_says_what_to_do_about_a_silent_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also if no call has ended yet, so that nothing else is known of it."""

    async def check(_store: MemoryStore) -> Sequence[DoctorCheck]:
        return await asyncio.Future[Sequence[DoctorCheck]]()

    late = await late_check(tmp_path, monkeypatch, check)
    assert late.detail == "no response within 0.1 s"
    assert late.hint == "check the endpoint and the network, or set a longer timeout"
