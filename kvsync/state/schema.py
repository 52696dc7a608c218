"""The tables of `state.db`, as steps from one schema version to the next. A step, once released, never changes.

A label is kept as `''` for "no label" and `'=…'` for the label itself, so that it can be part of a primary key.
Times are seconds since the epoch. `changes.seq` is `runs.seq * 2**32` plus a number within the run: the changes of a run lie
side by side, in order, without an index of their own.
"""

from __future__ import annotations

from typing import Final

APPLICATION_ID: Final = 0x6B767363
"""Written into the file's header, so that kvsync never takes another program's database for its own."""

_FIRST: Final = """
CREATE TABLE ledger (
    store TEXT NOT NULL, namespace TEXT NOT NULL, key TEXT NOT NULL, label TEXT NOT NULL,
    owner TEXT NOT NULL, fingerprint BLOB NOT NULL, ttl INTEGER, sensitive INTEGER NOT NULL, protected INTEGER NOT NULL,
    etag TEXT, expires_at REAL,
    PRIMARY KEY (store, namespace, key, label)
) WITHOUT ROWID;
CREATE TABLE runs (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, command TEXT NOT NULL, source TEXT,
    started_at REAL NOT NULL, finished_at REAL, status TEXT NOT NULL, summary TEXT
);
CREATE TABLE changes (
    seq INTEGER PRIMARY KEY, store TEXT NOT NULL, namespace TEXT NOT NULL, key TEXT NOT NULL, label TEXT NOT NULL,
    action TEXT NOT NULL, cause TEXT NOT NULL, origin TEXT, sensitive INTEGER NOT NULL,
    before TEXT, before_value BLOB, after BLOB, intended_at REAL NOT NULL,
    outcome TEXT, error TEXT, etag TEXT, settled_at REAL
);
CREATE TABLE quarantine (
    store TEXT NOT NULL, namespace TEXT NOT NULL, key TEXT NOT NULL, label TEXT NOT NULL,
    fingerprint BLOB NOT NULL, attempts INTEGER NOT NULL, until REAL NOT NULL, error TEXT NOT NULL,
    PRIMARY KEY (store, namespace, key, label)
) WITHOUT ROWID;
CREATE TABLE contended (
    store TEXT NOT NULL, namespace TEXT NOT NULL, key TEXT NOT NULL, label TEXT NOT NULL,
    count INTEGER NOT NULL, last REAL NOT NULL, until REAL NOT NULL,
    PRIMARY KEY (store, namespace, key, label)
) WITHOUT ROWID;
CREATE TABLE removals (
    store TEXT NOT NULL, namespace TEXT NOT NULL, key TEXT NOT NULL, label TEXT NOT NULL, since REAL NOT NULL,
    PRIMARY KEY (store, namespace, key, label)
) WITHOUT ROWID;
CREATE TABLE parked (
    store TEXT NOT NULL, namespace TEXT NOT NULL, digest TEXT NOT NULL, plan_digest TEXT NOT NULL,
    reasons TEXT NOT NULL, since REAL NOT NULL, approved_at REAL,
    PRIMARY KEY (store, namespace)
) WITHOUT ROWID;
CREATE TABLE pauses (
    store TEXT NOT NULL, namespace TEXT, reason TEXT, since REAL NOT NULL
);
CREATE UNIQUE INDEX pauses_once ON pauses (store, namespace IS NULL, ifnull(namespace, ''));
CREATE TABLE memo (
    store TEXT NOT NULL, namespace TEXT NOT NULL, desired BLOB NOT NULL, config TEXT NOT NULL,
    token TEXT, next_moment REAL, counts TEXT NOT NULL,
    PRIMARY KEY (store, namespace)
) WITHOUT ROWID;
CREATE TABLE passes (
    store TEXT NOT NULL, namespace TEXT NOT NULL, attempted_at REAL NOT NULL, succeeded_at REAL, error TEXT,
    drift TEXT NOT NULL, changes TEXT NOT NULL, next_at REAL,
    PRIMARY KEY (store, namespace)
) WITHOUT ROWID;
CREATE TABLE drift (
    seq INTEGER PRIMARY KEY, at REAL NOT NULL, store TEXT NOT NULL, namespace TEXT NOT NULL, counts TEXT NOT NULL
);
CREATE TABLE daemon (
    one INTEGER PRIMARY KEY CHECK (one = 1), pid INTEGER NOT NULL, started_at REAL NOT NULL, updated_at REAL NOT NULL,
    mode TEXT NOT NULL, version TEXT NOT NULL, ready INTEGER NOT NULL, window TEXT
)
"""

_SEEN: Final = """
CREATE TABLE ledger_seen (
    store TEXT NOT NULL, namespace TEXT NOT NULL, taken_in BLOB, left_there BLOB,
    PRIMARY KEY (store, namespace)
) WITHOUT ROWID
"""

_TOLD: Final = """
CREATE TABLE notices (
    channel TEXT NOT NULL, store TEXT NOT NULL, namespace TEXT NOT NULL, kind TEXT NOT NULL, which TEXT NOT NULL,
    PRIMARY KEY (channel, store, namespace, kind)
) WITHOUT ROWID
"""

_LEASE: Final = "ALTER TABLE daemon ADD COLUMN lease TEXT"

_DELETIONS: Final = "CREATE TABLE deletions (id INTEGER PRIMARY KEY, at REAL NOT NULL, count INTEGER NOT NULL)"

STEPS: Final = (_FIRST, _SEEN, _LEASE, _TOLD, _DELETIONS)
SCHEMA_VERSION: Final = len(STEPS)
