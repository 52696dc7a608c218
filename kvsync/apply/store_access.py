"""Store access while applying: reads and plans with retries, and stops when asked."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import field
from random import Random

from kvsync.apply.ports import ArrivalCheck, DeletionPort, Replan, TimePort
from kvsync.errors import BatchRefused, StoreError, TransientError
from kvsync.model.change import Change, Refusal
from kvsync.model.entry import Actual, Identity, Target
from kvsync.planning.marks import MarkSigner
from kvsync.stores.base import Store, WriteResult, WriteStatus
from kvsync.stores.extensions import scan
from kvsync.stores.pacing import ConcurrencyLimiter, RetryPolicy, RetryState, Stopped
from kvsync.stores.partial import PartialRead
from kvsync.util.clock import Clock
from kvsync.util.values import dataclass
from kvsync.util.write_fence import Fence


@dataclass(frozen=True, slots=True)
class ApplierOptions:
    """How to apply.

    `replan` observes one entry and plans it again; `stop` is called between calls; `progress` receives how many more changes
    have their outcome. `concurrency` bounds the calls in flight (None: what the store declares); appliers of the same store
    share a `pace` with that bound and what was learned about the store. `deletions` grants deletes (None: all). `time` is what
    is left of the pass. `arrived` looks at the other targets that entries move to.
    """

    replan: Replan
    rng: Random = field(default_factory=Random)
    stop: Callable[[], bool] = lambda: False
    progress: Callable[[int], None] = lambda _count: None
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    concurrency: int | None = None
    pace: ConcurrencyLimiter | None = None
    deletions: DeletionPort | None = None
    time: TimePort | None = None
    arrived: ArrivalCheck | None = None


class StopCondition:
    """Why nothing more is sent: kvsync was asked to stop, another replica leads, the store was given up, the journal failed, or
    the pass took too long."""

    def __init__(self, stop: Callable[[], bool], fence: Fence, time: TimePort | None = None) -> None:
        self._stop, self._fence, self._time = stop, fence, time
        self.store_error: StoreError | None = None
        self.is_broken = False

    @property
    def reason(self) -> str:
        """The reason, for messages."""
        if self.store_error is not None:
            return str(self.store_error)
        if not self._fence.is_open:
            return "this replica is no longer the leader; the new leader continues"
        if self.overdue is not None:
            return str(self.overdue)
        return "kvsync was stopped before it was written"

    def __call__(self) -> bool:
        """True if nothing more may be sent."""
        is_ended = self.is_broken or self.store_error is not None or not self._fence.is_open
        return is_ended or (self._time is not None and self._time.is_over) or self._stop()

    @property
    def overdue(self) -> StoreError | None:
        """The error of a pass that took too long; None otherwise."""
        return self._time.error if self._time is not None and self._time.is_over else None


class StoreAccess:
    """Access of one call to the store: `retries` are its own, the pace is shared. A write is sent to `store` directly, once."""

    def __init__(
        self,
        store: Store,
        target: Target,
        halt: StopCondition,
        pace: ConcurrencyLimiter,
        clock: Clock,
        options: ApplierOptions,
    ) -> None:
        self.store, self.namespace = store, target.namespace
        self._replan, self._pace = options.replan, pace
        self.halt = halt
        self.capabilities, self._arrived = store.capabilities, options.arrived
        self.clock = clock
        self.retries = RetryState(options.retry, pace, clock, options.rng, halt)

    async def ready(self) -> None:
        """Wait if the store asked another call to wait. Raises Stopped if nothing more may be sent."""
        if self.halt():
            raise Stopped
        await self.retries.hold()

    def count_results(self, results: Sequence[WriteResult]) -> None:
        """Count an answered call as a success. Results that say nothing are none, or a store that never knows would be asked
        forever."""
        if any(result.status is not WriteStatus.UNKNOWN for result in results):
            self.retries.succeeded()

    async def read(self, identities: Sequence[Identity]) -> Mapping[Identity, Actual]:
        """Read entries, in calls as large as the store accepts. Raises StoreError, PartialRead, Stopped."""
        size = max(1, self.capabilities.read_batch)
        found: dict[Identity, Actual] = {}
        failed: dict[Identity, str] = {}
        for start in range(0, len(identities), size):
            try:
                found.update(await self._read(identities[start : start + size]))
            except PartialRead as partial:
                found.update(partial.found)
                failed.update(partial.failed)
        if failed:
            raise PartialRead(found, failed)
        return found

    async def _read(self, identities: Sequence[Identity]) -> Mapping[Identity, Actual]:
        while True:
            try:
                found = await self.store.read(self.namespace, identities)
            except PartialRead:
                raise
            except TransientError as error:
                await self.retries.wait(error)
            else:
                return found  # no success of the call: reads that pass make no failing write worth more attempts

    async def scan(
        self, signer: MarkSigner, absent: Collection[Identity], present: Collection[Identity]
    ) -> Mapping[Identity, Actual] | None:
        """What exists of many entries, None if the store cannot show that in few requests, or fails."""
        try:
            return await scan(self.store, self.namespace, signer, absent, present)
        except StoreError:
            return None

    async def replan(self, identity: Identity, change: Change) -> Change | Refusal | None:
        """Observe one entry and plan it again. Raises StoreError, Stopped."""
        while True:
            try:
                return await self._replan(identity, change)
            except PartialRead:
                raise
            except TransientError as error:
                await self.retries.wait(error)

    async def missing(self, target: Target, identities: Sequence[Identity]) -> Mapping[Identity, str]:
        """Why entries of another target cannot be relied on; entries that can are left out. Never raises StoreError: then its
        text is the reason."""
        if self._arrived is None:
            return dict.fromkeys(identities, "cannot be read")
        try:
            return await self._arrived(target, identities)
        except StoreError as error:
            return dict.fromkeys(identities, f"could not be read ({error})")

    def report(self, error: StoreError) -> None:
        """Stop all other calls to this store if the error is about the store as a whole."""
        if isinstance(error, TransientError):
            is_final = self._pace.is_down or self.retries.is_rest(error)
        else:
            is_final = not isinstance(error, BatchRefused)
        if is_final and self.halt.store_error is None:
            self.halt.store_error = error
