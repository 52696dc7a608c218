"""Azure's API: limits and tiers of the service, paths, conditional writes, and what their responses mean."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from enum import StrEnum
from typing import Any, Final, NamedTuple

from kvsync.errors import PermanentError
from kvsync.http.failures import rejected, server_message, unconfirmed
from kvsync.http.model import Request, Response
from kvsync.model.entry import Content
from kvsync.model.exact_json import write_json
from kvsync.stores.azure_appconfig.items import NO_NULLS, Nulls, is_reserved
from kvsync.stores.azure_appconfig.resources import Resource
from kvsync.stores.base import Precondition, Write, WriteResult, WriteStatus

_LINK: Final = re.compile(r"<([^<>]*+)>\s*+;([^<,]*+)")
_IS_NEXT: Final = re.compile(r'\brel="?next"?', re.IGNORECASE)
_TARGET: Final = re.compile(r"/[!-~]*")
"""Characters of a request target: a path and a query in visible ASCII characters."""

MOST_CHARACTERS: Final = 256
"""Limit of a label, the name or the value of a tag."""

MOST_BYTES: Final = 10 * 1024
"""Limit of an entry with all its attributes, including kvsync's mark."""

SNAPSHOT_REQUESTS: Final = 4
"""Requests for one restore point: to create it, to see that it is complete, to list what is not archived, to archive it."""

KEY_PATTERN: Final = r"[^%\x00-\x1f\x7f-\x9f]+"

_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")

_ANSWERS: Final = frozenset({200, 204, 400, 409, 412, 413, 414, 422, 431})
"""Statuses that are about the one entry."""

_EXISTS: Final = WriteResult(WriteStatus.CONFLICT, error="the entry already exists")
_MOVED: Final = WriteResult(WriteStatus.CONFLICT, error="the entry was changed or deleted since it was read")
_LOCKED: Final = WriteResult(WriteStatus.LOCKED, error="it is locked (read-only) in the store; unlock it there")

Slot = tuple[str, str | None]
"""A remote key and its label."""


class Tier(StrEnum):
    """The service tiers."""

    FREE = "free"
    DEVELOPER = "developer"
    STANDARD = "standard"
    PREMIUM = "premium"


class Rates(NamedTuple):
    """Requests per second; None if the service promises nothing, and kvsync adapts to its responses."""

    reads: float | None = None
    writes: float | None = None


RATES: Final[Mapping[Tier | None, Rates]] = {
    None: Rates(),
    Tier.FREE: Rates(),
    Tier.DEVELOPER: Rates(),
    Tier.STANDARD: Rates(300, 60),
    Tier.PREMIUM: Rates(450, 100),
}


def text_problems(label: str | None, content: Content) -> Iterator[str]:
    """Why label, content type or tags are refused, as sentences."""
    if label is not None:
        yield from _text_problems("the label", label)
        if not label:
            yield "the label is empty; remove it to define the entry without a label"
    if content.content_type is not None:
        yield from _text_problems("content_type", content.content_type, limit=None)
    for name, text in content.tags:
        yield from _tag_problems(name, text)


def tag_problems(tags: Mapping[str, str], common: Mapping[str, str]) -> Iterator[str]:
    """Why the tags of an entry contradict those that every entry of the store has."""
    for name, text in common.items():
        if tags.get(name, text) != text:
            yield f'the tag "{name}" must be "{text}", as `tags` of the store requires; remove it from the entry'


def size_of(key: str, label: str | None, content: Content, tags: Iterable[tuple[str, str]]) -> int:
    """Bytes of an entry with all its attributes."""
    words = [key, label or "", content.content_type or "", content.description or ""]
    for tag in tags:
        words += tag
    return len(content.value) + len("".join(words).encode())


def _tag_problems(name: str, text: str) -> Iterator[str]:
    if is_reserved(name):
        yield f'the tag "{name}" is reserved for kvsync; use another name'
    if not name:
        yield "the name of a tag is empty"
    yield from _text_problems(f'the tag "{name[:40]}"', name)
    yield from _text_problems(f'the value of the tag "{name[:40]}"', text)


def _text_problems(what: str, text: str, limit: int | None = MOST_CHARACTERS) -> Iterator[str]:
    if limit is not None and len(text) > limit:
        yield f"{what} has {len(text):,} characters; azure-appconfig allows at most {limit:,}"
    if _CONTROL.search(text):
        yield f"{what} contains a control character, which azure-appconfig does not allow"


def next_target(answer: Response, data: object) -> str | None:
    """Path and query of the next page, exactly as the server returns them; None after the last. Raises ValueError for a link
    that is not a path and query: appended to the endpoint, it could name another host or add lines to the request."""
    links = _LINK.findall(answer.headers.get("link", ""))
    found = next((address for address, parameters in links if _IS_NEXT.search(parameters)), None)
    link = found if found is not None else data.get("@nextLink") if isinstance(data, dict) else None
    if not isinstance(link, str) or not link:
        return None
    target = re.sub(r"^https?://[^/]*", "", link)  # wherever it points, only our own endpoint is asked
    if not _TARGET.fullmatch(target):
        raise ValueError("the link to the next page is not a path")
    return target


def items_of(data: Any) -> list[Any]:
    """The items of a page. Raises KeyError or TypeError for another form: an object in their place would look empty."""
    items = data["items"]
    if not isinstance(items, list):
        raise TypeError("the items of a page must be a list")
    return items


def etag_of(answer: Response) -> str | None:
    """The bare version in the header ETag, weak or strong."""
    text = answer.headers.get("etag", "").removeprefix("W/").strip('"')
    return text or None


def quoted(etag: str | None) -> str:
    """A version as a condition; without one, a condition that never holds."""
    return f'"{etag or "none"}"'


def call_for(resource: Resource, write: Write, slot: Slot, tags: Mapping[str, str], nulls: Nulls = NO_NULLS) -> Request:
    """The request for one write. `tags` are all tags of the entry, with the mark. What the entry has of `nulls` is read as
    empty, and stays null where the write leaves it empty. Raises ValueError for a value that the resource cannot have."""
    key, label = slot
    is_new = write.precondition is Precondition.ABSENT
    headers = {"If-None-Match": "*"} if is_new else {"If-Match": quoted(write.etag)}
    target = resource.target(key, label)
    if write.content is None:
        return Request("DELETE", target, f"deleting {key}", headers, expects=_ANSWERS)
    body = {
        **resource.body(write.content, nulls),
        "tags": {name: text or (None if name in nulls.tags else "") for name, text in tags.items()},
    }
    headers["Content-Type"] = resource.media_type
    return Request(
        *("PUT", target, f"writing {key}", headers, write_json(body).encode(), _ANSWERS), is_secret=write.is_sensitive
    )


def result_of(where: str, resource: Resource, write: Write, call: Request, answer: Response, slot: Slot) -> WriteResult:
    """The result of the write at `slot`. Raises PermanentError if the response is about the endpoint, LostAnswer if the API
    cannot have sent it."""
    if answer.status in (200, 204):
        return _done(where, resource, write, call, answer, slot)
    problem = answer.problem()
    if answer.status == 412:
        return _EXISTS if write.precondition is Precondition.ABSENT else _MOVED
    if answer.status == 409:
        if not problem:
            raise unconfirmed(where, call, answer)
        return _LOCKED
    if (refused := unsupported(resource, call, answer)) is not None:
        raise refused
    if answer.status == 400 and not problem:
        raise unconfirmed(where, call, answer)
    return WriteResult(WriteStatus.REJECTED, error=rejected(call, answer))


def unsupported(resource: Resource, call: Request, answer: Response) -> PermanentError | None:
    """The error for a response that refuses the version of the API; None for any other."""
    if answer.status != 400 or answer.problem().get("name") != "api-version":
        return None
    what = f"the endpoint does not support this version of the API: {server_message(call, answer)}"
    return PermanentError(f"{what}; {resource.cure}")


def _done(where: str, resource: Resource, write: Write, call: Request, answer: Response, slot: Slot) -> WriteResult:
    """The result of a write that the API confirms by returning the entry. A 204 says that there was no entry, which the
    condition of every write excludes."""
    found = answer.problem()
    etag = etag_of(answer) or found.get("etag")
    is_entry = (found.get(resource.key), found.get("label") or None) == slot and isinstance(etag, str)
    if answer.status != 200 or not is_entry:
        raise unconfirmed(where, call, answer)
    if write.content is None:
        return WriteResult(WriteStatus.DONE)
    try:
        is_written = resource.is_written(resource.read(found), write.content)
    except (KeyError, TypeError, AttributeError):
        is_written = False
    if not is_written:
        raise unconfirmed(where, call, answer)
    return WriteResult(WriteStatus.DONE, etag=etag)
