"""Health checks of a connection: each endpoint, credential, permissions, database and clock."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from kvsync.errors import AuthError, ErrorCode, StoreError
from kvsync.http.clock_skew import clock_findings
from kvsync.http.etcd import call, encoded, object_of
from kvsync.http.failures import understood
from kvsync.model.health import DoctorCheck
from kvsync.stores.doctor_checks import failed
from kvsync.stores.etcd.remote import OWN_KEY, Endpoint, Remote
from kvsync.util.concurrency import gather_or_cancel

_MOST_SKEW: Final = 30.0
"""Seconds; the ends of leases are reckoned by this machine's clock."""

_MIB: Final = 2**20
_DOWN: Final = ("endpoint", "quorum")
"""The checks that fail if a member does not answer, or cannot answer reads."""

_CHECK: Final = "check that the member is running, and correct endpoints"
_GRANT: Final = f"grant the user readwrite on the prefix {OWN_KEY}/ and on the keys of the namespaces"


async def examine(remote: Remote) -> Sequence[DoctorCheck]:
    """Ask all members for their status; then read and pretend to write: nothing is written. If no member is up and knows a
    leader, that is the reason why a read would fail, after all of its retries."""
    members = await gather_or_cancel(_member(remote, endpoint) for endpoint in remote.endpoints)
    found = [check for checks in members for check in checks]
    if all(any(not one.ok and one.check in _DOWN for one in checks) for checks in members):
        return found
    try:
        cluster = await remote.cluster()
        found.append(DoctorCheck("reading", True, f"cluster {cluster.cluster}, id {cluster.id or 'not given yet'}"))
        found.append(await _writing(remote))
    except AuthError as error:
        found.append(DoctorCheck.of_error("credential", error, _GRANT))
    except StoreError as error:
        found.append(DoctorCheck.of_error("reading", error))
    return found


async def _member(remote: Remote, endpoint: Endpoint) -> Sequence[DoctorCheck]:
    what = "reading the status"
    try:
        request = call("maintenance/status", what, {}, reads=True)
        answer = await endpoint.client.send(request)
        status = object_of(endpoint.where, request, answer)
    except StoreError as error:
        return [failed(error, "endpoint", _CHECK)]
    try:
        with understood(endpoint.where, what, answer=answer):
            found = _state(endpoint, status)
    except StoreError as error:  # something answers: reading says what it is
        return [failed(error, "status", _CHECK)]
    return [*found, *clock_findings(answer, remote.clock.local(), _MOST_SKEW)]


def _state(endpoint: Endpoint, status: dict[str, Any]) -> Sequence[DoctorCheck]:
    """Raises KeyError, TypeError or ValueError if this is not the status of a member."""
    size, leader = int(status["dbSize"]) / _MIB, int(status.get("leader", "0"))
    found = [DoctorCheck("endpoint", True, f"{endpoint.where}: etcd {status['version']}, database {size:.0f} MiB")]
    if not leader:
        hint = "check that a majority of the members is running"
        detail = f"{endpoint.where}: it knows no leader"
        found.append(DoctorCheck("quorum", False, detail, hint, ErrorCode.STORE_UNAVAILABLE))
    alarms = " ".join(map(str, status.get("errors", ())))
    if "NOSPACE" in alarms:
        hint = "compact and defragment etcd, then run `etcdctl alarm disarm`"
        detail = f"{endpoint.where}: the database is full"
        found.append(DoctorCheck("database", False, detail, hint, ErrorCode.BATCH_REJECTED))
    return found


async def _writing(remote: Remote) -> DoctorCheck:
    """Permissions are checked before conditions, and this condition never holds."""
    key = encoded(f"{OWN_KEY}/doctor")
    never = {"key": key, "target": "CREATE", "create_revision": "0", "result": "LESS"}
    put = {"request_put": {"key": key, "value": encoded("")}}
    try:
        await remote.read("kv/txn", "checking write permission", {"compare": [never], "success": [put]})
    except StoreError as error:
        return DoctorCheck.of_error("writing", error, _GRANT)
    return DoctorCheck("writing", True, "permitted")
