"""Health checks of a connection: server, seal, credential, mount, clock."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from kvsync.errors import StoreError
from kvsync.http.clock_skew import clock_findings
from kvsync.http.model import Response
from kvsync.model.health import DoctorCheck
from kvsync.stores.doctor_checks import failed
from kvsync.stores.vault_kv.api import reading
from kvsync.stores.vault_kv.remote import Remote

_MOST_SKEW: Final = 30.0
_ANY: Final = range(200, 600)
_STATES: Final = {
    429: "a standby, which forwards requests to the active node",
    472: "a secondary for disaster recovery, which serves no requests",
    473: "a performance standby",
    501: "not initialized",
    503: "sealed",
}
_USABLE: Final = frozenset({200, 429, 473})


async def examine(remote: Remote) -> Sequence[DoctorCheck]:
    """Ask for the health of the server, then for the mount. Nothing is written."""
    try:
        answer = await remote.client.send(reading(remote.paths.health(), "reading the health", _ANY))
    except StoreError as error:
        return [failed(error, "address", "correct address")]
    found = [_server(answer), *clock_findings(answer, remote.clock.local(), _MOST_SKEW)]
    try:
        mount = await remote.mount(refresh=True)
    except StoreError as error:
        return [*found, failed(error, "mount")]
    return [
        *found,
        DoctorCheck("credential", True, "accepted"),
        DoctorCheck("mount", True, f"KV version 2, id {mount}"),
    ]


def _server(answer: Response) -> DoctorCheck:
    version = str(answer.problem().get("version", ""))
    state = _STATES.get(answer.status, "active" if answer.status == 200 else f"status {answer.status}")
    hint = None if answer.status in _USABLE else "unseal the server, or set address to another node"
    return DoctorCheck("server", hint is None, f"{answer.host}: {version or 'unknown version'}, {state}", hint)
