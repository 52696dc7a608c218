"""State directory of kvsync, the facade over its tables, lock and key.

state.db      journal, ledger, what is parked, paused, quarantined, …   (see `schema`)
lock          held by the one process that writes to stores
timeline      time by which waits are counted, whatever the clock is set to
generation    how often state.db was written to (see `generation`)
key           seals what must not be guessed from the rest; never leaves this directory
control/wake  written to wake a running daemon
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from kvsync.errors import StateDirError
from kvsync.model.entry import Target, sealed
from kvsync.model.place import LocatedTarget
from kvsync.planning.sealing import SealingKeys, sealing_keys
from kvsync.state.backend import DirectoryBackend, StateBackend
from kvsync.state.clean_passes import CleanPasses
from kvsync.state.contended import ContendedEntries
from kvsync.state.context import Context
from kvsync.state.database import Database
from kvsync.state.deletions import Deletions
from kvsync.state.folder import has_lost_database, make_folder, real_directory
from kvsync.state.parked import Parked
from kvsync.state.places import KnownPlace, PlaceHistory
from kvsync.state.quarantine import Quarantine
from kvsync.state.rare_tables import RareTables
from kvsync.state.removals import Removals
from kvsync.state.rows import name_key
from kvsync.state.sqlite_database import open_for_reading, open_for_writing
from kvsync.state.steady_time import FILE_NAME, SteadyTime
from kvsync.state.undone import UndoneEntries
from kvsync.util.clock import Clock

if TYPE_CHECKING:
    from kvsync.state.claims import Replica, TargetClaims
    from kvsync.state.postgres_address import PostgresAddress

_DIGESTS = b"kvsync digests of plans"


class StateDir(RareTables):
    """An open state directory. `path` is the directory in use, which can lie inside the configured one (`asked`). `root` has it
    and those of other environments. Reading works while another process writes, on a read-only file system, and before the
    directory exists."""

    def __init__(
        self, path: Path, backend: StateBackend, database: Database, timeline: SteadyTime, redact: Callable[[str], str]
    ) -> None:
        self.path = self.asked = self.root = path
        self._backend, self.database = backend, database
        self._owner_keys: tuple[bytes, ...] = ()
        self._is_bulk = False
        self.claims: TargetClaims | None = None
        self._claims_database: Database | None = None
        self.keeps_caches = False
        """Whether this machine's folder may be written, also where the state is only read."""
        self.is_lost = False
        """True if the directory was in use before and `state.db` is missing, so that the state begins again."""
        self.missing = 0
        """How many transactions are not in `state.db`, because an older copy was put in its place, or power was lost."""
        context = Context(
            database,
            lambda: self.key,
            self.sealing_keys,
            timeline.clock,
            redact,
            timeline,
            self._replica,
            self._restore_key,
        )
        super().__init__(context)
        self.quarantine = Quarantine(context)
        self.contended = ContendedEntries(context)
        self.parked = Parked(context)
        self.removals = Removals(context)
        self.clean_passes = CleanPasses(context)
        self.places = PlaceHistory(context)
        self.deletions = Deletions(context)
        self.undone = UndoneEntries(context)

    @classmethod
    def open(
        cls,
        path: Path,
        *,
        writable: bool,
        config_root: Path | None = None,
        clock: Clock | None = None,
        redact: Callable[[str], str] = str,
        replaces_lost: bool = True,
    ) -> Self:
        """Open the directory; a writable one is made where it does not exist. `config_root` is the folder of the configuration,
        below which no link is followed. `redact` takes secrets out of the texts that are kept. Without `replaces_lost`, a
        directory whose `state.db` is missing is opened for reading. Opening takes no lock: see `lock`. Raises
        StateDirUntrusted, StateDirError."""
        asked, path = path.absolute(), real_directory(path, config_root, writable=writable)
        if writable:
            make_folder(path)
        is_lost = has_lost_database(path, replaces=writable and replaces_lost)
        writable = writable and (replaces_lost or not is_lost)
        database = open_for_writing(path) if writable else open_for_reading(path)
        timeline = SteadyTime(path / FILE_NAME, clock or Clock(), writable=writable)
        opened = cls(path, DirectoryBackend(path), database, timeline, redact)
        opened.asked, opened.keeps_caches, opened.is_lost = asked, writable, is_lost
        opened.missing = 0 if is_lost else database.missing()
        return opened

    @classmethod
    def open_postgres(
        cls,
        path: Path,
        address: PostgresAddress,
        *,
        writable: bool,
        config_root: Path | None = None,
        clock: Clock | None = None,
        redact: Callable[[str], str] = str,
    ) -> Self:
        """Open the state that PostgreSQL keeps, and the directory for caches only. Raises StateDirUntrusted, StateDirError."""
        from kvsync.state.postgres_backend import DatabaseTime, PostgresBackend
        from kvsync.state.postgres_database import PostgresDatabase  # an extra

        asked, path = path.absolute(), real_directory(path, config_root, writable=writable)
        database = PostgresDatabase(address, read_only=address.is_read_only or not writable)
        opened = cls(path, PostgresBackend(database), database, DatabaseTime(database, clock or Clock()), redact)
        opened.asked, opened.keeps_caches = asked, writable
        return opened

    @property
    def is_shared(self) -> bool:
        """True when other machines use this state as well, so that targets must be claimed."""
        return self._backend.is_shared

    def share_root(self, root: Path) -> None:
        """Lie in `root` with the directories of other environments, and use the key there."""
        self.root, self._backend = root, DirectoryBackend(self.path, root)

    def join(self, me: Replica) -> TargetClaims:
        """Be one of the replicas that share this state: from now on, passes record nothing without the claim of their
        target."""
        from kvsync.state.claims import TargetClaims  # a directory of one machine does not pay for it

        self._claims_database = self.database.another_connection()  # a slow statement of a pass delays no renewal
        self.claims = claims = TargetClaims(self._claims_database, me, self.name)
        self.database.begun = claims.check
        return claims

    def replicas(self) -> list[Replica]:
        """The replicas that share this state and live; none where it is not shared. Raises StateDirError."""
        if not self.is_shared:
            return []
        from kvsync.state.claims import replicas_of

        return replicas_of(self.database)

    def lapsed_replicas(self) -> list[Replica]:
        """The replicas that did not renew their leases, and did not leave; none where the state is not shared. Raises
        StateDirError."""
        if not self.is_shared:
            return []
        from kvsync.state.claims import lapsed_replicas_of

        return lapsed_replicas_of(self.database)

    def holders(self) -> dict[Target, str]:
        """Which living replica holds which target; nothing where the state is not shared. Raises StateDirError."""
        if not self.is_shared:
            return {}
        from kvsync.state.claims import holders_of

        return holders_of(self.database)

    def _restore_key(self) -> bool:
        return "key" in self.__dict__ and self._backend.restore_key(self.key)

    def _replica(self) -> str | None:
        return None if self.claims is None else self.claims.me.id

    @property
    def name(self) -> str:
        """Where the state is, for people: a path, or host, port and database."""
        return self._backend.name

    @cached_property
    def key(self) -> bytes:
        """The secret key, made on first use, even by a reading command if it can: saved plans are compared with it later.
        Where it cannot be kept it lasts as long as this process. Raises StateDirError."""
        with suppress(StateDirError):
            make_folder(self.path)
        return self._backend.key()

    def take_key(self, key: bytes) -> None:
        """Use the key of another state, from which everything is copied. Raises StateDirError."""
        self._backend.take_key(key)
        self.__dict__.pop("key", None)

    def seal(self, fingerprint: bytes) -> str:
        """A sensitive fingerprint as it may be shown: in hex, of use only to those who have the key. Raises StateDirError."""
        return sealed(fingerprint, self.key).hex()

    @cached_property
    def digest_key(self) -> bytes:
        """The key that plans are hashed with, so that only who has this directory's key can compute what is approved. Raises
        StateDirError."""
        return hmac.digest(self.key, _DIGESTS, "sha256")

    def use_owner_keys(self, keys: tuple[bytes, ...]) -> None:
        """Seal ledgers with keys derived from these from now on, so that all machines of the owner can compare them."""
        self._owner_keys = keys

    def sealing_keys(self, place: str) -> SealingKeys:
        """The keys that the ledger of a place is sealed with. Reading this directory's own may raise StateDirError."""
        return sealing_keys(lambda: self.key, self._owner_keys, place)

    def lock(self, command: str) -> AbstractContextManager[None]:
        """Be the one process that writes to stores, while inside. Raises LockHeld when another is, StateDirError."""
        return self._backend.hold(command)

    def writer(self) -> int | None:
        """The id of the process that holds the lock now, 0 if it is unknown; None when none does. Raises
        StateDirError."""
        return self._backend.writer()

    @property
    def control_dir(self) -> Path:
        """The folder in which something is written to wake the daemon."""
        return self.path / "control"

    def wake(self) -> None:
        """Wake a running daemon, so that it looks at pauses and approvals at once. Raises StateDirError."""
        self._backend.wake()

    def listening(self, woken: Callable[[], None]) -> AbstractContextManager[None]:
        """Inside, call `woken` from a thread when a process on another machine wakes the daemons, if that can be heard."""
        return self._backend.listening(woken)

    def enter(self, located: LocatedTarget, now: float) -> KnownPlace:
        """Note where a target leads, as `PlaceHistory.enter` does. If this process did not know it yet, what the pass asks next
        is read together. Raises StateDirError."""
        entered = self.places.entered(located.target)
        known = self.places.enter(located, now)
        if entered != known.key and not self._is_bulk:
            self.read_ahead(located.target)
        return known

    def read_ahead(self, target: Target) -> None:
        """Read together what a pass of a target asks first, for the running task: a shared state is a round trip away. Raises
        StateDirError."""
        if not self.is_shared:
            return
        from kvsync.state.journal import cut_off_query

        place = self.places.entered(target)
        parts = (self.pauses, self.undo_requests, self.places, self.parked)
        queries = [part.query_of(target) for part in parts]
        if place is not None:
            rows = (self.quarantine, self.contended, self.undone, self.clean_passes, self.removals)
            queries += [part.rows.query_of(place) for part in rows]
            queries.append(cut_off_query(place, name_key(target)))
        fence = self._fence_of(target)
        self.database.read_ahead(queries, lambda: self._fence_of(target) == fence)

    def _fence_of(self, target: Target) -> int | None:
        return None if self.claims is None else self.claims.held.get(target)

    @contextmanager
    def bulk(self) -> Iterator[None]:
        """Inside, the passes of many targets cost few statements: what is remembered of targets is read for all at once, and
        clean passes are written together at the end. Only this process's own writes are seen. Raises StateDirError."""
        with ExitStack() as stack:
            stack.callback(setattr, self, "_is_bulk", self._is_bulk)
            self._is_bulk = True
            for part in (self.quarantine, self.contended, self.undone, self.removals, self.clean_passes):
                stack.enter_context(part.rows.read_ahead())
            stack.enter_context(self.places.read_ahead())
            stack.enter_context(self.clean_passes.deferred())
            yield

    def close(self) -> None:
        """Release the files. Idempotent."""
        self.database.close()
        if self._claims_database is not None:
            self._claims_database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
