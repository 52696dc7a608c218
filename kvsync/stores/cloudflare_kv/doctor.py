"""Health checks of a connection: endpoint, token, account, permission, clock, quota."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from contextlib import suppress
from typing import Final

from kvsync.errors import AuthError, ErrorCode, PermanentError, StoreError
from kvsync.http.clock_skew import clock_findings
from kvsync.http.model import Request
from kvsync.model.health import DoctorCheck
from kvsync.stores.cloudflare_kv.remote import MOST_CALLS, WINDOW, Remote
from kvsync.stores.doctor_checks import write_permission

_NOBODYS: Final = "0" * 32
"""An id that no namespace has."""

_MOST_SKEW: Final = 30.0
"""Seconds; expirations are absolute, and must be at least 60 s ahead."""

_VERIFIED: Final = range(100, 600)


class Doctor:
    """Examines one connection. `configured` are the namespaces that are configured by id."""

    def __init__(self, remote: Remote, configured: Mapping[str, str]) -> None:
        self._remote, self._configured = remote, configured

    async def examine(self) -> list[DoctorCheck]:
        """List the namespaces, then try to delete from a namespace that does not exist: nothing is written."""
        try:
            await self._remote.open()
            call = Request("GET", self._remote.targets.namespaces(1), "listing the namespaces", is_json=True)
            answer = await self._remote.client.send(call)
            listed = await self._remote.namespaces.titles()
        except AuthError as error:
            return [await self._credential(error)]
        except PermanentError as error:
            return [DoctorCheck.of_error("account", error, "correct account_id, or account; the dashboard shows both")]
        except StoreError as error:
            return [DoctorCheck.of_error("endpoint", error)]
        reading = DoctorCheck("reading", True, f"permitted; {len(listed):,} namespaces")
        found = [DoctorCheck("credential", True, "accepted"), reading, await self._writing()]
        clock = clock_findings(answer, self._remote.clock.local(), _MOST_SKEW)
        return [*found, *self._namespaces(listed), *clock, self._quota()]

    async def _credential(self, refusal: AuthError) -> DoctorCheck:
        """Whether the credential itself is wrong, or its permissions in this account."""
        target = self._remote.root + self._remote.credentials.verification
        call = Request("GET", target, "verifying the credential", expects=_VERIFIED, is_json=True)
        try:
            answer = await self._remote.client.send(call)
        except StoreError:
            return DoctorCheck.of_error("credential", refusal)
        result = answer.problem().get("result")
        is_active = isinstance(result, dict) and result.get("status", "active") == "active"
        return DoctorCheck.of_error("permission" if is_active else "credential", refusal)

    async def _writing(self) -> DoctorCheck:
        target = self._remote.targets.bulk(_NOBODYS, "delete")
        body = json.dumps([f"kvsync-doctor-{secrets.token_hex(8)}"]).encode()
        headers = {"Content-Type": "application/json"}
        call = Request("POST", target, "checking write permission", headers, body, expects=(200, 400, 404), reads=True)

        async def attempt() -> None:
            with suppress(PermanentError):  # no such namespace, which the API reports only to those who may write
                await self._remote.client.send(call)

        return await write_permission(attempt(), 'give the token "Workers KV Storage: Edit"')

    def _namespaces(self, listed: Mapping[str, str]) -> list[DoctorCheck]:
        known = set(listed.values())
        return [
            DoctorCheck(
                "namespace",
                False,
                f"{name}: there is no namespace {id_}",
                f"correct namespace_ids.{name}",
                ErrorCode.NAMESPACE_MISSING,
            )
            for name, id_ in self._configured.items()
            if id_ not in known
        ]

    def _quota(self) -> DoctorCheck:
        reported = self._remote.quota.reported
        if reported is None:
            return DoctorCheck(
                "quota",
                True,
                f"{MOST_CALLS:,} calls in {WINDOW // 60} minutes; the API does not report how many are left",
            )
        is_left = reported.calls > 0
        hint = None if is_left else "another program is using the quota; wait, or use a separate user for kvsync"
        return DoctorCheck("quota", is_left, f"{reported.calls:,} calls left for {reported.seconds:,} s", hint)
