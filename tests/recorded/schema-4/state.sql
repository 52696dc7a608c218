BEGIN TRANSACTION;
CREATE TABLE changes (
    seq INTEGER PRIMARY KEY, store TEXT NOT NULL, namespace TEXT NOT NULL, key TEXT NOT NULL, label TEXT NOT NULL,
    action TEXT NOT NULL, cause TEXT NOT NULL, origin TEXT, sensitive INTEGER NOT NULL,
    before TEXT, before_value BLOB, after BLOB, intended_at REAL NOT NULL,
    outcome TEXT, error TEXT, etag TEXT, settled_at REAL
);
INSERT INTO "changes" VALUES(4294967296,'local','web','greeting','','create','new','state/web.yaml:4:3',0,NULL,NULL,X'AD10196E1159E75DD6BE7D03F75BE04F',1.79595076859312152857e+09,'applied',NULL,'1795950768593993',1.79595076860416507725e+09);
INSERT INTO "changes" VALUES(4294967297,'local','web','limits','','create','new','state/web.yaml:5:3',0,NULL,NULL,X'B13B3E80FB472FA846E2FBAB73F47118',1.79595076859312152857e+09,'applied',NULL,'1795950768593994',1.79595076860416507725e+09);
INSERT INTO "changes" VALUES(4294967298,'local','web','old','','create','new','state/web.yaml:8:3',0,NULL,NULL,X'52E24582C79FB0BC3B4EC6DF23B12125',1.79595076859312152857e+09,'applied',NULL,'1795950768593995',1.79595076860416507725e+09);
INSERT INTO "changes" VALUES(4294967299,'local','web','promo','','create','new','state/web.yaml:7:3',0,NULL,NULL,X'442A44457137672B3218C1007DC8F76A',1.79595076859312152857e+09,'applied',NULL,'1795950768593996',1.79595076860416507725e+09);
INSERT INTO "changes" VALUES(4294967300,'local','web','secret','','create','new','state/web.yaml:6:3',1,NULL,NULL,X'8C42A970C79E42B242BE3A643DE59BB3',1.79595076859312152857e+09,'applied',NULL,'1795950768593997',1.79595076860416507725e+09);
INSERT INTO "changes" VALUES(4294967301,'local','web','theme','','create','new','state/web.yaml:9:3',0,NULL,NULL,X'E99F97EA4D58907B6D76B1924A9E6469',1.79595076859312152857e+09,'applied',NULL,'1795950768593998',1.79595076860416507725e+09);
INSERT INTO "changes" VALUES(4294967302,'local','web','theme','=prod','create','new','state/web.yaml:9:34',0,NULL,NULL,X'FC6C63353C9A51ED43CE933C63BED556',1.79595076859312152857e+09,'applied',NULL,'1795950768593999',1.79595076860416507725e+09);
CREATE TABLE contended (
    store TEXT NOT NULL, namespace TEXT NOT NULL, key TEXT NOT NULL, label TEXT NOT NULL,
    count INTEGER NOT NULL, last REAL NOT NULL, until REAL NOT NULL,
    PRIMARY KEY (store, namespace, key, label)
) WITHOUT ROWID;
CREATE TABLE daemon (
    one INTEGER PRIMARY KEY CHECK (one = 1), pid INTEGER NOT NULL, started_at REAL NOT NULL, updated_at REAL NOT NULL,
    mode TEXT NOT NULL, version TEXT NOT NULL, ready INTEGER NOT NULL, window TEXT
, lease TEXT);
CREATE TABLE drift (
    seq INTEGER PRIMARY KEY, at REAL NOT NULL, store TEXT NOT NULL, namespace TEXT NOT NULL, counts TEXT NOT NULL
);
CREATE TABLE ledger (
    store TEXT NOT NULL, namespace TEXT NOT NULL, key TEXT NOT NULL, label TEXT NOT NULL,
    owner TEXT NOT NULL, fingerprint BLOB NOT NULL, ttl INTEGER, sensitive INTEGER NOT NULL, protected INTEGER NOT NULL,
    etag TEXT, expires_at REAL,
    PRIMARY KEY (store, namespace, key, label)
) WITHOUT ROWID;
INSERT INTO "ledger" VALUES('local','web','greeting','','payments-gitops',X'AD10196E1159E75DD6BE7D03F75BE04F',NULL,0,0,'1795950768593993',NULL);
INSERT INTO "ledger" VALUES('local','web','limits','','payments-gitops',X'B13B3E80FB472FA846E2FBAB73F47118',NULL,0,0,'1795950768593994',NULL);
INSERT INTO "ledger" VALUES('local','web','old','','payments-gitops',X'52E24582C79FB0BC3B4EC6DF23B12125',NULL,0,0,'1795950768593995',NULL);
INSERT INTO "ledger" VALUES('local','web','promo','','payments-gitops',X'442A44457137672B3218C1007DC8F76A',604800,0,0,'1795950768593996',1.79655556859333586693e+09);
INSERT INTO "ledger" VALUES('local','web','secret','','payments-gitops',X'8C42A970C79E42B242BE3A643DE59BB3',NULL,1,0,'1795950768593997',NULL);
INSERT INTO "ledger" VALUES('local','web','theme','','payments-gitops',X'E99F97EA4D58907B6D76B1924A9E6469',NULL,0,0,'1795950768593998',NULL);
INSERT INTO "ledger" VALUES('local','web','theme','=prod','payments-gitops',X'FC6C63353C9A51ED43CE933C63BED556',NULL,0,0,'1795950768593999',NULL);
CREATE TABLE ledger_seen (
    store TEXT NOT NULL, namespace TEXT NOT NULL, taken_in BLOB, left_there BLOB,
    PRIMARY KEY (store, namespace)
) WITHOUT ROWID
;
CREATE TABLE memo (
    store TEXT NOT NULL, namespace TEXT NOT NULL, desired BLOB NOT NULL, config TEXT NOT NULL,
    token TEXT, next_moment REAL, counts TEXT NOT NULL,
    PRIMARY KEY (store, namespace)
) WITHOUT ROWID;
CREATE TABLE notices (
    channel TEXT NOT NULL, store TEXT NOT NULL, namespace TEXT NOT NULL, kind TEXT NOT NULL, which TEXT NOT NULL,
    PRIMARY KEY (channel, store, namespace, kind)
) WITHOUT ROWID
;
CREATE TABLE parked (
    store TEXT NOT NULL, namespace TEXT NOT NULL, digest TEXT NOT NULL, plan_digest TEXT NOT NULL,
    reasons TEXT NOT NULL, since REAL NOT NULL, approved_at REAL,
    PRIMARY KEY (store, namespace)
) WITHOUT ROWID;
CREATE TABLE passes (
    store TEXT NOT NULL, namespace TEXT NOT NULL, attempted_at REAL NOT NULL, succeeded_at REAL, error TEXT,
    drift TEXT NOT NULL, changes TEXT NOT NULL, next_at REAL,
    PRIMARY KEY (store, namespace)
) WITHOUT ROWID;
CREATE TABLE pauses (
    store TEXT NOT NULL, namespace TEXT, reason TEXT, since REAL NOT NULL
);
CREATE TABLE quarantine (
    store TEXT NOT NULL, namespace TEXT NOT NULL, key TEXT NOT NULL, label TEXT NOT NULL,
    fingerprint BLOB NOT NULL, attempts INTEGER NOT NULL, until REAL NOT NULL, error TEXT NOT NULL,
    PRIMARY KEY (store, namespace, key, label)
) WITHOUT ROWID;
CREATE TABLE removals (
    store TEXT NOT NULL, namespace TEXT NOT NULL, key TEXT NOT NULL, label TEXT NOT NULL, since REAL NOT NULL,
    PRIMARY KEY (store, namespace, key, label)
) WITHOUT ROWID;
CREATE TABLE runs (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, command TEXT NOT NULL, source TEXT,
    started_at REAL NOT NULL, finished_at REAL, status TEXT NOT NULL, summary TEXT
);
INSERT INTO "runs" VALUES(1,'20261129-111248-583','apply',NULL,1.79595076858305931089e+09,1.79595076860478854172e+09,'finished','{"applied":7,"conflict":0,"failed":0,"not-attempted":0,"refused":0,"skipped":0,"stale":0,"unchanged":0}');
CREATE UNIQUE INDEX pauses_once ON pauses (store, namespace IS NULL, ifnull(namespace, ''));
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('runs',1);
COMMIT;