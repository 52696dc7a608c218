"""Inputs of a pass."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import field
from typing import TYPE_CHECKING

from kvsync.errors import StateDirError
from kvsync.model.capabilities import Capabilities, Lifetimes, Marks
from kvsync.model.desired import Desired
from kvsync.model.entry import Target
from kvsync.model.pass_limits import PassLimits
from kvsync.model.pass_options import PassOptions
from kvsync.model.place import LocatedTarget
from kvsync.model.shard import Shard
from kvsync.planning.marks import MarkSigner
from kvsync.planning.pass_target import PassTarget
from kvsync.reconcile.places import PlaceResolver
from kvsync.util.clock import Clock
from kvsync.util.values import dataclass
from kvsync.util.write_fence import Fence

if TYPE_CHECKING:
    from kvsync.apply.ports import ArrivalCheck, DeletionPort, Replan, TimePort
    from kvsync.apply.store_access import ApplierOptions
    from kvsync.planning.verdict import Rules
    from kvsync.state import Run, StateDir
    from kvsync.stores.pacing import ConcurrencyLimiter, RetryPolicy


@dataclass(frozen=True, slots=True)
class PassContext:
    """What all passes of one process share.

    `writable`: the state directory may be written; `writing`: this process holds its lock and may write to stores, while the
    `fence` is open. `shard` is its share of the targets, None: all. `owner_keys` sign marks and ledgers (the first) and verify
    them (all); they are read for each pass, so that a rotated key is used at once. `places` resolves targets, `limits` bounds
    the time of a pass.
    """

    owner: str
    state: StateDir
    clock: Clock
    writable: bool
    writing: bool
    fence: Fence = field(default_factory=Fence)
    shard: Shard | None = None
    owner_keys: Callable[[], tuple[bytes, ...]] = tuple
    places: PlaceResolver = field(default_factory=lambda: PlaceResolver({}))
    limits: PassLimits = field(default_factory=PassLimits)

    def pass_target(self, located: LocatedTarget, fence: int | None = None) -> PassTarget:
        """A target at the place where it was found; a writing process records the place. `fence` is as for `claim`. Raises
        StateDirError, and AuthError if an owner key cannot be read."""
        self.claim(located.target, fence)
        state, owner_keys = self.state, self.owner_keys()
        state.use_owner_keys(owner_keys)
        known = state.enter(located, self.clock.now()) if self.writing else state.places.known_without_binding(located)
        return PassTarget(located, MarkSigner(self.owner, located.place, owner_keys), known.key, known.moved_from)

    def rules(self, desired: Desired, ask: PassOptions, has: Capabilities, subject: PassTarget) -> Rules:
        """The rules of this pass for the entries of a target."""
        from kvsync.planning.verdict import Rules

        policy, signer, key = desired.policy, subject.signer, self.state.digest_key
        return Rules(
            signer,
            self.clock.now(),
            key,
            policy.prune,
            ask.adopt or policy.adopt,
            ask.allow_protected,
            has.longest,
            ask.from_owner,
            ask.releases,
            has.min_ttl if has.lifetimes is Lifetimes.NATIVE and has.marks is Marks.STORE else 0,
            ask.adopt is not None,
        )

    def claim(self, target: Target, fence: int | None = None) -> int | None:
        """Let this task write for a pass of this target: a new one, or the one that got this `fence` (fencing number) from an
        earlier call. Returns the number, None without claims. Raises ClaimHeld, ClaimLost, StateDirError."""
        if not self.writing or self.state.claims is None:
            return None
        return self.state.claims.bind(target, fence)

    def remembering(self) -> AbstractContextManager[None]:
        """A context in which state is written. A command that only reads ignores errors, such as a full disk."""
        return nullcontext() if self.writing else suppress(StateDirError)


@dataclass(frozen=True, slots=True)
class ApplyOptions:
    """How to apply: the journal's run, the pace of the store, when to stop, who receives progress, what grants deletes, and
    what looks at the other targets that entries move to."""

    run: Run
    pace: ConcurrencyLimiter
    stop: Callable[[], bool] = lambda: False
    progress: Callable[[int], None] = lambda _count: None
    deletions: DeletionPort | None = None
    arrived: ArrivalCheck | None = None

    def applier_options(self, replan: Replan, time: TimePort, retry: RetryPolicy) -> ApplierOptions:
        """The options for the applier of one target."""
        from kvsync.apply.store_access import ApplierOptions

        return ApplierOptions(
            replan=replan,
            stop=self.stop,
            time=time,
            progress=self.progress,
            retry=retry,
            pace=self.pace,
            deletions=self.deletions,
            arrived=self.arrived,
        )
