"""Paths, requests and errors of the API of KV version 2."""

from __future__ import annotations

import json
from collections.abc import Container, Mapping
from typing import Any, Final
from urllib.parse import quote

from kvsync.errors import AuthError, BatchRefused, LostAnswer, PermanentError, StoreError, TransientError
from kvsync.http.failures import cleaned
from kvsync.http.model import Request, Response, StaleCredentialError
from kvsync.http.remedies import remedy

_JSON: Final = {"Content-Type": "application/json"}
_MERGE: Final = {"Content-Type": "application/merge-patch+json"}
_CONFLICT: Final = "check-and-set parameter did not match"
_TOO_LARGE: Final = ("too large", "request body too large")
_FORBIDDEN: Final = 403
_NOT_MODIFIED: Final = 304


class Paths:
    """The paths of one mount, below the path of the address."""

    def __init__(self, base: str, mount: str) -> None:
        self._base, self.mount = base.rstrip("/"), mount.strip("/")

    def data(self, path: str, version: int | None = None) -> str:
        """The value of a secret, of its current version or of another one."""
        return self._of("data", path) + (f"?version={version}" if version is not None else "")

    def metadata(self, path: str) -> str:
        """The metadata of a secret."""
        return self._of("metadata", path)

    def deletion(self, path: str) -> str:
        """Where versions of a secret are deleted, so that they can be restored."""
        return self._of("delete", path)

    def folder(self, path: str) -> str:
        """The names in a folder; the path ends with a slash, or is empty."""
        return f"{self._of('metadata', path)}?list=true"

    def tree(self, path: str) -> str:
        """All secrets below a folder with their metadata. OpenBao has this, Vault does not."""
        return f"{self._of('detailed-metadata', path)}?scan=true"

    def about_mount(self) -> str:
        """What the server says of the mount to everybody who may use it."""
        return f"{self._base}/v1/sys/internal/ui/mounts/{quote(self.mount)}"

    def health(self) -> str:
        """The state of the server; needs no token."""
        return f"{self._base}/v1/sys/health"

    def login(self, path: str) -> str:
        """An endpoint below `auth/`."""
        return f"{self._base}/v1/auth/{quote(path)}"

    def _of(self, kind: str, path: str) -> str:
        return f"{self._base}/v1/{quote(self.mount)}/{kind}/{quote(path)}"


def reading(target: str, what: str, expects: Container[int] = (200, 404)) -> Request:
    """A read. A 404 may say that there is nothing, or, with a body, that the current version is deleted."""
    return Request("GET", target, what, expects=expects)


def writing(target: str, what: str, body: Mapping[str, Any], *, expects: Container[int] = (200, 204)) -> Request:
    """A write, which may hold a secret value."""
    return Request("POST", target, what, _JSON, json.dumps(body).encode(), expects, is_secret=True)


def patching(target: str, what: str, body: Mapping[str, Any]) -> Request:
    """A change of some members of the metadata; a 404 says that there is none."""
    return Request("PATCH", target, what, _MERGE, json.dumps(body).encode(), (200, 204, 404))


def data_of(answer: Response) -> Mapping[str, Any]:
    """The member `data` of a response; empty without one."""
    data = answer.problem().get("data")
    return data if isinstance(data, dict) else {}


def errors_of(answer: Response) -> list[str]:
    """What the server says of an error."""
    errors = answer.problem().get("errors")
    return [one for one in errors if isinstance(one, str)] if isinstance(errors, list) else []


def is_conflict(answer: Response) -> bool:
    """True when a write was refused because the current version is another one."""
    return answer.status == 400 and any(_CONFLICT in one for one in errors_of(answer))


class ErrorMapper:
    """What an answer means at Vault where that is not what its status means elsewhere. `hint` says what the token lacks."""

    def __init__(self, where: str, hint: str) -> None:
        self._where, self._hint = where, hint

    def __call__(self, call: Request, answer: Response) -> StoreError | None:
        """The error, None to judge the answer as usual."""
        if answer.status < 300 or (answer.status in call.expects and answer.status != _FORBIDDEN):
            return None
        said = cleaned("; ".join(" ".join(one.split()) for one in errors_of(answer)))
        failed = f"{self._where}: {call.what} failed"
        refused = f"{self._where}: {call.what} was refused (status {answer.status} from {answer.host})"
        if "/v1/auth/" in call.target and answer.status in (400, 401, _FORBIDDEN):
            return AuthError(f"{refused}: {said or 'no reason is given'}; check the credentials of the store")
        if answer.status == _FORBIDDEN:
            return StaleCredentialError(f"{refused}: {said or 'no reason is given'}; {self._hint}")
        if "sealed" in said:
            return TransientError(f"{failed}: the server at {answer.host} is sealed; unseal it")
        if "standby" in said or "active node not found" in said or "active cluster node not found" in said:
            return TransientError(f"{failed}: {answer.host} is a standby without an active node; check the cluster")
        if 300 <= answer.status < 400 and answer.status != _NOT_MODIFIED:
            hint = "set address to the active node or to a load balancer in front of the cluster"
            return PermanentError(f"{failed}: {answer.host} is a standby, and redirects; {hint}")
        if any(sign in said for sign in _TOO_LARGE) or answer.status == 413:
            return BatchRefused(f"{failed}: the value is larger than the server accepts")
        if is_conflict(answer):
            return None
        if answer.status >= 500 and said and not call.is_secret:
            shown = f"status {answer.status} from {answer.host}, {said}; {remedy(answer.status)}"
            return (LostAnswer if call.writes else TransientError)(f"{failed}: {shown}")
        return None
