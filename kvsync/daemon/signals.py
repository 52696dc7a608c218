"""Signal handlers, and the shutdown request."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from signal import Signals
from typing import Final

from kvsync.model.result import Trigger

TRIGGER_OF_SIGNAL: Final = {Signals.SIGHUP: Trigger.CONFIG, Signals.SIGUSR1: Trigger.SIGNAL}


@contextmanager
def handling(callbacks: Mapping[Signals, Callable[[], None]]) -> Iterator[None]:
    """Call these in the running loop when the signals come; afterwards the signals mean what they mean by default."""
    loop = asyncio.get_running_loop()
    for number, callback in callbacks.items():
        loop.add_signal_handler(number, callback)
    try:
        yield
    finally:
        for number in callbacks:
            loop.remove_signal_handler(number)


class SignalInbox:
    """Keeps the signals that arrive while the daemon starts, so that they are acted on and do not kill the process."""

    def __init__(self, numbers: Iterable[Signals] = ()) -> None:
        self._early: set[Signals] = set()
        self._callbacks: Mapping[Signals, Callable[[], None]] = {}
        self._numbers = frozenset(numbers)

    @contextmanager
    def open(self) -> Iterator[None]:
        """Keep the signals of this inbox until the end of the block, or pass them to the callbacks of `receiving`."""
        with handling({number: partial(self._arrived, number) for number in self._numbers}):
            yield

    @contextmanager
    def receiving(self, callbacks: Mapping[Signals, Callable[[], None]]) -> Iterator[None]:
        """Call these when their signals come, and at once for those that came before."""
        others = {number: callback for number, callback in callbacks.items() if number not in self._numbers}
        with handling(others):
            self._callbacks = callbacks
            for number in sorted(self._early):
                callbacks[number]()
            try:
                yield
            finally:
                self._callbacks = {}

    def _arrived(self, number: Signals) -> None:
        callback = self._callbacks.get(number)
        if callback is None:
            self._early.add(number)
        else:
            callback()


class StopRequest:
    """The request to stop: the first SIGTERM or SIGINT asks, another one hurries."""

    def __init__(self) -> None:
        self.asked, self.hurry = asyncio.Event(), asyncio.Event()
        self.reason: str | None = None

    @property
    def callbacks(self) -> dict[Signals, Callable[[], None]]:
        """What to do on which signal, for `handling`."""
        return {number: partial(self._ask, number) for number in (Signals.SIGTERM, Signals.SIGINT)}

    def _ask(self, number: Signals) -> None:
        if self.asked.is_set():
            self.hurry.set()
            return
        self.reason = number.name
        self.asked.set()
