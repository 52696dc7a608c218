"""The store type `sqlite`: one SQLite file with every capability. See `kvsync.stores.sqlite.schema` for the tables."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from kvsync.config.model import StoreConfig
from kvsync.errors import ErrorCode, StoreError
from kvsync.model.capabilities import Capabilities
from kvsync.model.entry import Actual, Identity, Target
from kvsync.model.health import DoctorCheck
from kvsync.model.key_format import KeyFormat
from kvsync.model.place import Place
from kvsync.planning.marks import MarkSigner
from kvsync.stores.base import Store, StoreContext, Write, WriteResult, WriteStatus
from kvsync.stores.sqlite.database import Database
from kvsync.yaml.fields import Field, path

if TYPE_CHECKING:
    from kvsync.model.snapshot import Snapshot
    from kvsync.stores.sqlite.rows import Cell, Row

_NAMESPACES = "SELECT DISTINCT namespace FROM entries WHERE expires_at IS NULL OR expires_at > ? ORDER BY namespace"
_REVISION = (
    "SELECT (SELECT revision FROM entries_revisions WHERE namespace = ?), schema_version FROM pragma_schema_version"
)
_REVISIONS = """
SELECT names.key, revision, (SELECT schema_version FROM pragma_schema_version)
FROM json_each(?) AS names LEFT JOIN entries_revisions ON namespace = names.value
"""
"""The revision of each namespace of a JSON array, with its place in the array."""

_MEBIBYTE = 1024 * 1024
_Result = TypeVar("_Result")


class SqliteStore(Store):
    """Entries in the table `entries` of one file, which several processes, and people with a shell, may use at once."""

    options = (
        Field(
            "path",
            path(),
            required=True,
            help="The database file, relative to the folder of kvsync.yaml.",
            private_file=True,
        ),
    )
    capabilities = Capabilities(
        type="sqlite",
        namespace="a column",
        max_key=1024,
        key_pattern=r"[^\x00]+",
        max_value=16 * _MEBIBYTE,
        batch=2000,
        max_batch_bytes=64 * _MEBIBYTE,
        read_batch=1000,
        page=1_000_000,
        concurrency=1,
        values_in_listing=False,
    )

    def __init__(self, config: StoreConfig, context: StoreContext) -> None:
        super().__init__(config, context)
        self._keys = KeyFormat(config.key_format or "{key}", native_labels=True)
        self.overridden -= {"remote_key"} if self._keys.is_plain else set()
        self._database = Database(
            config.name,
            context.root / Path(config.options["path"]).expanduser(),
            context.root,
            timeout=config.timeout,
            read_only=context.read_only,
        )

    def remote_key(self, namespace: str, identity: Identity) -> str:
        """The text of the column `key`."""
        return self._keys.encode(namespace, identity)

    def place(self, namespace: str) -> Place:
        """The file by its path, with links resolved."""
        parts = (("path", str(self._database.path)), ("namespace", namespace))
        return Place(self.config.type, parts, self._keys.scope(namespace), is_resolved=False)

    async def locate(self, namespace: str, *, writing: bool = False) -> Place:
        """The file by the id that it contains, so that moving or linking it makes no difference."""
        file_id = await self._database.file_id()
        return self.place(namespace) if file_id is None else self._located(namespace, file_id)

    async def unchanged(self, tokens: Mapping[str, str]) -> Mapping[str, Place]:
        """The namespaces with current tokens, all as of the same moment, by one query."""
        return await self._call(lambda: self._unchanged(tokens))

    async def observe(self, namespace: str, signer: MarkSigner, token: str | None = None) -> Snapshot | None:
        """Everything in `namespace`, without values."""
        return await self._call(lambda: self._observe(namespace, signer, token))

    async def read(self, namespace: str, identities: Sequence[Identity]) -> Mapping[Identity, Actual]:
        """These entries, all at the same moment."""
        return await self._call(lambda: self._read(namespace, identities))

    async def write(self, namespace: str, writes: Sequence[Write]) -> Sequence[WriteResult]:
        """All writes in one transaction; a conflict affects only its entry."""
        return await self._call(lambda: self._write(namespace, writes))

    async def namespaces(self) -> Sequence[str]:
        """The namespaces that hold an entry."""
        return await self._call(self._namespaces)

    async def check(self) -> Sequence[DoctorCheck]:
        """Open the file and let SQLite check it."""
        path = self._database.path
        try:
            answer = await self._call(self._examine)
        except StoreError as error:
            return (DoctorCheck.of_error("database", error),)
        if answer in ("ok", "does not exist yet"):
            return (DoctorCheck("database", True, f"{path}: {answer}"),)
        problem = answer.splitlines()[-1]
        hint = "restore a copy, or move it away and apply again"
        detail = f"{path} is damaged or not a SQLite database: {problem}"
        return (DoctorCheck("database", False, detail, hint, ErrorCode.REQUEST_REJECTED),)

    async def aclose(self) -> None:
        """Close the file."""
        await self._database.aclose()

    async def _call(self, work: Callable[[], _Result]) -> _Result:
        self.traffic.requests += 1
        return await self._database.run(work)

    def _located(self, namespace: str, file_id: str) -> Place:
        parts, scope = (("file", file_id), ("namespace", namespace)), self._keys.scope(namespace)
        return Place(self.config.type, parts, scope, detail=str(self._database.path))

    def _unchanged(self, tokens: Mapping[str, str]) -> dict[str, Place]:
        now, names = self.context.clock.now(), list(tokens)
        with self._database.reading() as connection:
            file_id = self._database.connected_id
            if connection is None or file_id is None:
                return {}
            found = connection.execute(_REVISIONS, (json.dumps(names),)).fetchall()
        current = (
            names[row[0]] for row in found if _still_stands(tokens[names[row[0]]], _revision_text(*row[1:]), now)
        )
        return {namespace: self._located(namespace, file_id) for namespace in current}

    def _observe(self, namespace: str, signer: MarkSigner, token: str | None) -> Snapshot | None:
        from kvsync.model.snapshot import Snapshot  # a plan of unchanged targets does not pay for them
        from kvsync.stores.sqlite.rows import COUNT, LIST_OTHERS, LIST_SETTLED, Listing, to_listed

        target = Target(self.config.name, namespace)
        now = self.context.clock.now()
        with self._database.reading() as connection:
            if connection is None:
                return Snapshot(target, {}, {})
            revision = _revision_text(*connection.execute(_REVISION, (namespace,)).fetchone())
            if token is not None and _still_stands(token, revision, now):
                return None
            about = {"namespace": namespace, "owner": signer.owner, "now": now}
            settled = connection.execute(LIST_SETTLED, about).fetchall()
            is_all = len(settled) == connection.execute(COUNT, about).fetchone()[0]
            others = () if is_all else self._named(namespace, connection.execute(LIST_OTHERS, about))
            listing = Listing(list(self._named(namespace, settled)), map(to_listed, others), signer)
        return Snapshot(target, listing, listing.settled, token=f"{revision} {listing.next_expiry()}")

    def _named(self, namespace: str, rows: Iterable[Row]) -> Iterable[Row]:
        """The rows with the identity in place of the remote key, without rows of another key format."""
        return rows if self._keys.is_plain else self._decoded(namespace, rows)

    def _decoded(self, namespace: str, rows: Iterable[Row]) -> Iterator[Row]:
        for remote_key, label, *rest in rows:
            identity = self._keys.decode(namespace, remote_key, label)
            if identity is not None and (label is None or not self._keys.holds_label):
                yield *identity, *rest

    def _cell(self, namespace: str, identity: Identity) -> Cell:
        from kvsync.stores.sqlite.rows import Cell

        label = None if self._keys.holds_label else identity.label
        return Cell(namespace, self._keys.encode(namespace, identity), label)

    def _read(self, namespace: str, identities: Sequence[Identity]) -> dict[Identity, Actual]:
        from kvsync.stores.sqlite.rows import READ, to_entry

        now = self.context.clock.now()
        found: dict[Identity, Actual] = {}
        with self._database.reading() as connection:
            if connection is None:
                return found
            for identity in identities:
                try:
                    cell = self._cell(namespace, identity)
                    row = connection.execute(READ, (*cell.lookup_parameters(), now)).fetchone()
                except ValueError:  # no such name can be in the table
                    continue
                if row is not None:
                    found[identity] = to_entry((*identity, *row[2:]))
        return found

    def _write(self, namespace: str, writes: Sequence[Write]) -> list[WriteResult]:
        from kvsync.stores.limits import check_batch, check_entry  # a plan does not pay for them
        from kvsync.stores.sqlite.writes import execute

        check_batch(f"store {self.config.name}/{namespace}", writes, self.capabilities)
        accepted: list[tuple[Cell, Write]] = []
        refused: dict[int, WriteResult] = {}
        for index, write in enumerate(writes):
            try:
                cell = self._cell(namespace, write.identity)
                check_entry(cell.key, write.content, self.capabilities)
                accepted.append((cell, write))
            except ValueError as problem:
                refused[index] = WriteResult(WriteStatus.REJECTED, error=str(problem))
        if not accepted:
            return list(refused.values())
        with self._database.writing(len(accepted)) as (connection, versions):
            done = iter(execute(connection, accepted, versions, self.context.clock.now()))
        return [refused[index] if index in refused else next(done) for index in range(len(writes))]

    def _namespaces(self) -> list[str]:
        with self._database.reading() as connection:
            if connection is None:
                return []
            return [name for (name,) in connection.execute(_NAMESPACES, (self.context.clock.now(),))]

    def _examine(self) -> str:
        with self._database.reading() as connection:
            if connection is None:
                return "does not exist yet"
            return str(connection.execute("PRAGMA quick_check(1)").fetchone()[0])


def _revision_text(revision: int | None, schema_version: int) -> str:
    return f"{revision}.{schema_version}"


def _still_stands(token: str, revision: str, now: float) -> bool:
    """True if a token is current: it is the revision that was seen, and the moment when the next entry expires."""
    seen, _, expiry = token.partition(" ")
    return seen == revision and (not expiry or now < float(expiry))
