"""Error responses, with the body (or the empty body) that the service sends."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from kvsync.emulators.model import Answer

_BASE: Final = "https://azconfig.io/errors/"


class Refused(Exception):
    """The request is refused with this answer."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.status)
        self.answer = answer


def empty(status: int, headers: Mapping[str, str] | None = None) -> Refused:
    """Refuse with a status alone, as 304, 401, 403, 404, 405 and 412 are."""
    return Refused(Answer(status, headers or {}))


def problem(status: int, type_: str, headers: Mapping[str, str] | None = None, /, **members: Any) -> Refused:
    """Refuse with a problem document: compact, its status last unless the members place it."""
    document = {"type": _BASE + type_, **members, "status": status}
    body = json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()
    return Refused(Answer(status, {"Content-Type": "application/problem+json; charset=utf-8", **(headers or {})}, body))


def invalid(name: str, detail: str = "") -> Refused:
    """Refuse an argument (400)."""
    return problem(400, "invalid-argument", title=f"Invalid request parameter '{name}'", name=name, detail=detail)


def locked(key: str) -> Refused:
    """Refuse to change what is read-only (409); the typo is the service's own."""
    detail = "The key is read-only. To allow modification unlock it first."
    return problem(409, "key-locked", title=f"Modifing key '{key}' is not allowed", name=key, detail=detail)


def already_exists() -> Refused:
    """Refuse to make a snapshot twice (409)."""
    return problem(409, "already-exists", title="The resource already exists.", status=409, detail="")


def invalid_state() -> Refused:
    """Refuse to archive or recover what is not in the state for it (409)."""
    detail = "The target resource is not in a valid state to perform the requested operation."
    return problem(409, "invalid-state", title="Target resource state invalid.", detail=detail)


def throttled(policy: str, wait: float) -> Refused:
    """Refuse because a quota is spent (429); `wait` is in seconds."""
    title = "Resource utilization has surpassed the assigned quota"
    headers = {"retry-after-ms": str(max(1, round(wait * 1000)))}
    return problem(429, "too-many-requests", headers, title=title, policy=policy)


def server_error(status: int) -> Refused:
    """Fail for no fault of the client (5xx)."""
    headers = {"retry-after-ms": "10"} if status == 503 else {}
    return problem(status, "server-error", headers, title="The server could not answer the request", detail="")
