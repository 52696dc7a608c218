"""Snapshots of a namespace as restore points.

A snapshot is archived as soon as it is complete: from then on its retention counts, after which the service deletes it. Until
then, it can be recovered.
"""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable, Mapping
from hashlib import sha256
from typing import Any, Final
from urllib.parse import quote

from kvsync.errors import BatchRefused, PermanentError
from kvsync.http.failures import cleaned, explained, understood
from kvsync.http.model import Request, Response
from kvsync.stores.azure_appconfig.api import MOST_CHARACTERS, items_of
from kvsync.stores.azure_appconfig.items import NAMESPACE_TAG, OWNER_TAG
from kvsync.stores.azure_appconfig.resources import key_filter

DEFAULT_RETENTION: Final = 7 * 86400
"""Seconds; the longest that the free tier permits."""

_RUN_TAG: Final = "kvsync.run"
_LONGEST: Final = 60
"""Characters of the owner, and of the namespace, in the name of a snapshot."""

_UNSAFE: Final = re.compile(r"[^A-Za-z0-9._-]+")
_ARCHIVE: Final = json.dumps({"status": "archived"}).encode()
_CREATING: Final = {"Content-Type": "application/vnd.microsoft.appconfig.snapshot+json"}
_PATCHING: Final = {"Content-Type": "application/merge-patch+json"}


class RestorePoints:
    """Creates snapshots of one store. `send` sends a request to it, `label` names it in messages, `retention` is how long a
    snapshot is kept, in seconds."""

    def __init__(
        self,
        send: Callable[[Request], Awaitable[Response]],
        label: str,
        owner: str,
        version: str,
        retention: int,
    ) -> None:
        self._send, self._label, self._owner = send, label, owner
        self._query, self._retention = f"api-version={version}", retention
        self._start = f"kvsync-{_readable(owner)}-"

    async def begin(self, namespace: str, prefix: str, run: str) -> str:
        """Create the snapshot of the keys that begin with `prefix`, unless this run has created it. Returns its name. Raises
        StoreError."""
        name = f"{self._start}{_readable(namespace)}-{run}"
        body = {
            "filters": [{"key": key_filter(prefix), "label": "*"}],
            "composition_type": "key_label",
            "retention_period": self._retention,
            "tags": {OWNER_TAG: self._owner, NAMESPACE_TAG: namespace[:MOST_CHARACTERS], _RUN_TAG: run},
        }
        call = Request(
            *("PUT", self._target(name), f"creating the snapshot {name}", _CREATING, json.dumps(body).encode()),
            expects=(201, 400, 409),
        )
        try:
            answer = await self._send(call)
        except BatchRefused as error:  # which is about the store, not about a batch of entries
            raise PermanentError(str(error)) from None
        if answer.status == 400 or (answer.status == 409 and not _exists(answer.problem())):
            raise PermanentError(explained(self._label, call, answer))
        return name

    async def complete(self, name: str) -> bool:
        """Archive the snapshot once it is complete; False while it is not. Raises PermanentError if it never will be,
        StoreError."""
        call = Request("GET", self._target(name), f"reading the snapshot {name}", is_json=True)
        answer = await self._send(call)
        with understood(self._label, call.what, "a snapshot", answer):
            status = answer.data["status"]
        if status == "provisioning":
            return False
        if status not in ("ready", "archived"):
            why = await self._failure(name)
            raise PermanentError(
                f"{self._label}: App Configuration could not create the snapshot {name} ({status}{why})"
            )
        names = {*await self._left(), *((name,) if status == "ready" else ())}
        for one in sorted(names):
            await self._archive(one)
        return True

    async def _failure(self, name: str) -> str:
        """What the service says about a snapshot that it could not create. Raises StoreError."""
        target = f"/operations?{self._query}&snapshot={quote(name, safe='')}"
        answer = await self._send(Request("GET", target, f"reading why the snapshot {name} failed", expects=(200, 404)))
        error = answer.problem().get("error")
        return f": {cleaned(str(error.get('message') or error.get('code')))}" if isinstance(error, dict) else ""

    async def _left(self) -> list[str]:
        """Snapshots of this owner that are not archived, because a process was killed before. Raises StoreError."""
        names = quote(f"{self._start}*", safe="")
        what = "listing snapshots"
        call = Request("GET", f"/snapshots?{self._query}&name={names}&status=ready", what, is_json=True)
        answer = await self._send(call)
        with understood(self._label, what, "a list of snapshots", answer):
            return [
                one["name"] for one in items_of(answer.data) if (one.get("tags") or {}).get(OWNER_TAG) == self._owner
            ]

    async def _archive(self, name: str) -> None:
        """Archive a snapshot; one that another process archived or that is gone is left. Raises StoreError."""
        what = f"archiving the snapshot {name}"
        await self._send(Request("PATCH", self._target(name), what, _PATCHING, _ARCHIVE, expects=(200, 404, 409, 412)))

    def _target(self, name: str) -> str:
        return f"/snapshots/{quote(name, safe='')}?{self._query}"


def _readable(text: str) -> str:
    """A text as a part of the name of a snapshot. One that had to be changed gets a digest, so that two namespaces do not share
    a name."""
    safe = _UNSAFE.sub("-", text)[:_LONGEST]
    return safe if safe == text else f"{safe}-{sha256(text.encode()).hexdigest()[:8]}"


def _exists(problem: Mapping[str, Any]) -> bool:
    return str(problem.get("type", "")).endswith("/already-exists")
