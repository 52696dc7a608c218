"""Base class of the conformance tests: selects the tests that apply, and runs them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from enum import StrEnum
from typing import Any, ClassVar, TypeVar
from unittest import SkipTest

from kvsync.model.capabilities import Capabilities
from kvsync.model.entry import Content, Identity
from kvsync.stores.base import Store
from kvsync.testing.clock import FakeClock
from kvsync.testing.conformance.harness import StoreHarness

Need = Callable[[type["Suite"]], str | None]
"""Returns why a test does not apply to a suite; None if it does."""

_Self = TypeVar("_Self", bound="Suite")


class SuiteStep(StrEnum):
    """What to implement in a store, in order. The tests run in this order; once one fails, those of later steps are skipped,
    so that the first failure names what is missing."""

    OBSERVE = "observe an empty namespace"
    WRITE = "write, read and list entries"
    LIST = "list what other programs wrote"
    PRECONDITIONS = "honour preconditions"
    MARKS = "keep marks"
    LIFETIMES = "keep lifetimes"
    TOKENS = "tokens and versions"
    PLACES = "identify the place of a namespace"
    LEDGER = "keep the ledger"
    FAULTS = "report failures of the remote"


class Suite:
    """Base of the conformance suite. `capabilities` and `open_store` must be given; the rest may be overridden."""

    capabilities: ClassVar[Capabilities]
    namespaces: ClassVar[tuple[str, str]] = ("web", "mail")
    """Two namespaces that the store under test may use; they are empty when a test starts."""
    labels: ClassVar[bool | None] = None
    """Whether entries can have labels. None means that the capabilities decide; set True for a store whose key format contains
    labels."""
    keeps_ledger: ClassVar[bool] = False
    """Whether the stores that `open_store` returns keep the ledger of a namespace."""
    left_out: ClassVar[dict[str, str]] = {}
    """Tests that do not apply, and why."""
    step: ClassVar[SuiteStep]
    """The step of the tests in this class that name no other."""
    failed: ClassVar[dict[SuiteStep, str]] = {}
    """The first test that failed in each step of this run."""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if not hasattr(cls, "capabilities"):
            return
        cls.left_out, cls.failed = {}, {}
        for name, test in _tests(cls).items():  # pytest runs them in the order in which they are set
            reasons = [reason for need in test.needs if (reason := need(cls)) is not None]  # type: ignore[attr-defined]
            setattr(cls, name, None if reasons else test)  # pytest passes over what cannot be called
            if reasons:
                cls.left_out[name] = "; ".join(reasons)

    def open_store(self, clock: FakeClock) -> Store:
        """Open a connection to the remote of this test. Another call in the same test opens another connection to it."""
        raise NotImplementedError

    def make_clock(self) -> FakeClock:
        """Return the clock of one test. Override it if the remote has a clock of its own."""
        return FakeClock()

    async def pass_time(self, clock: FakeClock, seconds: float) -> None:
        """Advance the time, for kvsync and for the remote."""
        clock.advance(seconds)

    async def foreign_write(self, namespace: str, identity: Identity, content: Content) -> None:
        """Optional: create or change an entry as another program would, without a mark."""
        raise NotImplementedError

    async def foreign_delete(self, namespace: str, identity: Identity) -> None:
        """Optional: delete an entry as another program would."""
        raise NotImplementedError

    def lose_next_answer(self) -> None:
        """Optional: let the remote make the next write, but lose its response."""
        raise NotImplementedError

    def refuse(self, identity: Identity) -> None:
        """Optional: let the remote refuse every write of this entry from now on."""
        raise NotImplementedError

    def break_next_listing(self) -> None:
        """Optional: cut off the next listing before it is complete."""
        raise NotImplementedError

    def other_place(self, clock: FakeClock) -> Store:
        """Optional: open a connection with the same configuration to another, empty remote: another account, file or server."""
        raise NotImplementedError

    async def rename_namespace(self, old: str, new: str) -> None:
        """Optional: rename a namespace with all its entries, as another program would. For stores whose namespaces have ids of
        their own."""
        raise NotImplementedError


def promise(
    *needs: Need, step: SuiteStep | None = None
) -> Callable[[Callable[[_Self, StoreHarness], Awaitable[None]]], Callable[[_Self], None]]:
    """Turn a coroutine that takes a harness into a test. The test applies if all `needs` are met, and belongs to `step`, by
    default that of its class."""

    def decorate(body: Callable[[_Self, StoreHarness], Awaitable[None]]) -> Callable[[_Self], None]:
        def test(self: _Self) -> None:
            _skip_after_failure(type(self), test.step)  # type: ignore[attr-defined]
            try:
                asyncio.run(_run_body(self, body))
            except Exception:
                type(self).failed.setdefault(test.step, body.__name__)  # type: ignore[attr-defined]
                raise

        test.__name__, test.__qualname__, test.__doc__ = body.__name__, body.__qualname__, body.__doc__
        test.needs, test.step = needs, step  # type: ignore[attr-defined]
        return test

    return decorate


def having(name: str, value: Any = True) -> Need:
    """Require a capability to have this value."""

    def need(suite: type[Suite]) -> str | None:
        actual = getattr(suite.capabilities, name)
        return None if actual == value else f"needs {name} to be {value}; here it is {actual}"

    return need


def at_most(name: str, limit: int) -> Need:
    """Require a capability to have a limit that is low enough for a test."""

    def need(suite: type[Suite]) -> str | None:
        actual = getattr(suite.capabilities, name)
        return (
            None
            if actual is not None and actual <= limit
            else f"needs {name} to be at most {limit}; here it is {actual}"
        )

    return need


def method(name: str) -> Need:
    """Require an optional method of the suite."""

    def need(suite: type[Suite]) -> str | None:
        given = getattr(suite, name) is not getattr(Suite, name)
        return None if given else f"needs the suite method {name}, which is not overridden"

    return need


def bulk(suite: type[Suite]) -> str | None:
    """Require a store that accepts several writes in a call."""
    return None if suite.capabilities.batch > 1 else "needs batch to be above 1"


def labelled(suite: type[Suite]) -> str | None:
    """Require entries to have labels."""
    has_labels = suite.capabilities.labels if suite.labels is None else suite.labels
    return None if has_labels else "needs labels, by capability or by key_format"


def _tests(cls: type[Suite]) -> dict[str, Callable[[Suite], None]]:
    """All tests of this class and its bases in the order of steps, including those that a base left out."""
    found: dict[str, Any] = {}
    for base in cls.__mro__:
        for name, value in vars(base).items():
            if hasattr(value, "needs"):
                value.step = value.step or base.step  # type: ignore[attr-defined]
                found.setdefault(name, value)
    order = list(SuiteStep)
    return dict(sorted(found.items(), key=lambda test: order.index(test[1].step)))


def _skip_after_failure(cls: type[Suite], step: SuiteStep) -> None:
    """Skip a test if a test of an earlier step failed in this run."""
    for earlier in SuiteStep:
        if earlier is step:
            return
        if earlier in cls.failed:
            raise SkipTest(f'first make {cls.failed[earlier]} pass (step "{earlier}")')


async def _run_body(suite: _Self, body: Callable[[_Self, StoreHarness], Awaitable[None]]) -> None:
    clock = suite.make_clock()
    harness = StoreHarness(
        lambda: suite.open_store(clock), clock, lambda seconds: suite.pass_time(clock, seconds), suite.namespaces
    )
    try:
        await body(suite, harness)
    finally:
        await harness.aclose()
