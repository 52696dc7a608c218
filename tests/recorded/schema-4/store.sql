BEGIN TRANSACTION;
CREATE TABLE entries (
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
INSERT INTO "entries" VALUES('web','greeting',NULL,NULL,NULL,NULL,NULL,'payments-gitops',X'AD10196E1159E75DD6BE7D03F75BE04F',NULL,0,X'AD10196E1159E75DD6BE7D03F75BE04F',1795950768593993,1.79595076859476089473e+09,X'48656C6C6F');
INSERT INTO "entries" VALUES('web','limits',NULL,'application/json',NULL,NULL,NULL,'payments-gitops',X'B13B3E80FB472FA846E2FBAB73F47118',NULL,0,X'B13B3E80FB472FA846E2FBAB73F47118',1795950768593994,1.79595076859476089473e+09,X'7B22727073223A31307D');
INSERT INTO "entries" VALUES('web','old',NULL,NULL,NULL,NULL,NULL,'payments-gitops',X'52E24582C79FB0BC3B4EC6DF23B12125',NULL,0,X'52E24582C79FB0BC3B4EC6DF23B12125',1795950768593995,1.79595076859476089473e+09,X'676F696E67');
INSERT INTO "entries" VALUES('web','promo',NULL,NULL,NULL,NULL,1.79655556859333586693e+09,'payments-gitops',X'442A44457137672B3218C1007DC8F76A',604800,0,X'442A44457137672B3218C1007DC8F76A',1795950768593996,1.79595076859476089473e+09,X'78');
INSERT INTO "entries" VALUES('web','secret',NULL,NULL,NULL,NULL,NULL,'payments-gitops',X'ACE4138B09B8138BD70DA6C5CFDDDA67',NULL,1,X'ACE4138B09B8138BD70DA6C5CFDDDA67',1795950768593997,1.79595076859476089473e+09,X'68756E74657232');
INSERT INTO "entries" VALUES('web','theme',NULL,NULL,NULL,NULL,NULL,'payments-gitops',X'E99F97EA4D58907B6D76B1924A9E6469',NULL,0,X'E99F97EA4D58907B6D76B1924A9E6469',1795950768593998,1.79595076859476089473e+09,X'6C69676874');
INSERT INTO "entries" VALUES('web','theme','prod',NULL,NULL,NULL,NULL,'payments-gitops',X'FC6C63353C9A51ED43CE933C63BED556',NULL,0,X'FC6C63353C9A51ED43CE933C63BED556',1795950768593999,1.79595076859476089473e+09,X'6461726B');
CREATE TABLE entries_revisions (namespace TEXT PRIMARY KEY, revision INTEGER NOT NULL) WITHOUT ROWID;
INSERT INTO "entries_revisions" VALUES('web',1795950768594000);
CREATE TABLE entries_state (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    writing INTEGER NOT NULL,
    version INTEGER NOT NULL
);
INSERT INTO "entries_state" VALUES(1,0,1795950768594000);
CREATE UNIQUE INDEX entries_identity ON entries (namespace, key, ifnull(label, x''));
CREATE INDEX entries_expiry ON entries (expires_at) WHERE expires_at IS NOT NULL;
CREATE TRIGGER entries_on_insert AFTER INSERT ON entries
    WHEN (SELECT writing FROM entries_state) = 0
    BEGIN
        UPDATE entries_state SET writing = 1, version = max(version + 1, CAST((julianday('now') - 2440587.5) * 86400000000 AS INTEGER));
        UPDATE entries SET version = (SELECT version FROM entries_state), fingerprint = NULL, modified_at = (julianday('now') - 2440587.5) * 86400.0 WHERE rowid = NEW.rowid;
        DELETE FROM entries_revisions WHERE namespace = NEW.namespace;
        INSERT INTO entries_revisions(namespace, revision) VALUES (NEW.namespace, (SELECT version FROM entries_state));
        UPDATE entries_state SET writing = 0;
    END;
CREATE TRIGGER entries_on_update AFTER UPDATE ON entries
    WHEN (SELECT writing FROM entries_state) = 0
    BEGIN
        UPDATE entries_state SET writing = 1, version = max(version + 1, CAST((julianday('now') - 2440587.5) * 86400000000 AS INTEGER));
        UPDATE entries SET version = (SELECT version FROM entries_state), fingerprint = NULL, modified_at = (julianday('now') - 2440587.5) * 86400.0 WHERE rowid = NEW.rowid;
        DELETE FROM entries_revisions WHERE namespace = OLD.namespace;
        INSERT INTO entries_revisions(namespace, revision) VALUES (OLD.namespace, (SELECT version FROM entries_state));
        DELETE FROM entries_revisions WHERE namespace = NEW.namespace;
        INSERT INTO entries_revisions(namespace, revision) VALUES (NEW.namespace, (SELECT version FROM entries_state));
        UPDATE entries_state SET writing = 0;
    END;
CREATE TRIGGER entries_on_delete AFTER DELETE ON entries
    WHEN (SELECT writing FROM entries_state) = 0
    BEGIN
        UPDATE entries_state SET writing = 1, version = max(version + 1, CAST((julianday('now') - 2440587.5) * 86400000000 AS INTEGER));
        DELETE FROM entries_revisions WHERE namespace = OLD.namespace;
        INSERT INTO entries_revisions(namespace, revision) VALUES (OLD.namespace, (SELECT version FROM entries_state));
        UPDATE entries_state SET writing = 0;
    END;
COMMIT;