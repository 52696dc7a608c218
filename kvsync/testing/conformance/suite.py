"""Base class of the conformance tests: selects the tests that apply, and runs them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, ClassVar, TypeVar

from kvsync.model.capabilities import Capabilities
from kvsync.model.entry import Content, Identity
from kvsync.stores.base import Store
from kvsync.testing.clock import FakeClock
from kvsync.testing.conformance.bench import Bench

Need = Callable[[type["Suite"]], str | None]
"""Says why a test does not apply to a suite; None when it does."""

_Self = TypeVar("_Self", bound="Suite")


class Suite:
    """Base of the conformance suite. `capabilities` and `open_store` must be given; the rest may be overridden."""

    capabilities: ClassVar[Capabilities]
    namespaces: ClassVar[tuple[str, str]] = ("web", "mail")
    """Two namespaces that the store under test may use; they are empty when a test starts."""
    labels: ClassVar[bool | None] = None
    """Whether entries may have labels. None: as the capabilities say; True for a store whose key format holds them."""
    keeps_ledger: ClassVar[bool] = False
    """Whether the stores that `open_store` gives keep the ledger of a namespace."""
    left_out: ClassVar[dict[str, str]] = {}
    """Tests that do not apply, and why."""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if not hasattr(cls, "capabilities"):
            return
        cls.left_out = {}
        for name, test in _tests(cls).items():
            reasons = [reason for need in test.needs if (reason := need(cls)) is not None]  # type: ignore[attr-defined]
            setattr(cls, name, None if reasons else test)  # pytest passes over what cannot be called
            if reasons:
                cls.left_out[name] = "; ".join(reasons)

    def open_store(self, clock: FakeClock) -> Store:
        """A connection to the remote of this test. Called again in the same test: another connection to the same remote."""
        raise NotImplementedError

    def make_clock(self) -> FakeClock:
        """The clock of one test; override it when the remote has an idea of the present moment."""
        return FakeClock()

    async def pass_time(self, clock: FakeClock, seconds: float) -> None:
        """Let time pass, for kvsync and for the remote."""
        clock.advance(seconds)

    async def foreign_write(self, namespace: str, identity: Identity, content: Content) -> None:
        """Optional: create or change an entry as another program would, that knows nothing of kvsync."""
        raise NotImplementedError

    async def foreign_delete(self, namespace: str, identity: Identity) -> None:
        """Optional: delete an entry as another program would."""
        raise NotImplementedError

    def lose_next_answer(self) -> None:
        """Optional: let the remote do the next write, but let its answer be lost."""
        raise NotImplementedError

    def refuse(self, identity: Identity) -> None:
        """Optional: let the remote refuse every write of this entry from now on."""
        raise NotImplementedError

    def break_next_listing(self) -> None:
        """Optional: let the next listing end before its end."""
        raise NotImplementedError

    def other_place(self, clock: FakeClock) -> Store:
        """Optional: a connection with the same configuration to another remote, which is empty: another account, file or
        server."""
        raise NotImplementedError

    async def rename_namespace(self, old: str, new: str) -> None:
        """Optional: rename a namespace together with all that it holds, as another program would. For stores that know
        namespaces by ids of their own."""
        raise NotImplementedError


def promise(*needs: Need) -> Callable[[Callable[[_Self, Bench], Awaitable[None]]], Callable[[_Self], None]]:
    """Make a test of a coroutine that is given a bench. It applies where all `needs` are met."""

    def decorate(body: Callable[[_Self, Bench], Awaitable[None]]) -> Callable[[_Self], None]:
        def test(self: _Self) -> None:
            asyncio.run(_conduct(self, body))

        test.__name__, test.__qualname__, test.__doc__ = body.__name__, body.__qualname__, body.__doc__
        test.needs = needs  # type: ignore[attr-defined]
        return test

    return decorate


def having(name: str, value: Any = True) -> Need:
    """Needs a capability to have this value."""

    def need(suite: type[Suite]) -> str | None:
        actual = getattr(suite.capabilities, name)
        return None if actual == value else f"needs {name} to be {value}; here it is {actual}"

    return need


def at_most(name: str, limit: int) -> Need:
    """Needs a capability to have a limit, and that no higher than a test can afford."""

    def need(suite: type[Suite]) -> str | None:
        actual = getattr(suite.capabilities, name)
        return (
            None
            if actual is not None and actual <= limit
            else f"needs {name} to be at most {limit}; here it is {actual}"
        )

    return need


def method(name: str) -> Need:
    """Needs an optional method of the suite."""

    def need(suite: type[Suite]) -> str | None:
        given = getattr(suite, name) is not getattr(Suite, name)
        return None if given else f"needs the method {name}, which this suite does not give"

    return need


def bulk(suite: type[Suite]) -> str | None:
    """Needs a store that takes several writes in a call."""
    return None if suite.capabilities.batch > 1 else "needs batch to be above 1"


def labelled(suite: type[Suite]) -> str | None:
    """Needs entries to have labels."""
    has_labels = suite.capabilities.labels if suite.labels is None else suite.labels
    return None if has_labels else "needs labels, by capability or by key_format"


def _tests(cls: type[Suite]) -> dict[str, Callable[[Suite], None]]:
    """All promises, of this class and its bases, also those that a base had no use for."""
    found: dict[str, Callable[[Suite], None]] = {}
    for base in reversed(cls.__mro__):
        found |= {name: value for name, value in vars(base).items() if hasattr(value, "needs")}
    return found


async def _conduct(suite: _Self, body: Callable[[_Self, Bench], Awaitable[None]]) -> None:
    clock = suite.make_clock()
    bench = Bench(
        lambda: suite.open_store(clock), clock, lambda seconds: suite.pass_time(clock, seconds), suite.namespaces
    )
    try:
        await body(suite, bench)
    finally:
        await bench.aclose()
