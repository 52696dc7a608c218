"""Tables of the state, described once for both engines, and the statements that are built from the description.

A label is kept as `''` for "no label" and `'=…'` for the label itself, so that it can be part of a primary key. Times are
seconds since the epoch; `steady_at` is on the timeline of the state (`SteadyTime`). `changes.seq` is `runs.seq * 2**32` plus a
number within the run: the changes of a run lie next to each other, in order, without an index of their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from kvsync.util.values import dataclass

TEXT: Final = "text"
BYTES: Final = "bytes"
WHOLE: Final = "integer"
"""A 64-bit integer; truth is 0 or 1."""

REAL: Final = "real"


@dataclass(frozen=True, slots=True)
class StateColumn:
    """One column: its kind, whether it may be NULL, and the default of rows that do not name it (SQL)."""

    name: str
    kind: str
    optional: bool = False
    default: str | None = None


@dataclass(frozen=True, slots=True)
class RowStatement:
    """A statement about many rows of a table. A row is given by the values of `columns`, in this order. `one` is the statement
    for a single row, `many` that for all rows of `{rows}`, a table expression named `given`."""

    columns: tuple[StateColumn, ...]
    one: str
    many: str


@dataclass(frozen=True, slots=True)
class StateTable:
    """One table. `key` is its primary key; with `numbered` the engine chooses the key of a new row, never one twice."""

    name: str
    columns: tuple[StateColumn, ...]
    key: tuple[str, ...]
    numbered: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """The columns, in order."""
        return tuple(column.name for column in self.columns)

    def insert(self, columns: Sequence[str] | None = None) -> str:
        """A statement that adds a row."""
        names = tuple(columns or self.names)
        marks = ", ".join("?" * len(names))
        return f"INSERT INTO {self.name} ({', '.join(map(quoted, names))}) VALUES ({marks})"  # noqa: S608 - constants

    def select(self) -> str:
        """A statement that reads all rows, in the order of the columns."""
        return f"SELECT {', '.join(map(quoted, self.names))} FROM {self.name}"  # noqa: S608 - constants

    def upsert(self) -> str:
        """A statement that adds a whole row, or replaces the one with the same key."""
        return f"{self.insert()} {self._replacing}"

    def insert_rows(self, columns: Sequence[str] | None = None) -> RowStatement:
        """A statement that adds rows."""
        names = tuple(columns or self.names)
        listed = ", ".join(map(quoted, names))
        many = f"INSERT INTO {self.name} ({listed}) SELECT {listed} FROM {{rows}}"  # noqa: S608 - constants
        return RowStatement(self._described(names), self.insert(names), many)

    def add_rows(self) -> RowStatement:
        """A statement that adds whole rows, and leaves those that are there already as they are."""
        rows, keeps = self.insert_rows(), "ON CONFLICT DO NOTHING"
        return RowStatement(rows.columns, f"{rows.one} {keeps}", f"{rows.many} {keeps}")

    def upsert_rows(self) -> RowStatement:
        """A statement that adds whole rows, or replaces those with the same keys. No key may be given twice."""
        return RowStatement(self.columns, self.upsert(), f"{self.insert_rows().many} {self._replacing}")

    def update_rows(self, changed: Sequence[str], where: Sequence[str], condition: str = "") -> RowStatement:
        """A statement that changes columns of the rows found by others; the values of `changed` come first. A `condition`
        (SQL) can be added."""
        old = ", ".join(f"{quoted(name)} = ?" for name in changed)
        new = ", ".join(f"{quoted(name)} = given.{quoted(name)}" for name in changed)
        one = f"UPDATE {self.name} SET {old} WHERE {_equal(where)}{condition}"  # noqa: S608 - constants
        many = f"UPDATE {self.name} SET {new} FROM {{rows}} WHERE {self._same(where)}{condition}"  # noqa: S608 - constants
        return RowStatement(self._described((*changed, *where)), one, many)

    def delete_rows(self) -> RowStatement:
        """A statement that removes the rows with these keys."""
        one = f"DELETE FROM {self.name} WHERE {_equal(self.key)}"  # noqa: S608 - constants
        many = f"DELETE FROM {self.name} USING {{rows}} WHERE {self._same(self.key)}"  # noqa: S608 - constants
        return RowStatement(self._described(self.key), one, many)

    def find_rows(self, columns: str) -> RowStatement:
        """A statement that reads columns (SQL) of the rows with these keys; for many, the key comes first."""
        one = f"SELECT {columns} FROM {self.name} WHERE {_equal(self.key)}"  # noqa: S608 - constants
        given = ", ".join(f"given.{quoted(name)}" for name in self.key)
        many = f"SELECT {given}, {columns} FROM {self.name} JOIN {{rows}} ON {self._same(self.key)}"  # noqa: S608 - constants
        return RowStatement(self._described(self.key), one, many)

    @property
    def _replacing(self) -> str:
        rest = [quoted(name) for name in self.names if name not in self.key]
        changes = ", ".join(f"{name} = excluded.{name}" for name in rest)
        return f"ON CONFLICT ({', '.join(map(quoted, self.key))}) DO UPDATE SET {changes}"

    def _described(self, names: Sequence[str]) -> tuple[StateColumn, ...]:
        known = {column.name: column for column in self.columns}
        return tuple(known[name] for name in names)

    def _same(self, names: Sequence[str]) -> str:
        return " AND ".join(f"{self.name}.{quoted(name)} = given.{quoted(name)}" for name in names)


def quoted(name: str) -> str:
    """A column as SQL: some engines reserve `window`."""
    return f'"{name}"'


def _equal(names: Sequence[str]) -> str:
    return " AND ".join(f"{quoted(name)} = ?" for name in names)


def _table(name: str, key: str, *columns: str, numbered: bool = False) -> StateTable:
    """A table from columns written as `name kind`, with `?` after the kind where it may be NULL, and `= default` last."""
    return StateTable(name, tuple(_column(one) for one in columns), tuple(key.split()), numbered)


def _column(text: str) -> StateColumn:
    declared, _, default = text.partition(" = ")
    name, kind = declared.split()
    return StateColumn(name, kind.removesuffix("?"), kind.endswith("?"), default or None)


_ENTRY = ("place text", "key text", "label text")
_NAMES = ("store text", "namespace text")

LEDGER: Final = _table(
    *("ledger", "place key label", *_ENTRY, "owner text", "fingerprint bytes", "ttl integer?"),
    *("sensitive integer", "protected integer", "etag text?", "expires_at real?", "unseen_since real?", "seal text?"),
)
LEDGER_SEEN: Final = _table("ledger_seen", "place", "place text", "taken_in bytes?", "left_there bytes?")
RUNS: Final = _table(
    *("runs", "seq", "seq integer", "id text", "command text", "source text?", "started_at real", "finished_at real?"),
    *("status text", "summary text?", "environment text?", "triggers text?", "replica text?", "steady_at real?"),
    numbered=True,
)
CHANGES: Final = _table(
    *("changes", "seq", "seq integer", *_NAMES, "key text", "label text", "action text", "cause text", "origin text?"),
    *("sensitive integer", "before text?", "before_value bytes?", "after bytes?", "intended_at real", "outcome text?"),
    *("error text?", "etag text?", "settled_at real?", "place text = ''", "steady_at real?"),
)
QUARANTINE: Final = _table(
    "quarantine", "place key label", *_ENTRY, "digest bytes", "attempts integer", "until real", "error text"
)
CONTENDED: Final = _table(
    "contended", "place key label", *_ENTRY, "count integer", "last real", "until real", "digest bytes"
)
UNDONE: Final = _table("undone", "place key label", *_ENTRY, "digest bytes", "run text", "since real")
UNDO_REQUESTS: Final = _table(
    *("undo_requests", "request store namespace", "request text", *_NAMES, "choice text", "runs text"),
    *("requested_at real", "run text?", "report text?"),
)
REMOVALS: Final = _table("removals", "place key label", *_ENTRY, "since real")
PARKED: Final = _table(
    *("parked", "store namespace", *_NAMES, "digest text", "plan_digest text", "reasons text", "since real"),
    "approved_at real?",
)
PAUSES: Final = _table("pauses", "", "store text", "namespace text?", "reason text?", "since real")
MEMO: Final = _table(
    "memo", "place", "place text", "desired bytes", "config text", "token text?", "next_moment real?", "counts text"
)
PASSES: Final = _table(
    *("passes", "store namespace", *_NAMES, "attempted_at real", "succeeded_at real?", "error text?", "drift text"),
    *("changes text", "next_at real?"),
)
DRIFT: Final = _table("drift", "seq", "seq integer", "at real", *_NAMES, "counts text", numbered=True)
DAEMON: Final = _table(
    *("daemon", "one", "one integer", "pid integer", "started_at real", "updated_at real", "mode text", "version text"),
    *("ready integer", "window text?", "lease text?"),
)
NOTICES: Final = _table("notices", "channel store namespace kind", "channel text", *_NAMES, "kind text", "which text")
PLACES: Final = _table(
    "places", "store namespace", *_NAMES, "place text", "description text", "since real", "previous text?"
)
EMPTIED: Final = _table("emptied", "place", "place text", "since real")
NAMESPACE_DELETIONS: Final = _table(
    *("namespace_deletions", "run store namespace", "run integer", *_NAMES, "place text", "intended_at real"),
    *("outcome text?", "error text?", "settled_at real?"),
)
RESTORE_POINTS: Final = _table("restore_points", "run store namespace", "run integer", *_NAMES, "name text")
DELETIONS: Final = _table("deletions", "id", "id integer", "at real", "count integer", numbered=True)
WAVES: Final = _table(
    "waves", "environment store namespace", "environment text", *_NAMES, "digest text", "since real", "failure text?"
)

TABLES: Final = (
    *(LEDGER, LEDGER_SEEN, RUNS, CHANGES, QUARANTINE, CONTENDED, REMOVALS, PARKED, PAUSES, MEMO, PASSES, DRIFT, DAEMON),
    *(NOTICES, PLACES, DELETIONS, UNDONE, UNDO_REQUESTS, WAVES, EMPTIED, NAMESPACE_DELETIONS, RESTORE_POINTS),
)
