"""Conditional write requests, and the outcomes of their responses."""

from __future__ import annotations

import json
from typing import Final

from kvsync.errors import PermanentError
from kvsync.http.failures import server_message, unconfirmed
from kvsync.http.model import Request, Response
from kvsync.stores.azure_appconfig.items import tags_for
from kvsync.stores.azure_appconfig.requests import entry_target, etag_of, quoted
from kvsync.stores.base import Precondition, Write, WriteResult, WriteStatus

_ANSWERS: Final = frozenset({200, 204, 400, 409, 412, 413, 414, 422, 431})
"""Statuses that speak of the one entry."""

_EXISTS: Final = WriteResult(WriteStatus.CONFLICT, error="the entry exists already")
_MOVED: Final = WriteResult(WriteStatus.CONFLICT, error="the entry was changed or deleted since it was read")
_LOCKED: Final = WriteResult(WriteStatus.LOCKED, error="it is locked (read-only) in the store; unlock it there")


Slot = tuple[str, str | None]
"""A remote key and its label."""


def call_for(write: Write, key: str, label: str | None, home: str | None) -> Request:
    """The request for one write. `home` is the namespace to be noted in the mark, None where the key tells it."""
    is_new = write.precondition is Precondition.ABSENT
    headers = {"If-None-Match": "*"} if is_new else {"If-Match": quoted(write.etag)}
    target = entry_target(key, label)
    if write.content is None:
        return Request("DELETE", target, f"deleting {key}", headers, expects=_ANSWERS)
    body = {
        "value": write.content.value.decode(),
        "content_type": write.content.content_type,
        "tags": tags_for(write.content, write.mark, write.expires_at, home),
    }
    headers["Content-Type"] = "application/vnd.microsoft.appconfig.kv+json"
    data = json.dumps(body, ensure_ascii=False).encode()
    return Request("PUT", target, f"writing {key}", headers, data, _ANSWERS, is_secret=write.is_sensitive)


def result_of(where: str, write: Write, call: Request, answer: Response, slot: Slot) -> WriteResult:
    """What one answer says of the write at `slot`. Raises PermanentError when it is about the endpoint instead, LostAnswer when
    the API cannot have given it."""
    problem = answer.problem()
    if answer.status in (200, 204):
        return _done(where, write, call, answer, slot)
    if answer.status == 412:
        return _EXISTS if write.precondition is Precondition.ABSENT else _MOVED
    if answer.status == 409:
        if not problem:
            raise unconfirmed(where, call, answer)
        return _LOCKED
    if problem.get("name") == "api-version":
        raise PermanentError(f"the endpoint does not support this version of the API: {server_message(call, answer)}")
    if answer.status == 400 and not problem:
        raise unconfirmed(where, call, answer)
    return WriteResult(
        WriteStatus.REJECTED, error=server_message(call, answer) or f"the store rejected it (status {answer.status})"
    )


def _done(where: str, write: Write, call: Request, answer: Response, slot: Slot) -> WriteResult:
    """The result of a write that the API confirms with the entry as it is, or was. A 204 says that there was none, which the
    condition of every write excludes."""
    item = answer.problem()
    etag = etag_of(answer) or item.get("etag")
    is_entry = (item.get("key"), item.get("label") or None) == slot and isinstance(etag, str)
    if answer.status != 200 or not is_entry:
        raise unconfirmed(where, call, answer)
    if write.content is None:
        return WriteResult(WriteStatus.DONE)
    if (item.get("value") or "") != write.content.value.decode():
        raise unconfirmed(where, call, answer)
    return WriteResult(WriteStatus.DONE, etag=etag)
