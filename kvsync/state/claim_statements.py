"""Statements of the claims: replicas with leases on the database's clock, and who holds which target."""

from __future__ import annotations

from typing import Final

QUIET_SECONDS: Final = 10.0
"""After a failover or an upgrade nobody takes a target for this time: earlier leases have ended then."""

ALIVE: Final = "expires_at > clock_timestamp()"

RENEW: Final = f"""
UPDATE replicas SET expires_at = clock_timestamp() + make_interval(secs => ?), seen_at = clock_timestamp(), load = ?,
    draining = ?, revision = ?
WHERE id = ? AND {ALIVE}
"""  # noqa: S608 - constants
REGISTER_ALONE: Final = "SELECT pg_advisory_xact_lock(hashtext('replicas'))"
"""Of two replicas that begin at once, the second one finds the first."""

OTHER_OWNER: Final = "SELECT host, owner FROM replicas WHERE owner <> ? ORDER BY started_at LIMIT 1"
REGISTER: Final = """
INSERT INTO replicas (id, host, pid, version, owner, started_at, seen_at, expires_at, load, draining, revision)
VALUES (?, ?, ?, ?, ?, clock_timestamp(), clock_timestamp(), clock_timestamp() + make_interval(secs => ?), 0, 0, NULL)
ON CONFLICT (id) DO UPDATE SET seen_at = excluded.seen_at, expires_at = excluded.expires_at
"""
DELETE_EXPIRED: Final = "DELETE FROM replicas WHERE expires_at <= clock_timestamp()"
"""Only who has no row is dead. A renewal that is under way holds the row, so that this waits for it; after it, a renewal finds
no row and fails."""

CLOSE: Final = """
UPDATE runs SET status = ? WHERE status = ? AND replica IS NOT NULL AND replica NOT IN (SELECT id FROM replicas)
"""
"""The runs of dead replicas are over: whoever takes a target finds out what became of their intents."""

_TIMELINE: Final = "('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::bigint"
"""Changes with every failover, also with one that lost no transaction."""

SET_TIMELINE: Final = f"UPDATE kvsync_state SET timeline = {_TIMELINE}"  # noqa: S608 - constants
NOTICE: Final = f"""
UPDATE kvsync_state SET timeline = {_TIMELINE}, quiet_until = clock_timestamp() + make_interval(secs => ?)
WHERE timeline <> {_TIMELINE}
"""  # noqa: S608 - constants
SKIP: Final = "SELECT setval('fences', greatest(last_value, ?::bigint) + ?) FROM fences"
QUIET: Final = "SELECT quiet_until > clock_timestamp() FROM kvsync_state"
_REPLICAS: Final = """
SELECT id, host, pid, version, owner, extract(epoch FROM started_at)::double precision,
    extract(epoch FROM seen_at)::double precision, load, draining, revision, held.*
FROM replicas CROSS JOIN LATERAL (
    SELECT count(*), coalesce(sum(fence), 0)::bigint, coalesce(sum(cost), 0.0) FROM claims WHERE replica = replicas.id
) AS held
"""
REPLICAS: Final = f"{_REPLICAS} WHERE {ALIVE} ORDER BY id"
LAPSED: Final = f"{_REPLICAS} WHERE NOT {ALIVE} ORDER BY seen_at DESC, id"
TAKE: Final = """
INSERT INTO claims (store, namespace, replica, fence, cost, claimed_at)
SELECT store, namespace, ?, nextval('fences'), cost, clock_timestamp()
FROM unnest(?::text[], ?::text[], ?::double precision[]) AS wanted (store, namespace, cost) ORDER BY store, namespace
ON CONFLICT (store, namespace) DO UPDATE
SET replica = excluded.replica, fence = excluded.fence, claimed_at = excluded.claimed_at
WHERE claims.replica = excluded.replica
    OR NOT EXISTS (SELECT 1 FROM replicas WHERE replicas.id = claims.replica)
RETURNING store, namespace, fence
"""
"""Always in this order, so that two replicas do not wait for each other."""

GIVE_UP: Final = """
DELETE FROM claims USING unnest(?::text[], ?::text[]) AS over (store, namespace)
WHERE claims.store = over.store AND claims.namespace = over.namespace AND replica = ?
"""
SET_COSTS: Final = """
UPDATE claims SET cost = known.cost
FROM unnest(?::text[], ?::text[], ?::double precision[]) AS known (store, namespace, cost)
WHERE claims.store = known.store AND claims.namespace = known.namespace AND replica = ?
"""
GUARD: Final = f"""
SELECT 1 FROM claims WHERE store = ? AND namespace = ? AND replica = ? AND fence = ?
    AND EXISTS (SELECT 1 FROM replicas WHERE id = claims.replica AND {ALIVE})
FOR SHARE
"""  # noqa: S608 - constants
HOLDERS: Final = f"""
SELECT store, namespace, replica, fence, cost, EXISTS (SELECT 1 FROM replicas WHERE id = claims.replica AND {ALIVE})
FROM claims
"""  # noqa: S608 - constants
LAST: Final = "SELECT last_value, wakes, timeline, version FROM fences, kvsync_state"

END_ALL: Final = (
    "DELETE FROM claims",
    "DELETE FROM replicas",
    "UPDATE kvsync_state SET quiet_until = clock_timestamp() + make_interval(secs => ?)",
)
"""What an upgrade does, so that no replica of an earlier version records anything in the new schema: its claims are over, it is
not among the replicas any more, and nobody takes a target before its lease has ended."""
