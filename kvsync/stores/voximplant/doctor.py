"""Health checks of a connection: key, token, clock, application, permission."""

from __future__ import annotations

import secrets

from kvsync.errors import AuthError, PermanentError, StoreError
from kvsync.http.clock_skew import clock_findings
from kvsync.model.health import DoctorCheck
from kvsync.stores.doctor_checks import write_permission
from kvsync.stores.voximplant.remote import Remote
from kvsync.stores.voximplant.storage import Storage

_MOST_SKEW = 20.0
"""Seconds; tokens are dated, and the service accepts a clock that is up to 30 seconds ahead."""


async def examine(remote: Remote) -> list[DoctorCheck]:
    """List one key, then delete one that does not exist: nothing is written. Raises AuthError for a key that cannot be read."""
    found = [DoctorCheck(remote.account.kind, True, f"the key of account {remote.account.id()}")]
    try:
        storage = Storage(remote, await remote.applications.find())
        answer = await storage.ask("GetKeyValueKeys", "listing the keys", {"count": 1})
    except AuthError as error:
        return [*found, DoctorCheck.of_error("credential", error)]
    except PermanentError as error:
        return [*found, DoctorCheck.of_error("application", error, "correct application_id, or application")]
    except StoreError as error:
        return [*found, DoctorCheck.of_error("endpoint", error)]
    reading = DoctorCheck("reading", True, "the token was accepted, and the application is readable")
    clock = clock_findings(answer, remote.clock.local(), _MOST_SKEW)
    return [*found, reading, await _writing(storage), *clock]


async def _writing(storage: Storage) -> DoctorCheck:
    """Deleting a missing key changes nothing, and needs the permission to write."""
    key = f"kvsync-doctor-{secrets.token_hex(8)}"
    attempt = storage.ask("DelKeyValueItem", "checking write permission", {"key": key})
    return await write_permission(attempt, "give the service account the role Owner, Admin or Developer")
