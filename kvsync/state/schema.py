"""Schema migrations of `state.db`. A released migration never changes.

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

_PLACES: Final = """
CREATE TABLE places (
    store TEXT NOT NULL, namespace TEXT NOT NULL, place TEXT NOT NULL, description TEXT NOT NULL, since REAL NOT NULL,
    previous TEXT, PRIMARY KEY (store, namespace)
) WITHOUT ROWID;
ALTER TABLE ledger RENAME TO ledger_by_name;
CREATE TABLE ledger (
    place TEXT NOT NULL, key TEXT NOT NULL, label TEXT NOT NULL,
    owner TEXT NOT NULL, fingerprint BLOB NOT NULL, ttl INTEGER, sensitive INTEGER NOT NULL, protected INTEGER NOT NULL,
    etag TEXT, expires_at REAL, unseen_since REAL,
    PRIMARY KEY (place, key, label)
) WITHOUT ROWID;
INSERT INTO ledger SELECT 'name:' || store || '/' || namespace, key, label, owner, fingerprint, ttl, sensitive, protected, etag,
    expires_at, NULL FROM ledger_by_name;
DROP TABLE ledger_by_name;
ALTER TABLE ledger_seen RENAME TO ledger_seen_by_name;
CREATE TABLE ledger_seen (place TEXT NOT NULL PRIMARY KEY, taken_in BLOB, left_there BLOB) WITHOUT ROWID;
INSERT INTO ledger_seen SELECT 'name:' || store || '/' || namespace, taken_in, left_there FROM ledger_seen_by_name;
DROP TABLE ledger_seen_by_name;
ALTER TABLE quarantine RENAME TO quarantine_by_name;
CREATE TABLE quarantine (
    place TEXT NOT NULL, key TEXT NOT NULL, label TEXT NOT NULL,
    fingerprint BLOB NOT NULL, attempts INTEGER NOT NULL, until REAL NOT NULL, error TEXT NOT NULL,
    PRIMARY KEY (place, key, label)
) WITHOUT ROWID;
INSERT INTO quarantine SELECT 'name:' || store || '/' || namespace, key, label, fingerprint, attempts, until, error
    FROM quarantine_by_name;
DROP TABLE quarantine_by_name;
ALTER TABLE contended RENAME TO contended_by_name;
CREATE TABLE contended (
    place TEXT NOT NULL, key TEXT NOT NULL, label TEXT NOT NULL,
    count INTEGER NOT NULL, last REAL NOT NULL, until REAL NOT NULL,
    PRIMARY KEY (place, key, label)
) WITHOUT ROWID;
INSERT INTO contended SELECT 'name:' || store || '/' || namespace, key, label, count, last, until FROM contended_by_name;
DROP TABLE contended_by_name;
ALTER TABLE removals RENAME TO removals_by_name;
CREATE TABLE removals (
    place TEXT NOT NULL, key TEXT NOT NULL, label TEXT NOT NULL, since REAL NOT NULL,
    PRIMARY KEY (place, key, label)
) WITHOUT ROWID;
INSERT INTO removals SELECT 'name:' || store || '/' || namespace, key, label, since FROM removals_by_name;
DROP TABLE removals_by_name;
DROP TABLE memo;
CREATE TABLE memo (
    place TEXT NOT NULL PRIMARY KEY, desired BLOB NOT NULL, config TEXT NOT NULL,
    token TEXT, next_moment REAL, counts TEXT NOT NULL
) WITHOUT ROWID;
ALTER TABLE changes ADD COLUMN place TEXT NOT NULL DEFAULT '';
UPDATE changes SET place = 'name:' || store || '/' || namespace;
CREATE INDEX changes_by_place ON changes (place)
"""
"""Knowledge moves from names to places. What is known by a name alone is bound to the first place that is found behind it.
The index is for the questions of one target's pass, which must not read the changes of all others."""

_SEALS: Final = "ALTER TABLE ledger ADD COLUMN seal TEXT"
"""The name of the key that a sensitive fingerprint is sealed with; NULL for this directory's own."""

_WHOLE_ENTRY: Final = """
DELETE FROM quarantine;
ALTER TABLE quarantine RENAME COLUMN fingerprint TO digest;
DELETE FROM contended;
ALTER TABLE contended ADD COLUMN digest BLOB NOT NULL DEFAULT x''
"""
"""Rows of before know the content of an entry only. Without them each entry is tried once more, and counted from one."""

_DELETIONS: Final = "CREATE TABLE deletions (id INTEGER PRIMARY KEY, at REAL NOT NULL, count INTEGER NOT NULL)"
"""One hour's deletes of all targets together, so that it has neither target nor place."""

_UNDO: Final = """
CREATE TABLE undone (
    place TEXT NOT NULL, key TEXT NOT NULL, label TEXT NOT NULL, digest BLOB NOT NULL, run TEXT NOT NULL, since REAL NOT NULL,
    PRIMARY KEY (place, key, label)
) WITHOUT ROWID;
CREATE TABLE undo_requests (
    request TEXT NOT NULL, store TEXT NOT NULL, namespace TEXT NOT NULL, choice TEXT NOT NULL, runs TEXT NOT NULL,
    requested_at REAL NOT NULL, run TEXT, report TEXT, PRIMARY KEY (request, store, namespace)
) WITHOUT ROWID;
ALTER TABLE runs ADD COLUMN environment TEXT;
ALTER TABLE runs ADD COLUMN triggers TEXT;
CREATE INDEX runs_by_status ON runs (status);
CREATE INDEX runs_by_end ON runs (finished_at)
"""
"""What stays undone, what is still to be undone, and what a run was for. The indexes keep a pass cheap next to many runs."""

_REPLICA: Final = "ALTER TABLE runs ADD COLUMN replica TEXT"
"""Which of several replicas began a run; NULL where only one can."""

_STEADY: Final = """
ALTER TABLE runs ADD COLUMN steady_at REAL;
ALTER TABLE changes ADD COLUMN steady_at REAL;
UPDATE runs SET steady_at = coalesce(finished_at, started_at);
UPDATE changes SET steady_at = settled_at WHERE settled_at > CAST(strftime('%s', 'now') AS REAL) - 86400;
DROP INDEX runs_by_end;
CREATE INDEX runs_by_steady_end ON runs (steady_at)
"""
"""When runs and changes ended, on the timeline of the state, for passes that ask what was written just now."""

_WAVES: Final = """
CREATE TABLE waves (
    store TEXT NOT NULL, namespace TEXT NOT NULL, digest TEXT NOT NULL, since REAL NOT NULL, failure TEXT,
    PRIMARY KEY (store, namespace)
) WITHOUT ROWID
"""

_EMPTIED: Final = "CREATE TABLE emptied (place TEXT NOT NULL PRIMARY KEY, since REAL NOT NULL) WITHOUT ROWID"
"""Places that kvsync has emptied, whose namespaces it may delete."""

_NAMESPACE_DELETIONS: Final = """
CREATE TABLE namespace_deletions (
    run INTEGER NOT NULL, store TEXT NOT NULL, namespace TEXT NOT NULL, place TEXT NOT NULL, intended_at REAL NOT NULL,
    outcome TEXT, error TEXT, settled_at REAL, PRIMARY KEY (run, store, namespace)
) WITHOUT ROWID
"""
"""Namespaces that a run deleted; `run` is `runs.seq`."""

_WAVES_BY_ENVIRONMENT: Final = """
DROP TABLE waves;
CREATE TABLE waves (
    environment TEXT NOT NULL, store TEXT NOT NULL, namespace TEXT NOT NULL, digest TEXT NOT NULL, since REAL NOT NULL,
    failure TEXT, PRIMARY KEY (environment, store, namespace)
) WITHOUT ROWID
"""
"""Rows of before do not say which environment they are about: the later waves wait until the earlier ones are planned."""

_RESTORE_POINTS: Final = """
CREATE TABLE restore_points (
    run INTEGER NOT NULL, store TEXT NOT NULL, namespace TEXT NOT NULL, name TEXT NOT NULL,
    PRIMARY KEY (run, store, namespace)
) WITHOUT ROWID
"""
"""What stores kept of a target before a run wrote to it; `run` is `runs.seq`."""

_GENERATION: Final = """
CREATE INDEX places_by_place ON places (place);
CREATE TABLE generation (one INTEGER PRIMARY KEY CHECK (one = 1), number INTEGER NOT NULL);
INSERT INTO generation (one, number) VALUES (1, 0)
"""
"""Counts the transactions that wrote, to distinguish an older copy of the file; see `loss`. The index finds former names."""

STEPS: Final = (
    *(
        _FIRST,
        _SEEN,
        _LEASE,
        _TOLD,
        _PLACES,
        _SEALS,
        _WHOLE_ENTRY,
        _DELETIONS,
        _UNDO,
        _REPLICA,
        _STEADY,
        _WAVES,
        _EMPTIED,
        _NAMESPACE_DELETIONS,
        _WAVES_BY_ENVIRONMENT,
        _RESTORE_POINTS,
        _GENERATION,
    ),
)
SCHEMA_VERSION: Final = len(STEPS)
