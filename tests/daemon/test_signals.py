"""Signals that arrive before the daemon can act on them."""

from __future__ import annotations

import asyncio
import os
from signal import Signals

from kvsync.daemon.signals import TRIGGER_OF_SIGNAL, SignalInbox


async def _send(number: Signals) -> None:
    os.kill(os.getpid(), number)
    for _ in range(3):
        await asyncio.sleep(0)


async def test_a_signal_during_start_is_acted_on_later_and_does_not_kill() -> None:
    """SIGHUP would end the process by default; here it is kept, and handed over once. Later ones are handed over at once."""
    seen: list[Signals] = []
    callbacks = {number: lambda number=number: seen.append(number) for number in TRIGGER_OF_SIGNAL}
    inbox = SignalInbox(TRIGGER_OF_SIGNAL)
    with inbox.open():
        await _send(Signals.SIGHUP)
        await _send(Signals.SIGHUP)
        with inbox.receiving(callbacks):
            assert seen == [Signals.SIGHUP]
            await _send(Signals.SIGUSR1)
        assert seen == [Signals.SIGHUP, Signals.SIGUSR1]
        await _send(Signals.SIGHUP)  # while the daemon leaves: nobody is there to act, and the process goes on
    assert seen == [Signals.SIGHUP, Signals.SIGUSR1]
