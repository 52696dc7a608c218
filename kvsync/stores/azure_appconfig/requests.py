"""Paths and queries of the API, with its escaping rules."""

from __future__ import annotations

import re
from typing import Any, Final
from urllib.parse import quote

from kvsync.http.model import Response

API_VERSION: Final = "2024-09-01"

_VERSION: Final = f"api-version={API_VERSION}"
_LINK: Final = re.compile(r"<([^<>]*+)>\s*+;([^<,]*+)")
_IS_NEXT: Final = re.compile(r'\brel="?next"?', re.IGNORECASE)
_TARGET: Final = re.compile(r"/[!-~]*")
"""What may go on the request line: a path and a query in visible ASCII characters."""

_RESERVED: Final = re.compile(r"([*,\\])")


def entry_target(key: str, label: str | None) -> str:
    """Path and query of one entry. The label that is none is left out, which means the same as naming it."""
    target = f"/kv/{quote(key, safe='')}?{_VERSION}"
    return target if label is None else f"{target}&label={quote(label, safe='')}"


def listing_target(prefix: str) -> str:
    """Path and query of the first page of all entries, of any label, whose key begins with `prefix`."""
    return f"/kv?{_VERSION}&key={quote(f'{_escaped(prefix)}*', safe='')}"


def keys_target() -> str:
    """Path and query of the first page of all names of keys."""
    return f"/keys?{_VERSION}"


def next_target(answer: Response, data: object) -> str | None:
    """Path and query of the page after this one, exactly as the server gives them; None after the last. Raises ValueError for a
    link that is not a path and query: appended to the endpoint, it could name another host or add lines to the request."""
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
    """The items of a page. Raises KeyError or TypeError for what is not one: an object in their place would look empty."""
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


def _escaped(text: str) -> str:
    return _RESERVED.sub(r"\\\1", text)
