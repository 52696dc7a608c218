"""The time of a store, by this machine's clock and its server's."""

from __future__ import annotations

import pytest

from kvsync.testing import FakeClock
from kvsync.util.clock import StoreClock

DAY = 86_400.0


class Stepped(FakeClock):
    """A clock whose wall clock was set by `stepped` seconds."""

    stepped = 0.0

    def now(self) -> float:
        return super().now() + self.stepped


def say(store: StoreClock, clock: Stepped, late: float = 0.2) -> None:
    """Have the server answer, `late` seconds after the request, with the right time cut to whole seconds."""
    sent_at = clock.monotonic()
    clock.advance(late)
    store.set_from_server(float(int(clock.now() - clock.stepped)), sent_at, clock.monotonic())


def test_without_a_server_the_machine_decides() -> None:
    """A store that gives no time has this machine's."""
    clock = Stepped()
    clock.stepped = DAY
    assert StoreClock(clock).now() == clock.now()


def test_a_right_clock_is_not_corrected() -> None:
    """What the header cannot tell, fractions of a second, and what NTP tolerates, are this machine's."""
    clock = Stepped()
    store = StoreClock(clock)
    for stepped in (0.0, 3.0, -3.0):
        clock.stepped = stepped
        say(store, clock)
        assert store.now() == clock.now()


@pytest.mark.parametrize("stepped", [-6 * 3600.0, 3 * DAY, 40 * 365 * DAY])
def test_a_clock_that_is_wrong_is_corrected(stepped: float) -> None:
    """However far the clock is off, before or after the server was heard, the store's time is right to a second or two."""
    clock = Stepped()
    store = StoreClock(clock)
    say(store, clock)
    clock.stepped = stepped
    clock.advance(1000)
    right = clock.now() - stepped
    assert store.now() == pytest.approx(right, abs=2)
    assert store.local() == clock.now()
    say(store, clock, late=30)
    assert store.now() == pytest.approx(clock.now() - stepped, abs=2)


def test_a_server_whose_own_clock_is_set_is_followed() -> None:
    """The last that a server said counts."""
    clock = Stepped()
    store = StoreClock(clock)
    say(store, clock)
    store.set_from_server(clock.now() + DAY, clock.monotonic(), clock.monotonic())
    assert store.now() == pytest.approx(clock.now() + DAY, abs=2)
