"""In-process remote for tests, with fault injection.

    server = MemoryServer()
    store = memory_store(server, clock=FakeClock(), batch=10)
    server.lose_answers()                # the next write is made, but its response is lost
    server.write("web", "greeting", b"by hand")        # as another program does

Keys are remote keys. Faults with a number of `times` end after that many calls; the others last until `heal`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

from kvsync.config.model import Credential, StoreConfig
from kvsync.errors import BatchRefused, LostAnswer, PermanentError, StoreError, TransientError
from kvsync.model.entry import Content, Identity
from kvsync.stores.base import StoreContext, WriteResult, WriteStatus
from kvsync.stores.memory.backend import ConditionalPut, Listed, MemoryBackend, RemoteKey, StoredEntry, StoredLedger
from kvsync.stores.memory.store import MemoryStore
from kvsync.util.clock import Clock


@dataclass(frozen=True, slots=True)
class ServerCall:
    """One call that reached the server: `method` is `listing`, `lookup`, `change`, `ledger` (a read of the
    ledger alone) or `put_ledger` (also its removal)."""

    method: str
    namespace: str
    keys: tuple[str, ...]


class MemoryServer(MemoryBackend):
    """In-memory remote with fault injection. `calls` lists all calls that reached it, in order, including failed ones."""

    def __init__(self, clock: Clock | None = None) -> None:
        super().__init__()
        self.clock = clock or Clock()
        self.calls: list[ServerCall] = []
        self.heal()

    def heal(self) -> None:
        """Remove all faults."""
        self._errors: list[tuple[StoreError, frozenset[str]]] = []
        self._lost_answers = 0
        self._refused_keys: set[str] = set()
        self._failing_keys: dict[str, tuple[WriteResult, bool]] = {}
        self._lateness = 0.0
        self._cuts: list[int] = []
        self._interruptions: list[Callable[[], None]] = []
        self._misread: dict[str, list[bytes | None]] = {}
        self._right_lookups: dict[str, int] = {}  # before the first wrong one
        self._history: dict[str, list[tuple[float, dict[RemoteKey, StoredEntry]]]] = {}  # when it changed, from what

    def fail(self, error: StoreError | None = None, *, times: int = 1, on: Iterable[str] = ()) -> None:
        """Let the next calls raise an error before they have an effect; only calls of the methods in `on`, if it names any."""
        error = error or TransientError("the server is not available")
        self._errors += [(error, frozenset(on))] * times

    def throttle(self, retry_after: float | None = 1.0, *, times: int = 1, on: Iterable[str] = ()) -> None:
        """Refuse the next calls because of a rate limit; `retry_after` is in seconds."""
        self.fail(TransientError("too many requests", retry_after), times=times, on=on)

    def lose_answers(self, *, times: int = 1) -> None:
        """Make the next writes, but lose their responses."""
        self._lost_answers += times

    def refuse_batches_with(self, *keys: str) -> None:
        """Refuse every call that writes one of these keys, as a whole."""
        self._refused_keys.update(keys)

    def fail_entry(
        self,
        key: str,
        status: WriteStatus = WriteStatus.REJECTED,
        error: str = "the server does not take it",
        *,
        done: bool = False,
    ) -> None:
        """Let writes of this one key return `status`, while the other writes of the call succeed. With `done`, the write of
        this key is made too."""
        self._failing_keys[key] = WriteResult(status, error=error), done

    def list_late(self, seconds: float) -> None:
        """From now on, let listings show the state of this many seconds ago. Look-ups stay up to date."""
        self._lateness = seconds

    def list_incompletely(self, keep: int = 0, *, times: int = 1) -> None:
        """Cut off the next listings after `keep` entries."""
        self._cuts += [keep] * times

    def misread(self, key: str, value: bytes | None, *, times: int = 1, after: int = 0) -> None:
        """Let look-ups of this key show another value, or no entry, as a replica that lags behind does. This affects the next
        `times` look-ups after the first `after`."""
        self._misread[key], self._right_lookups[key] = [value] * times, after

    def before_change(self, interruption: Callable[[], None], *, times: int = 1) -> None:
        """Call this function immediately before the next writes are made, to simulate another writer who is faster."""
        self._interruptions += [interruption] * times

    def write(self, namespace: str, key: str, value: bytes | Content, *, label: str | None = None, **held: Any) -> None:
        """Write as another program would: unconditionally, and without a mark. `held` are other fields of `StoredEntry`."""
        content = value if isinstance(value, Content) else Content(value)
        self._remember(namespace)
        super().change(
            namespace, [ConditionalPut(RemoteKey(key, label), StoredEntry(content, 0, **held), None, None)], now=0.0
        )

    def delete(self, namespace: str, key: str, *, label: str | None = None) -> None:
        """Delete as another program would."""
        self._remember(namespace)
        self.held.get(namespace, {}).pop(RemoteKey(key, label), None)

    def lock(self, namespace: str, key: str, *, label: str | None = None, locked: bool = True) -> None:
        """Lock an entry against all writers, or unlock it."""
        entries, slot = self.held[namespace], RemoteKey(key, label)
        entries[slot] = replace(entries[slot], locked=locked)

    def contents(self, namespace: str) -> dict[Identity, Content]:
        """Return all entries of a namespace, including expired ones."""
        return {Identity(*slot): held.content for slot, held in self.held.get(namespace, {}).items()}

    def count(self, method: str) -> int:
        """Return the number of calls of a method."""
        return sum(call.method == method for call in self.calls)

    def listing(self, namespace: str, now: float) -> Listed:
        """As the memory does; late or broken off if a test asks for it."""
        self._arrive("listing", namespace, ())
        moment = self.clock.monotonic() - self._lateness
        past = next((state for changed_at, state in self._history.get(namespace, ()) if changed_at > moment), None)
        listed = super().listing(namespace, now)
        entries = listed.entries if past is None or not self._lateness else past
        if not self._cuts:
            return Listed(entries, ledger=listed.ledger)
        kept = dict(islice(entries.items(), self._cuts.pop(0)))
        return Listed(kept, ("the listing broke off before its end",))

    def lookup(self, namespace: str, slots: Iterable[RemoteKey], now: float) -> Mapping[RemoteKey, StoredEntry]:
        """As the memory does."""
        wanted = list(slots)
        self._arrive("lookup", namespace, wanted)
        found = dict(super().lookup(namespace, wanted, now))
        for slot in wanted:
            if not self._misread.get(slot.key):
                continue
            if self._right_lookups[slot.key]:
                self._right_lookups[slot.key] -= 1
                continue
            value = self._misread[slot.key].pop(0)
            if value is None:
                found.pop(slot, None)
            else:
                found[slot] = replace(found.get(slot) or StoredEntry(Content(b""), 0), content=Content(value))
        return found

    def change(self, namespace: str, puts: Sequence[ConditionalPut], now: float) -> list[WriteResult]:
        """As the memory does, with the faults that concern writes."""
        self._arrive("change", namespace, [put.slot for put in puts])
        for put in puts:
            if put.slot.key in self._refused_keys:
                raise BatchRefused(f"{namespace}/{put.slot.key}: the server does not take it")
        if self._interruptions:
            self._interruptions.pop(0)()
        self._remember(namespace)
        results = [self._change_or_fail(namespace, put, now) for put in puts]
        self._lose_answer()
        return results

    def ledger(self, namespace: str, now: float) -> StoredLedger | None:
        """As the memory does."""
        self._arrive("ledger", namespace, ())
        return super().ledger(namespace, now)

    def put_ledger(self, namespace: str, ledger: StoredLedger) -> None:
        """As the memory does, with the faults that concern writes."""
        self._arrive("put_ledger", namespace, ())
        if self._interruptions:
            self._interruptions.pop(0)()
        super().put_ledger(namespace, ledger)
        self._lose_answer()

    def drop_ledger(self, namespace: str) -> None:
        """As the memory does, with the faults that concern writes."""
        self._arrive("put_ledger", namespace, ())
        if self._interruptions:
            self._interruptions.pop(0)()
        super().drop_ledger(namespace)
        self._lose_answer()

    def _arrive(self, method: str, namespace: str, slots: Sequence[RemoteKey]) -> None:
        self.calls.append(ServerCall(method, namespace, tuple(slot.key for slot in slots)))
        for position, (error, methods) in enumerate(self._errors):
            if not methods or method in methods:
                del self._errors[position]
                raise error

    def _lose_answer(self) -> None:
        if self._lost_answers:
            self._lost_answers -= 1
            raise LostAnswer("the connection broke before the answer came")

    def _change_or_fail(self, namespace: str, put: ConditionalPut, now: float) -> WriteResult:
        failure, done = self._failing_keys.get(put.slot.key, (None, True))
        if not done and failure is not None:
            return failure
        result = super().change(namespace, [put], now)[0]
        return failure or result

    def _remember(self, namespace: str) -> None:
        if self._lateness:
            state = dict(self.held.get(namespace, {}))
            self._history.setdefault(namespace, []).append((self.clock.monotonic(), state))


def memory_store(
    memory: MemoryBackend | None = None,
    *,
    clock: Clock | None = None,
    name: str = "memory",
    owner: str = "",
    key_format: str | None = None,
    keeps_ledger: bool = False,
    lists_sizes: bool = False,
    **capabilities: Any,
) -> MemoryStore:
    """Return a connection to `memory` (a new one if None). `capabilities` replace those of the memory store. With
    `lists_sizes`, its listings contain only the size of each value; with `keeps_ledger`, it keeps the ledger of each
    namespace."""
    context = StoreContext(Path(), None, _no_secrets, clock or Clock(), owner=owner)
    return MemoryStore(
        StoreConfig(name, "memory", {}, key_format=key_format),
        context,
        memory=memory,
        keeps_ledger=keeps_ledger,
        lists_sizes=lists_sizes,
        capabilities=replace(MemoryStore.capabilities, **capabilities),
    )


def _no_secrets(credential: Credential) -> str:
    raise PermanentError(f"a memory store has no secrets, so there is no {credential.name}")
