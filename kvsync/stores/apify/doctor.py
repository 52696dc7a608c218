"""Health checks of a connection: endpoint, token, permission, monthly usage, clock."""

from __future__ import annotations

from typing import Final

from kvsync.errors import ErrorCode, StoreError
from kvsync.http.clock_skew import clock_findings
from kvsync.http.model import Request
from kvsync.model.health import DoctorCheck
from kvsync.stores.apify.remote import Remote
from kvsync.stores.doctor_checks import failed

_MOST_SKEW: Final = 30.0
"""Seconds; kvsync deletes expired entries by this machine's clock."""


class Doctor:
    """Examines one connection. `username` is the configured owner of the stores, None for the token's user."""

    def __init__(self, remote: Remote, username: str | None) -> None:
        self._remote, self._username = remote, username

    async def examine(self) -> list[DoctorCheck]:
        """Read the user of the token, the list of stores, and one of them: nothing is written."""
        call = Request("GET", self._remote.targets.me, "looking up the user of the token", is_json=True)
        try:
            answer = await self._remote.client.send(call)
        except StoreError as error:
            return [failed(error, "endpoint")]
        data = answer.problem().get("data")
        name = data.get("username") if isinstance(data, dict) else None
        known = DoctorCheck("credential", True, f"accepted, of user {name}" if name else "accepted")
        clock = clock_findings(answer, self._remote.clock.local(), _MOST_SKEW)
        return [known, *await self._permissions(), *await self._usage(), *clock]

    async def _permissions(self) -> list[DoctorCheck]:
        try:
            names = await self._remote.namespaces.names()
        except StoreError as error:
            return [DoctorCheck.of_error("reading", error)]
        reading = DoctorCheck("reading", True, f"permitted; {len(names):,} named key-value stores")
        if names:
            return [reading, await self._writing(names[0])]
        if self._username is None:
            return [reading, DoctorCheck("writing", True, "unknown until there is a key-value store")]
        detail = f"the token has access to no named key-value store of {self._username}"
        return [reading, _refused("username", detail, "correct username, or remove it")]

    async def _usage(self) -> list[DoctorCheck]:
        """What the account has used of its monthly limit; nothing if the token may not see that."""
        call = Request("GET", self._remote.targets.limits, "reading the monthly usage", is_json=True)
        try:
            data = (await self._remote.client.send(call)).problem()["data"]
            used, most = float(data["current"]["monthlyUsageUsd"]), float(data["limits"]["maxMonthlyUsageUsd"])
            until = str(data["monthlyUsageCycle"]["endAt"])[:10]
        except (StoreError, LookupError, TypeError, ValueError):
            return []
        detail = f"${used:,.2f} of ${most:,.2f} used; the month ends on {until}"
        hint = "raise the limit (Console > Billing), or wait; until then, the API refuses reads (402)"
        return [DoctorCheck("usage", used < most, detail, None if used < most else hint)]

    async def _writing(self, name: str) -> DoctorCheck:
        """The API shows a store's secret only to those who may write to it."""
        try:
            is_permitted = await self._remote.namespaces.is_writable(name)
        except StoreError as error:
            return DoctorCheck.of_error("writing", error)
        if is_permitted:
            return DoctorCheck("writing", True, f"permitted, in {name}")
        hint = "give the token permission to write (Console > Settings > API & Integrations); plan and drift need none"
        return _refused("writing", f"the token may only read {name}", hint)


def _refused(check: str, detail: str, hint: str) -> DoctorCheck:
    return DoctorCheck(check, False, detail, hint, ErrorCode.CREDENTIAL_REJECTED)
