"""Checks that the doctors of all remote stores make."""

from __future__ import annotations

from collections.abc import Awaitable

from kvsync.errors import AuthError, StoreError
from kvsync.model.health import DoctorCheck


def failed(error: StoreError, name: str, hint: str | None = None) -> DoctorCheck:
    """The failed check `name`, with its hint; for an error of the credential, that one."""
    if isinstance(error, AuthError):
        return DoctorCheck.of_error("credential", error)
    return DoctorCheck.of_error(name, error, hint)


async def write_permission(attempt: Awaitable[object], hint: str) -> DoctorCheck:
    """The check of an attempt that needs the permission to write, and changes nothing. `hint` says what to grant."""
    try:
        await attempt
    except AuthError as error:
        return DoctorCheck.of_error("writing", error, hint)
    except StoreError as error:
        return DoctorCheck.of_error("writing", error)
    return DoctorCheck("writing", True, "permitted")
