"""Pages of at most 100 items, with continuation and page etag."""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final, Generic, TypeVar
from urllib.parse import quote

from kvsync.emulators.azure.body import reply
from kvsync.emulators.azure.problems import empty
from kvsync.emulators.azure.query import Arguments, Verdict, conditions
from kvsync.emulators.model import Answer

SIZE: Final = 100
Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Page(Generic[Item]):
    """Some items of a list; `after` is the place of the last one when there may be more."""

    items: Sequence[Item]
    after: str | None

    @classmethod
    def cut(cls, placed: Iterable[tuple[str, Item]]) -> Page[Item]:
        """The first page of items that come with their places. A full page always names its end."""
        found = list(islice(placed, SIZE))
        return cls([item for _, item in found], found[-1][0] if len(found) == SIZE else None)

    def etag(self, etags: Iterable[str]) -> str:
        """Changes with the etags of the items, and with whether more follows."""
        text = "".join(f"{etag}\n" for etag in etags) + (self.after or "")
        return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).decode().rstrip("=")


def continuation(arguments: Arguments) -> list[str]:
    """The place that the `after` of a request names, in its parts; empty for the first page, and for a place unknown."""
    try:
        return base64.b64decode(arguments.one("after") or "", validate=True).decode().split("\n")
    except (binascii.Error, UnicodeDecodeError):
        return [""]


def answer(kind: str, items: Sequence[Any], after: str | None, arguments: Arguments, etag: str | None = None) -> Answer:
    """A page as an answer; with a page etag, on the conditions of the request."""
    headers = {"ETag": f'"{etag}"'} if etag else {}
    link = _next_link(arguments, after) if after is not None else None
    if link:
        headers["Link"] = f'<{link}>; rel="next"'
    verdict = conditions(arguments.request, etag) if etag else Verdict.PROCEED
    if verdict is not Verdict.PROCEED:
        raise empty(verdict.value, headers)
    document = ({"etag": etag} if etag else {}) | {"items": items} | ({"@nextLink": link} if link else {})
    return reply(kind, document, headers)


def encode(name: str) -> str:
    """A name as a value in a query."""
    return quote(name, "")


def _next_link(arguments: Arguments, after: str) -> str:
    """The relative address of the next page: this request's, with another place to start after."""
    kept = [(name, value) for name, value in arguments.request.query if name.lower() != "after"]
    query = [*kept, ("after", base64.b64encode(after.encode()).decode())]
    return f"{arguments.request.path}?" + "&".join(f"{quote(name, '$')}={encode(value)}" for name, value in query)
