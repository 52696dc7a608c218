"""Health checks of a connection: endpoint, credential, clock, permission."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable
from typing import Final

from kvsync.errors import AuthError, ErrorCode, StoreError
from kvsync.http.clock_skew import clock_findings
from kvsync.http.failures import cleaned, raw_message
from kvsync.http.model import Credentials, Request, Response
from kvsync.model.health import DoctorCheck
from kvsync.stores.azure_appconfig.api import quoted
from kvsync.stores.azure_appconfig.auth import SET_CLOCK
from kvsync.stores.azure_appconfig.resources import Resource
from kvsync.util.clock import Clock

_EVERYTHING: Final = range(100, 600)
_MOST_SKEW: Final = 300.0
"""Seconds; the service refuses more than 900."""

_CHECK_ENDPOINT: Final = "correct the endpoint; the overview page of the store shows it as Endpoint"


class Doctor:
    """Examines one connection. `send` sends a read and returns every response."""

    def __init__(
        self,
        send: Callable[[Request], Awaitable[Response]],
        credentials: Credentials,
        clock: Clock,
        resource: Resource,
    ) -> None:
        self._send, self._credentials, self._clock, self._resource = send, credentials, clock, resource

    async def examine(self) -> list[DoctorCheck]:
        """Read a key that does not exist, then delete it on a condition that never holds."""
        name = f"kvsync-doctor-{secrets.token_hex(8)}"
        reading = Request("GET", self._resource.names(name), "looking for a key", expects=_EVERYTHING)
        try:
            answer = await self._send(reading)
        except AuthError as error:
            return [DoctorCheck.of_error("credential", error)]
        except StoreError as error:
            return [DoctorCheck.of_error("endpoint", error, _CHECK_ENDPOINT)]
        if not _is_from_app_configuration(answer):
            detail = f"the server responded with status {answer.status}, but it is not App Configuration"
            return [DoctorCheck("endpoint", False, detail, _CHECK_ENDPOINT, ErrorCode.STORE_UNAVAILABLE)]
        findings = [DoctorCheck("endpoint", True, "reached"), *self._clock_findings(answer)]
        if answer.status in (401, 403):
            return [*findings, self._refusal(reading, answer)]
        findings.append(DoctorCheck("credential", True, "accepted"))
        if answer.status != 200:
            return [*findings, _problem(answer)]
        return [*findings, DoctorCheck("reading", True, "permitted"), await self._writing(name)]

    async def _writing(self, name: str) -> DoctorCheck:
        """Nothing is written: the key does not exist, and the condition requires a version of it."""
        headers = {"If-Match": quoted(None)}
        target = self._resource.target(name, None)
        call = Request("DELETE", target, "checking write permission", headers, expects=_EVERYTHING, reads=True)
        try:
            answer = await self._send(call)
        except StoreError as error:
            return DoctorCheck.of_error("writing", error)
        if answer.status == 412:
            return DoctorCheck("writing", True, "permitted")
        if answer.status in (401, 403):
            why = self._credentials.explain(Request("DELETE", call.target, call.what), answer)
            return DoctorCheck("writing", False, why.detail, why.hint, ErrorCode.CREDENTIAL_REJECTED)
        return _problem(answer)

    def _refusal(self, call: Request, answer: Response) -> DoctorCheck:
        why = self._credentials.explain(call, answer)
        return DoctorCheck(why.cause, False, why.detail, why.hint, ErrorCode.CREDENTIAL_REJECTED)

    def _clock_findings(self, answer: Response) -> list[DoctorCheck]:
        if answer.status == 401:  # the refusal itself reports a wrong clock
            return []
        return clock_findings(answer, self._clock.local(), _MOST_SKEW, SET_CLOCK)


def _is_from_app_configuration(answer: Response) -> bool:
    """True for a response that only App Configuration sends."""
    if "sync-token" in answer.headers or "appconfig" in answer.headers.get("content-type", ""):
        return True
    challenge = answer.headers.get("www-authenticate", "")
    return answer.status in (429, 503) or "HMAC-SHA256" in challenge or (answer.status == 403 and not answer.body)


def _problem(answer: Response) -> DoctorCheck:
    if answer.status == 429:
        return DoctorCheck(
            "quota",
            False,
            cleaned(raw_message(answer)) or "the store is throttling requests",
            "wait, or upgrade the tier",
        )
    return DoctorCheck(
        "service",
        False,
        f"status {answer.status} {cleaned(raw_message(answer))}".strip(),
        "check the health of the service",
    )
