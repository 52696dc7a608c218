"""Makes writes, each with a few requests.

write                                                     delete
───────────────────────────────────────────────────────   ─────────────────────────────────────────────────────────────
metadata  read: is the version still the expected one?    metadata  read, the same
metadata  kvsync-next: the mark of the version to come    delete    that version, and no other; it can be restored
data      with `cas`: only on top of that version         metadata  read: if there is a newer version, that one stays
metadata  kvsync: the mark is confirmed

What a process that is killed in between leaves: before `data`, the secret is as it was, under its old mark. After `data`, the
digest in `kvsync-next` proves that the version is ours. A version that another program writes instead does not match it.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final

from kvsync.errors import LostAnswer, StoreError
from kvsync.http.failures import confirmed
from kvsync.model.entry import Content
from kvsync.stores.base import Precondition, Write, WriteResult, WriteStatus
from kvsync.stores.vault_kv.api import data_of, is_conflict, patching, writing
from kvsync.stores.vault_kv.remote import Remote
from kvsync.stores.vault_kv.secrets import MARK, NEXT, Secret, mark_text, to_data

_EXISTS: Final = WriteResult(WriteStatus.CONFLICT, error="the secret already exists")
_MOVED: Final = WriteResult(WriteStatus.CONFLICT, error="the secret was changed or deleted since it was read")
_KEPT: Final = "0s"
"""The `delete_version_after` of secrets that stay."""


async def make(remote: Remote, path: str, write: Write) -> WriteResult:
    """Do one write. Raises StoreError."""
    secret = await remote.metadata(path)
    is_live = secret is not None and secret.is_live
    if write.precondition is Precondition.ABSENT and is_live:
        return _EXISTS
    if write.precondition is Precondition.UNCHANGED and (secret is None or not is_live or secret.etag != write.etag):
        return _MOVED
    if write.content is None:
        assert secret is not None
        return await _delete(remote, path, secret)
    return await _put(remote, path, write, write.content, secret)


async def _put(remote: Remote, path: str, write: Write, content: Content, secret: Secret | None) -> WriteResult:
    current = 0 if secret is None else secret.current
    await _prepare(remote, path, write, content, secret)
    body = {"options": {"cas": current}, "data": to_data(content)}
    request = writing(remote.paths.data(path), f"writing {path}", body, expects=(200, 204, 400))
    answer = await remote.client.send(request)
    if answer.status != 200:
        with suppress(StoreError):
            await _note(remote, path, {NEXT: None})
        if is_conflict(answer):
            return _EXISTS if write.precondition is Precondition.ABSENT else _MOVED
        reason = "the server rejected the value (status 400); check its size and the policies of the mount"
        return WriteResult(WriteStatus.REJECTED, error=reason)
    with confirmed(remote.where, request, answer):
        made = data_of(answer)
        version, created = int(made["version"]), str(made["created_time"])
    text = None if write.mark is None else mark_text(write.mark, content, version, created)
    try:
        await _note(remote, path, {MARK: text, NEXT: None})
    except StoreError as error:
        raise LostAnswer(f"{error}; the value was written, and its mark will be read from {NEXT}") from error
    return WriteResult(WriteStatus.DONE, etag=f"{version}@{created}")


async def _prepare(remote: Remote, path: str, write: Write, content: Content, secret: Secret | None) -> None:
    """Note the mark of the version that is about to be made, and how long that version lives."""
    number = 1 if secret is None else secret.current + 1
    text = None if write.mark is None else mark_text(write.mark, content, number)
    seconds = None if write.expires_at is None else max(1, round(write.expires_at - remote.clock.now()))
    lifetime = {} if seconds is None else {"delete_version_after": f"{seconds}s"}
    what = f"preparing {path}"
    if seconds is None and secret is not None and secret.delete_after != _KEPT:  # a PATCH does not take it back
        await remote.client.send(writing(remote.paths.metadata(path), what, {"delete_version_after": _KEPT}))
    if text is None and not lifetime:
        return
    if not await _note(remote, path, {NEXT: text}, lifetime):
        body = lifetime | {"custom_metadata": {} if text is None else {NEXT: text}}
        await remote.client.send(writing(remote.paths.metadata(path), what, body))


async def _note(
    remote: Remote, path: str, custom: Mapping[str, str | None], more: Mapping[str, Any] | None = None
) -> bool:
    """Change members of the custom metadata, and leave all others; False where there is no metadata yet."""
    body = {"custom_metadata": custom, **(more or {})}
    answer = await remote.client.send(patching(remote.paths.metadata(path), f"marking {path}", body))
    return answer.status != 404


async def _delete(remote: Remote, path: str, secret: Secret) -> WriteResult:
    body = {"versions": [secret.current]}
    await remote.client.send(writing(remote.paths.deletion(path), f"deleting {path}", body))
    after = await remote.metadata(path)
    if after is not None and after.current != secret.current:
        return _MOVED
    if after is not None and after.is_live:  # whoever answered, it was not the server that deletes
        raise LostAnswer(
            f"{remote.where}: {path} can still be read, although the response said that it was deleted; check the address"
        )
    return WriteResult(WriteStatus.DONE)
