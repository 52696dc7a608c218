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
from kvsync.model.snapshot import Snapshot
from kvsync.planning.marks import MarkSigner
from kvsync.util.clock import Clock
from kvsync.util.values import dataclass
from kvsync.util.write_fence import Fence
from kvsync.yaml.fields import Field

if TYPE_CHECKING:
    from kvsync.http.shared_budget import BudgetAllocator


class Precondition(StrEnum):
    """The condition for a write."""

    ABSENT = "absent"
    UNCHANGED = "unchanged"


@dataclass(frozen=True, slots=True)
class Write:
    """One write, ready to be sent. `content` None deletes. `etag` is the version that must still exist if `precondition` is
    UNCHANGED. `expires_at` is absolute, whatever the files say. `touch` says that only the lifetime changes while content and
    mark stay, for stores that can write the lifetime alone."""

    identity: Identity
    precondition: Precondition
    content: Content | None = None
    mark: Mark | None = None
    expires_at: float | None = None
    etag: str | None = None
    touch: bool = False

    @property
    def is_sensitive(self) -> bool:
        """True if this sends a sensitive value: then no message of the server is repeated."""
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
    """The store's result of one write. `etag` is the new version after DONE (None after a delete or without versions); `error`
    says why otherwise. REJECTED is final for this content; UNKNOWN must be read before the write is repeated."""

    status: WriteStatus
    etag: str | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class StoreContext:
    """What kvsync gives to a store when it opens it.

    `root` is the folder of the configuration, which relative paths start from. `cache_dir` is a folder for the store inside the
    state directory, None if nothing may be kept. `resolve` turns a reference into the secret, read again at each call. `fence`
    must be checked right before each request that writes; a `kvsync.http` client that has it does so. `limits` bounds responses
    and listings; pass them to the client (`ClientLimits.answers`) and to `kvsync.http.paging`. `allocator` allocates turns from
    the rate limits that replicas share, None: there are none.
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
    """One configured connection to a store. See the module's text for the contract.

    `options` are the fields of this type in the configuration besides the common ones. `capabilities` is a class attribute; an
    instance may narrow it according to its configuration.
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
        """The content as this store will return it. Pure. The default drops nothing."""
        return content

    def remote_key(self, namespace: str, identity: Identity) -> str:
        """The name under which the store knows this entry. Pure. Raises ValueError if the identity has none."""
        return identity.key

    def audit(self, namespace: str, entry: Entry) -> Sequence[str]:
        """What this store cannot hold of `entry`, beyond what `capabilities` says. Pure, offline."""
        return ()

    def place(self, namespace: str) -> Place:
        """What `namespace` is, as far as the configuration says. Pure, offline. Two namespaces with equal containers and scopes
        that overlap are certain to be one place. The default takes the type, the endpoint and all options except credentials,
        and has no scope."""
        options = sorted((name, value) for name, value in self.config.options.items() if _is_plain(value))
        parts = [("endpoint", origin_of(self.config.endpoint))] if self.config.endpoint else []
        parts += [(name, str(value)) for name, value in options]
        scope = KeyScope(self.config.key_format or "{key}")
        return Place(self.config.type, (*parts, ("namespace", namespace)), scope)

    @abstractmethod
    async def observe(self, namespace: str, signer: MarkSigner, token: str | None = None) -> Snapshot | None:
        """Everything in `namespace`; `signer` says which entries are settled. Returns None if `token`, from an earlier snapshot
        of the same namespace and owner, still represents the present state; stores without tokens ignore it. Raises
        StoreError."""

    @abstractmethod
    async def read(self, namespace: str, identities: Sequence[Identity]) -> Mapping[Identity, Actual]:
        """Entries with their content, as fresh as the store can provide; missing ones are left out. Raises StoreError."""

    @abstractmethod
    async def write(self, namespace: str, writes: Sequence[Write]) -> Sequence[WriteResult]:
        """Make up to `capabilities.batch` writes. Raises StoreError for the call as a whole."""

    @abstractmethod
    async def namespaces(self) -> Sequence[str]:
        """The existing namespaces, sorted, as far as the store can tell. Raises StoreError."""

    async def check(self) -> Sequence[DoctorCheck]:
        """What `doctor` reports about this store: connection, credential, permission, quota, clock. Never raises StoreError."""
        return ()

    async def aclose(self) -> None:
        """Release connections. Idempotent."""
        return


def _is_plain(value: object) -> bool:
    """True for an option that says which store it is; a credential only gives access."""
    return value is not None and not isinstance(value, Credential)
