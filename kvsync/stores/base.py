"""Store interface: what a store implements, and what it can rely on.

A store only translates. It decides nothing: no diff, no policy, no retry of writes, no ownership rule. To add one, write a
subclass of `Store`, add a line to `kvsync.stores.registry.BUILTIN` or an entry point in the group `kvsync.stores`, and pass
the conformance suite in `kvsync.testing`.

A store must:
- be built without I/O (`validate` works offline), connect on first use, and release everything in `aclose`;
- return in `place` what a namespace is according to the configuration, so that two names of one place are noticed:
  everything kvsync knows, and its right to delete, is kept by place;
- list *all* entries of a namespace in `observe`, ours and foreign, or set `complete=False` with a problem;
- check the precondition of every `Write` atomically with the write, if `capabilities.compare_and_set` is true;
- write value, metadata, lifetime and mark, with its seal, together: an entry is never visible without its mark;
- return one `WriteResult` for each `Write`, in order, or raise one of the errors below for the call as a whole;
- check `context.fence` right before each request that writes, and keep to its time (a `kvsync.http` client does both);
- keep the description of an entry when a write has none (`descriptions`), and remove it for an empty one;
- refuse (`BatchRefused`) a call that names one identity twice, or has more writes than `capabilities.batch`.

A store may:
- raise `TransientError` (nothing is known to be written, try later), `LostAnswer` (unknown what was written),
  `BatchRefused` (the call was refused as a whole, nothing was written), `AuthError`, `PermanentError`;
- have extensions of `kvsync.stores.extensions`, by defining their methods: the server's own ids of a namespace, deep
  listings, the ledger in the store, version hints, nested namespaces, and its quota;
- return mappings that are decoded lazily in a `Snapshot`, and leave values out if `values_in_listing` is false.

A store must not log, print, sleep between retries of a write, or keep state between calls besides connections and caches.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from kvsync.config.model import Credential, StoreConfig
from kvsync.model.answer_limits import AnswerLimits
from kvsync.model.capabilities import Capabilities
from kvsync.model.entry import Actual, Content, Entry, Identity, Mark
from kvsync.model.health import DoctorCheck, Traffic
from kvsync.model.place import KeyScope, Place, origin_of
from kvsync.planning.marks import MarkSigner
from kvsync.util.clock import Clock
from kvsync.util.values import dataclass
from kvsync.util.write_fence import Fence
from kvsync.yaml.fields import Field

if TYPE_CHECKING:
    from kvsync.http.shared_budget import BudgetAllocator
    from kvsync.model.snapshot import Snapshot


class Precondition(StrEnum):
    """The condition for a write."""

    ABSENT = "absent"
    UNCHANGED = "unchanged"


@dataclass(frozen=True, slots=True)
class Write:
    """One write, ready to be sent. If `content` is None, the write is a delete. `etag` is the version that must still exist if
    `precondition` is UNCHANGED. `expires_at` is an absolute time, however the files define the lifetime. `touch` means that
    only the lifetime changes, for stores that can write the lifetime alone."""

    identity: Identity
    precondition: Precondition
    content: Content | None = None
    mark: Mark | None = None
    expires_at: float | None = None
    etag: str | None = None
    touch: bool = False

    @property
    def is_sensitive(self) -> bool:
        """True if this sends a sensitive value; messages of the server are then not quoted."""
        return self.content is not None and self.mark is not None and self.mark.sensitive


class WriteStatus(StrEnum):
    """The result of one write, as the store reports it."""

    DONE = "done"
    CONFLICT = "conflict"
    REJECTED = "rejected"
    LOCKED = "locked"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class WriteResult:
    """The store's result of one write. `etag` is the new version after DONE (None after a delete, or without versions); for
    every other status, `error` is the reason. REJECTED is final for this content. After UNKNOWN, read the entry before you
    repeat the write."""

    status: WriteStatus
    etag: str | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class StoreContext:
    """What kvsync passes to a store when it opens it.

    `root` is the folder of `kvsync.yaml`; relative paths start there. `cache_dir` is a folder for the store in the state
    directory, None if the store must not keep anything. `resolve` returns the secret that a reference names, and reads it again
    for each call. Check `fence` immediately before each request that writes; a `kvsync.http` client that has the fence does so.
    `limits` bounds responses and listings; pass it to the client (`ClientLimits.answers`) and to `kvsync.http.paging`.
    `allocator` divides the rate limits that replicas share; None if there are none.
    """

    root: Path
    cache_dir: Path | None
    resolve: Callable[[Credential], str]
    clock: Clock
    read_only: bool = False
    owner: str = ""
    fence: Fence = field(default_factory=Fence)
    limits: AnswerLimits = field(default_factory=AnswerLimits)
    allocator: BudgetAllocator | None = None


class Store(ABC):
    """One configured connection to a store. The docstring of the module `kvsync.stores.base` describes the contract.

    `options` are the fields of this type in the configuration, in addition to the common ones. `capabilities` is a class
    attribute; an instance may narrow it according to its configuration.
    """

    options: ClassVar[tuple[Field, ...]] = ()
    capabilities: Capabilities
    traffic: Traffic
    overridden: frozenset[str] = frozenset()
    """Which of `normalise`, `remote_key` and `audit` the class overrides; the others are not called for each of thousands of
    entries. Set automatically."""

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        ways = ("normalise", "remote_key", "audit")
        cls.overridden = frozenset(way for way in ways if getattr(cls, way) is not getattr(Store, way))

    def __init__(self, config: StoreConfig, context: StoreContext) -> None:
        self.config, self.context, self.traffic = config, context, Traffic()

    def normalise(self, content: Content) -> Content:
        """Return the content as this store will return it. Pure. By default, the content is unchanged."""
        return content

    def remote_key(self, namespace: str, identity: Identity) -> str:
        """Return the name of this entry in the store. Pure. Raises ValueError if the identity has none."""
        return identity.key

    def audit(self, namespace: str, entry: Entry) -> Sequence[str]:
        """Return what this store cannot hold of `entry`, beyond the limits in `capabilities`. Pure, offline."""
        return ()

    def place(self, namespace: str) -> Place:
        """Return the place of `namespace`, as far as the configuration shows it. Pure, offline. Two namespaces with equal
        containers and overlapping scopes must be the same place. By default, the place consists of the type, the endpoint, all
        options except credentials, and the namespace, and its scope is all keys."""
        options = sorted((name, value) for name, value in self.config.options.items() if _is_plain(value))
        parts = [("endpoint", origin_of(self.config.endpoint))] if self.config.endpoint else []
        parts += [(name, str(value)) for name, value in options]
        scope = KeyScope(self.config.key_format or "{key}")
        return Place(self.config.type, (*parts, ("namespace", namespace)), scope)

    @abstractmethod
    async def observe(self, namespace: str, signer: MarkSigner, token: str | None = None) -> Snapshot | None:
        """List everything in `namespace`; `signer` determines which entries are settled. Returns None if `token`, from an
        earlier snapshot of the same namespace and owner, still represents the current state; stores without tokens ignore it.
        Raises StoreError."""

    @abstractmethod
    async def read(self, namespace: str, identities: Sequence[Identity]) -> Mapping[Identity, Actual]:
        """Read entries with their content, as up to date as the store can provide it; missing entries are omitted. Raises
        StoreError."""

    @abstractmethod
    async def write(self, namespace: str, writes: Sequence[Write]) -> Sequence[WriteResult]:
        """Make up to `capabilities.batch` writes. Raises StoreError for the call as a whole."""

    @abstractmethod
    async def namespaces(self) -> Sequence[str]:
        """List the existing namespaces, sorted, as far as the store can list them. Raises StoreError."""

    async def check(self) -> Sequence[DoctorCheck]:
        """Return what `kvsync doctor` reports about this store: connection, credential, permissions, quota, clock. Never raises
        StoreError."""
        return ()

    async def aclose(self) -> None:
        """Close connections. Idempotent."""
        return


def _is_plain(value: object) -> bool:
    """True for an option that says which store it is; a credential only gives access."""
    return value is not None and not isinstance(value, Credential)
