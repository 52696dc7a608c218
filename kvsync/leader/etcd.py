"""Lease in etcd: one key, bound to an etcd lease that deletes it on expiry.

claim     our lease is kept alive, and the key is tied to it       -> ours            1 round trip
          the key is there, tied to another lease                  -> its value leads 1
          a lease is granted, and one transaction makes the key if
          it is missing (create_revision 0), or else reads it      -> one of both     2, and 1 to find it missing

What a claim has found out is kept for the next one, so that one that takes too long is gone on with. Then a replica leads also
where a round trip takes a good part of `renew_within`.

In the JSON of etcd's gateway keys and values are base64, 64-bit numbers are text, and what is zero is left out.
"""

from __future__ import annotations

import asyncio
from base64 import b64decode, b64encode
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from math import ceil
from typing import Any, Final

from kvsync.errors import AuthError, ErrorCode, StoreError, TransientError
from kvsync.http.etcd import end_of, raw
from kvsync.http.failures import understood
from kvsync.leader.division import MOST, DivisionRecord, decoded_division, encoded_division
from kvsync.leader.etcd_gateway import Gateway
from kvsync.leader.model import LeaseClaim
from kvsync.leader.revisions import decoded_revisions, encoded_revisions
from kvsync.model.health import DoctorCheck
from kvsync.model.revision import AppliedRevision

_DIVISION: Final = ".division"
"""What the keys of records end with."""

_KEYS: Final = "2000"
"""How many keys next to ours are looked at."""

_SHOWN: Final = 60
"""Characters of a value of someone else that are shown."""


class EtcdLeaseStore:
    """Talks to one of the endpoints, and to the next one after it failed."""

    def __init__(self, key: str, identity: str, duration: float, gateways: Sequence[Gateway]) -> None:
        self.name = f"{key} in etcd"
        self._key, self._identity, self._ttl = key, identity, ceil(duration)
        self._revisions = f"{key}.revisions"
        self._gateways, self._at = gateways, 0
        self._lease: str | None = None
        self._is_vacant = False

    async def claim(self) -> LeaseClaim:
        """See the module. Raises StoreError."""
        if self._lease is not None:
            seconds, held = await asyncio.gather(self._kept_alive(self._lease), self._held())
            is_tied = held is not None and held.get("lease") == self._lease
            if seconds and is_tied:
                return LeaseClaim(self._identity, is_ours=True, duration=seconds)
            if seconds and held is None:  # an earlier claim came no further
                return await self._tie(self._lease, seconds)
            await self._forget()
            held = None if is_tied else held  # the key ends with the lease
        else:
            held = None if self._is_vacant else await self._held()
        self._is_vacant = held is None
        return await self._take() if held is None else self._taken(held)

    async def release(self) -> None:
        """Revoke our lease: the key goes with it. Raises StoreError."""
        lease, self._lease = self._lease, None
        if lease is not None:
            await self._ask("lease/revoke", "releasing it", {"ID": lease})

    async def revisions(self) -> Sequence[AppliedRevision]:
        """What leaders applied: in a key of its own. Raises StoreError."""
        found = await self._ask("kv/range", "reading the revisions", {"key": _b64(self._revisions)})
        with self._understood("reading the revisions"):
            return decoded_revisions(_value(found["kvs"][0])) if found.get("kvs") else ()

    async def add_revision(self, applied: AppliedRevision) -> None:
        """Add to that key, as long as our lease holds the other one. Raises StoreError."""
        text = encoded_revisions((*await self.revisions(), applied))
        lease = self._lease
        put = {"request_put": {"key": _b64(self._revisions), "value": _b64(text)}}
        body = {"compare": [self._is_ours(lease)], "success": [put]}
        done = {} if lease is None else await self._ask("kv/txn", "recording the revision", body)
        if not done.get("succeeded"):
            raise TransientError(f"lease {self.name}: this replica does not lead, so it records no revision")

    async def divisions(self) -> Sequence[DivisionRecord]:
        """The records of those that lead now, of all leases whose keys begin like ours up to the last slash. Raises
        StoreError."""
        what, prefix = "reading the division", self._key[: self._key.rfind("/") + 1] or self._key
        body = {"key": _b64(prefix), "range_end": b64encode(end_of(prefix.encode())).decode(), "limit": _KEYS}
        found = await self._ask("kv/range", what, {**body, "keys_only": True})
        with self._understood(what):
            names = [name for one in found.get("kvs", []) if (name := raw(one["key"])).endswith(_DIVISION.encode())]
        reads: list[Any] = [{"request_range": {"key": b64encode(name).decode()}} for name in names[:MOST]]
        done = await self._ask("kv/txn", what, {"success": reads}) if reads else {}
        with self._understood(what):
            texts = [_value(kv) for one in done.get("responses", []) for kv in one["response_range"].get("kvs", [])]
        return [division for text in texts if (division := decoded_division(text)) is not None]

    async def record_division(self, mine: DivisionRecord) -> None:
        """Write it under a key that ends with our lease, as long as that holds the other one. Raises StoreError."""
        if self._lease is not None:
            put = {"key": _b64(self._key + _DIVISION), "value": _b64(encoded_division(mine)), "lease": self._lease}
            body = {"compare": [self._is_ours(self._lease)], "success": [{"request_put": put}]}
            await self._ask("kv/txn", "recording the division", body)

    async def check(self) -> Sequence[DoctorCheck]:
        """Reached, and who leads."""
        try:
            held = await self._held()
            leader, problem = (None, None) if held is None else (self._leader_in(held), self._why_endless(held))
            await self.revisions()
        except AuthError as error:
            return [DoctorCheck.of_error("credential", error)]
        except StoreError as error:
            return [DoctorCheck.of_error("reached", error, "check run.lease.etcd.endpoint")]
        if problem is not None:
            detail, _, hint = problem.partition("; ")
            return [DoctorCheck("leader", False, detail, hint, ErrorCode.REQUEST_REJECTED)]
        return [DoctorCheck("reached", True, f"{leader} leads" if leader else "no replica is the leader")]

    async def aclose(self) -> None:
        """Close the connections."""
        for gateway in self._gateways:
            await gateway.aclose()

    async def _kept_alive(self, lease: str) -> float:
        """How many seconds our lease lasts from now on; 0 when it is over."""
        data = await self._ask("lease/keepalive", "renewing it", {"ID": lease})
        with self._understood("renewing it"):
            return int(data.get("result", {}).get("TTL", 0))

    async def _take(self) -> LeaseClaim:
        granted = await self._ask("lease/grant", "requesting a lease", {"TTL": str(self._ttl)})
        with self._understood("requesting a lease"):
            self._lease, seconds = str(granted["ID"]), int(granted["TTL"])
        return await self._tie(self._lease, seconds)

    async def _tie(self, lease: str, seconds: float) -> LeaseClaim:
        """Make the key, tied to our lease, unless it is there."""
        missing = {"key": _b64(self._key), "target": "CREATE", "create_revision": "0", "result": "EQUAL"}
        put = {"request_put": {"key": _b64(self._key), "value": _b64(self._identity), "lease": lease}}
        read = {"request_range": {"key": _b64(self._key)}}
        body = {"compare": [missing], "success": [put], "failure": [read]}
        done = await self._ask("kv/txn", "taking it", body)
        self._is_vacant = False
        if done.get("succeeded"):
            return LeaseClaim(self._identity, is_ours=True, duration=seconds)
        await self._forget()
        with self._understood("taking it"):
            (found,) = done["responses"]
            return self._taken(found["response_range"]["kvs"][0])

    async def _forget(self) -> None:
        """Give up a lease that is of no use; it ends automatically where it cannot be revoked."""
        with suppress(StoreError):
            await self.release()

    async def _held(self) -> Mapping[str, Any] | None:
        """The key as it is now."""
        found = await self._ask("kv/range", "reading the leader", {"key": _b64(self._key)})
        with self._understood("reading the leader"):
            entries: list[Mapping[str, Any]] = found.get("kvs", [])
            return dict(entries[0]) if entries else None

    def _taken(self, held: Mapping[str, Any]) -> LeaseClaim:
        return LeaseClaim(self._leader_in(held), problem=self._why_endless(held))

    def _why_endless(self, held: Mapping[str, Any]) -> str | None:
        """Why nobody can lead any more; None for the key of a replica, which ends with its lease."""
        if int(held.get("lease", 0)):
            return None
        wrong = f"the key was written by hand ({_value(held)[:_SHOWN]!r}) and does not expire, so no replica can lead"
        return f"{wrong}; run `etcdctl del {self._key}`"

    def _leader_in(self, held: Mapping[str, Any]) -> str:
        with self._understood("reading the leader"):
            return _value(held)

    def _is_ours(self, lease: str | None) -> Mapping[str, Any]:
        """The condition of a transaction: our lease holds the key."""
        return {"key": _b64(self._key), "target": "LEASE", "lease": lease, "result": "EQUAL"}

    def _understood(self, what: str) -> AbstractContextManager[None]:
        """For reading an answer, and never for waiting for one: what goes wrong on the way is another error."""
        return understood(f"lease {self.name}", what)

    async def _ask(self, path: str, what: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
        at = self._at
        try:
            return await self._gateways[at].ask(path, what, body)
        except (TransientError, asyncio.CancelledError):  # cancelled: it took too long
            if self._at == at:  # of two calls at a time that fail, one moves on
                self._at = (at + 1) % len(self._gateways)
            raise


def _value(held: Mapping[str, Any]) -> str:
    """What a key holds: who leads."""
    return b64decode(held.get("value", "")).decode("utf-8", "replace")


def _b64(text: str) -> str:
    return b64encode(text.encode()).decode()
