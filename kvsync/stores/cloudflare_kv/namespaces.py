"""From the names of namespaces to their ids."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from difflib import get_close_matches
from typing import Any

from kvsync.errors import PermanentError, TransientError
from kvsync.http.failures import words
from kvsync.http.model import Answer, Call
from kvsync.stores.cloudflare_kv.answers import TITLE_TAKEN, NamespaceGoneError
from kvsync.stores.cloudflare_kv.requests import NAMESPACES_A_PAGE, Targets
from kvsync.stores.cloudflare_kv.token import error_codes

Send = Callable[[Call], Awaitable[Answer]]


class Namespaces:
    """Knows the ids of namespaces: those that are configured, and those whose title (or id) the account lists. `creates` says
    that one that is missing is made when something is written to it."""

    def __init__(
        self, where: str, send: Send, targets: Targets, configured: Mapping[str, str], *, creates: bool
    ) -> None:
        self._where, self._send, self._targets = where, send, targets
        self._configured, self._creates = configured, creates
        self._listed: dict[str, str] = {}
        self._lock = asyncio.Lock()

    async def find(self, name: str) -> str | None:
        """The id of a namespace; None for one that is still to be made. Raises PermanentError where it is not to be made,
        StoreError."""
        if name in self._configured:
            return self._configured[name]
        async with self._lock:
            return await self._find(name)

    async def find_or_make(self, name: str) -> str:
        """The id of a namespace, which is made when it is missing and may be made. Raises StoreError."""
        if name in self._configured:
            return self._configured[name]
        async with self._lock:
            return await self._find(name) or await self._make(name)

    async def names(self) -> list[str]:
        """Under which names the namespaces of the account are asked for, sorted. Raises StoreError."""
        self._listed = listed = await self.titles()
        names = {id_: name for name, id_ in self._configured.items()}
        return sorted({names.get(id_, title) for title, id_ in listed.items()})

    async def titles(self) -> dict[str, str]:
        """Title to id, of all namespaces of the account. Raises StoreError."""
        found: dict[str, str] = {}
        page = 1
        while True:
            call = Call("GET", self._targets.namespaces(page), "listing the namespaces", is_json=True)
            items, total = self._page(await self._send(call))
            found |= items
            if not items or len(found) >= total or (total < 0 and len(items) < NAMESPACES_A_PAGE):
                return found
            page += 1

    def gone(self, name: str, error: NamespaceGoneError) -> PermanentError:
        """What to say, and to forget, when a namespace that was known does not exist any longer."""
        self._listed = {}
        if name in self._configured:
            return PermanentError(f"{error}; correct namespace_ids.{name}")
        return PermanentError(f'{error}; the namespace "{name}" was deleted meanwhile')

    async def _find(self, name: str) -> str | None:
        found = _by_name(self._listed, name)
        if found is None:
            self._listed = await self.titles()
            found = _by_name(self._listed, name)
        if found is None and not self._creates:
            raise PermanentError(self._missing(name))
        return found

    async def _make(self, name: str) -> str:
        body = json.dumps({"title": name}).encode()
        headers = {"Content-Type": "application/json"}
        target, what = self._targets.namespaces(), f"making the namespace {name}"
        call = Call("POST", target, what, headers, body, expects=(200, 400))
        answer = await self._send(call)
        if answer.status == 200:
            id_ = _id(answer.problem().get("result"))
            if id_ is not None:
                self._listed[name] = id_
                return id_
        elif TITLE_TAKEN not in error_codes(answer):
            raise PermanentError(f"{self._where}: {what} failed: {words(call, answer) or answer.status}")
        self._listed = await self.titles()  # another process was faster, or the answer holds no id
        found = self._listed.get(name)
        if found is None:
            raise TransientError(f"{self._where}: {what}: it exists by now, but is not listed yet")
        return found

    def _missing(self, name: str) -> str:
        near = get_close_matches(name, self._listed, 1)
        meant = f' (did you mean "{near[0]}"?)' if near else ""
        return (
            f'{self._where}: there is no namespace "{name}" in this account{meant}; make it, set create_namespaces: true, or'
            " name its id in namespace_ids"
        )

    def _page(self, answer: Answer) -> tuple[dict[str, str], int]:
        """Titles and ids of a page, and how many there are in all, -1 when that is not told."""
        try:
            items = {item["title"]: item["id"] for item in answer.data["result"] or ()}
            total = (answer.data.get("result_info") or {}).get("total_count")
        except (KeyError, TypeError, AttributeError):
            raise TransientError(f"{self._where}: listing the namespaces failed: the answer is no such list") from None
        return items, total if isinstance(total, int) else -1


def _by_name(listed: Mapping[str, str], name: str) -> str | None:
    found = listed.get(name)
    return name if found is None and name in listed.values() else found


def _id(result: Any) -> str | None:
    found = result.get("id") if isinstance(result, dict) else None
    return found if isinstance(found, str) else None
