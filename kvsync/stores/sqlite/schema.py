"""Tables of the SQLite store, with triggers that let any program edit `entries`.

    INSERT INTO entries(namespace, key, value) VALUES ('web', 'greeting', 'Hello');
    UPDATE entries SET value = 'Hi' WHERE namespace = 'web' AND key = 'greeting';
    DELETE FROM entries WHERE namespace = 'web';

Triggers watch every write that kvsync did not make itself: the row gets a version that was never used before and loses its
stored fingerprint, and its namespace gets a new revision. kvsync's own writes raise `writing` for the length of their
transaction and do the same in bulk. While the flag is up nobody else can write, and a killed transaction takes it back.

Versions and revisions come from one counter that follows the clock in microseconds and never goes back, so that they are not
used again even when an older copy of the file is put in its place.

`value` is the last column: reading the others then never touches the pages of a large value. `mark_fingerprint` holds the
fingerprint of what kvsync applied, and after it the seal of its mark.
"""

from __future__ import annotations

FORMAT = 2
"""`PRAGMA user_version` of the files that this module makes; higher ones are refused."""

TABLES = frozenset({"entries", "entries_revisions", "entries_state"})
"""The tables of a kvsync file, in every format."""

FILE_ID = "SELECT id FROM entries_file"
"""The id of a file, which stays when it is moved. Files of format 1 have none yet."""

_MICROSECONDS = "CAST((julianday('now') - 2440587.5) * 86400000000 AS INTEGER)"
_SECONDS = "(julianday('now') - 2440587.5) * 86400.0"

BEGIN_WRITING = f"""
UPDATE entries_state SET writing = 1, version = max(version + 1, {_MICROSECONDS}) + ? RETURNING version
"""
"""Raises the flag and takes so many versions, and one more; returns the last of them."""

END_WRITING = "UPDATE entries_state SET writing = 0"

SET_REVISION = """
INSERT INTO entries_revisions(namespace, revision) VALUES (?, ?)
ON CONFLICT (namespace) DO UPDATE SET revision = excluded.revision
"""

_TABLES = """
CREATE TABLE IF NOT EXISTS entries (
    namespace TEXT NOT NULL CHECK (typeof(namespace) = 'text'),
    key TEXT NOT NULL CHECK (typeof(key) = 'text'),
    label TEXT CHECK (typeof(label) IN ('null', 'text')),
    content_type TEXT,
    tags TEXT,
    metadata TEXT,
    expires_at REAL CHECK (typeof(expires_at) IN ('null', 'real')),
    owner TEXT,
    mark_fingerprint BLOB,
    mark_ttl INTEGER CHECK (typeof(mark_ttl) IN ('null', 'integer')),
    flags INTEGER NOT NULL DEFAULT 0,
    fingerprint BLOB,
    version INTEGER NOT NULL DEFAULT 0,
    modified_at REAL,
    value BLOB NOT NULL
);
CREATE UNIQUE INDEX IF NOT EXISTS entries_identity ON entries (namespace, key, ifnull(label, x''));
CREATE INDEX IF NOT EXISTS entries_expiry ON entries (expires_at) WHERE expires_at IS NOT NULL;
CREATE TABLE IF NOT EXISTS entries_revisions (namespace TEXT PRIMARY KEY, revision INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS entries_state (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    writing INTEGER NOT NULL,
    version INTEGER NOT NULL
);
INSERT OR IGNORE INTO entries_state VALUES (1, 0, 0);
CREATE TABLE IF NOT EXISTS entries_file (id TEXT NOT NULL);
INSERT INTO entries_file SELECT lower(hex(randomblob(16))) WHERE NOT EXISTS (SELECT 1 FROM entries_file);
"""


def _trigger(event: str, namespaces: tuple[str, ...], row: bool) -> str:
    """One trigger. The flag also keeps the trigger's own statements from starting it again.

    Inside, nothing may lean on a conflict clause: that of the statement which sets off the trigger takes its place.
    """
    version = "(SELECT version FROM entries_state)"
    renew = f"""
        UPDATE entries SET version = {version}, fingerprint = NULL, modified_at = {_SECONDS} WHERE rowid = NEW.rowid;"""
    revise = "".join(
        f"""
        DELETE FROM entries_revisions WHERE namespace = {namespace};
        INSERT INTO entries_revisions(namespace, revision) VALUES ({namespace}, {version});"""
        for namespace in namespaces
    )
    return f"""
    CREATE TRIGGER IF NOT EXISTS entries_on_{event.lower()} AFTER {event} ON entries
    WHEN (SELECT writing FROM entries_state) = 0
    BEGIN
        UPDATE entries_state SET writing = 1, version = max(version + 1, {_MICROSECONDS});{renew if row else ""}{revise}
        {END_WRITING};
    END;
    """


SCHEMA = (
    _TABLES
    + _trigger("INSERT", ("NEW.namespace",), row=True)
    + _trigger("UPDATE", ("OLD.namespace", "NEW.namespace"), row=True)
    + _trigger("DELETE", ("OLD.namespace",), row=False)
)
"""Creates everything that does not exist yet."""
