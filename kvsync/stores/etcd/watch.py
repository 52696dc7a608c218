"""Streams of changes: one request that stays open, with two watches for each namespace, of its keys and of their sidecars.

It goes on where the last one ended. Where etcd compacted what came in between, every namespace counts as changed.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from kvsync.errors import AuthError, PermanentError, TransientError
from kvsync.http.etcd import call, encoded, end_of
from kvsync.http.failures import cleaned, understood
from kvsync.http.model import Request
from kvsync.stores.etcd.entries import SIDECARS
from kvsync.stores.etcd.remote import Remote

MOST_WATCHED: Final = 500
"""Namespaces of one store that are watched; changes in others are found by the next scheduled pass."""

_LONGEST_EVENT: Final = 64 * 2**20
"""Bytes of one message of the stream."""

_OWN: Final = 0.1
"""Seconds after an event until it is judged: the answer to our own write may arrive after its event."""

_PAUSE: Final = 0.5
"""Seconds before a stream that ended is opened again."""

_HEADERS: Final = {"Content-Type": "application/json", "Connection": "close"}
"""Where the connection stays open, etcd's server (Go's `net/http`) drops what it has not read of the request once it begins to
answer: most watches would never exist."""

_REFUSED: Final = ("permission denied", "user name is empty")


class Watch:
    """Watches key prefixes, given by namespace. `changed` is called with a namespace when another program changed it."""

    def __init__(self, remote: Remote, prefixes: Mapping[str, bytes], changed: Callable[[str], None]) -> None:
        self._remote, self._changed = remote, changed
        self._names = sorted(prefixes)[:MOST_WATCHED]
        self._prefixes = [start for name in self._names for start in (prefixes[name], SIDECARS + prefixes[name])]
        self._open = 0
        self._buffer = b""
        self.size = 0

    async def run(self) -> None:
        """Watch until cancelled. A stream that ends is opened again. Raises StoreError when one cannot be opened."""
        while True:
            self._open = 0
            try:
                await self._stream()
            except (AuthError, PermanentError):
                raise
            except TransientError:
                if not self._open:
                    raise
            await self._remote.clock.sleep(_PAUSE)

    def begin(self) -> None:
        """Forget half of a message."""
        self._buffer, self.size = b"", 0

    def write(self, piece: bytes) -> None:
        """Take a piece of the stream. Raises PermanentError when it is refused, TransientError when it ends."""
        self.size += len(piece)
        *lines, self._buffer = (self._buffer + piece).split(b"\n")
        if len(self._buffer) > _LONGEST_EVENT:
            raise PermanentError(f"one message is longer than {_LONGEST_EVENT:,} bytes")
        with understood("the stream", "reading it"):
            for line in lines:
                if line:
                    self._take(json.loads(line))

    async def _stream(self) -> None:
        requests = [call("watch", "", {"create_request": one}).body for one in self._requests()]
        request = Request("POST", "/v3/watch", "watching", _HEADERS, b"\n".join(requests), reads=True, sink=self)
        await self._remote.stream(request)

    def _requests(self) -> Sequence[Mapping[str, Any]]:
        return [self._request(number, start) for number, start in enumerate(self._prefixes)]

    def _request(self, number: int, start: bytes) -> Mapping[str, Any]:
        """Begin where the last stream ended, or where the namespace was listed: what is made in between is not missed."""
        seen = self._remote.seen.get(start)
        since = {} if seen is None else {"start_revision": str(seen + 1)}
        where = {"key": encoded(start or b"\0"), "range_end": encoded(end_of(start))}
        return where | since | {"watch_id": str(number + 1), "progress_notify": True}

    def _take(self, message: Mapping[str, Any]) -> None:
        result, error = message.get("result"), message.get("error")
        if result is None:
            said = cleaned(str(error.get("message", "") if isinstance(error, dict) else error))
            raise TransientError(f"the stream ended: etcd says {said}")
        if result.get("canceled"):
            self._canceled(result)
        revision = int(result["header"]["revision"])
        if result.get("created"):
            self._open += 1
        elif events := result.get("events"):
            revisions = {int(event["kv"]["mod_revision"]) for event in events}
            number = int(result["watch_id"]) - 1
            self._remote.note_revision(self._prefixes[number], max(revisions))
            asyncio.get_running_loop().call_later(_OWN, self._judge, self._names[number // 2], revisions)
        elif self._open == len(self._prefixes):  # a sign of life: everything up to here was sent
            for start in self._prefixes:
                self._remote.note_revision(start, revision)

    def _judge(self, namespace: str, revisions: set[int]) -> None:
        if not all(map(self._remote.is_own, revisions)):
            self._changed(namespace)

    def _canceled(self, result: Mapping[str, Any]) -> None:
        reason = str(result.get("cancel_reason", ""))
        if int(result.get("compact_revision", 0)):
            self._remote.seen.clear()
            self._open = max(1, self._open)
            for name in self._names:
                self._changed(name)
            raise TransientError("etcd compacted the revisions in between")
        if any(sign in reason for sign in _REFUSED):
            raise PermanentError(f"etcd says {cleaned(reason)}")
        raise TransientError(f"the stream ended: etcd says {cleaned(reason)}")
