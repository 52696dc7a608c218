"""Resolves names of namespaces to ids, and creates missing ones.

    name ──> id of namespace_ids, else the title that the account lists, else the id itself ──> Namespace

A name is looked up again after a minute, and right before writes: what has the title now counts, not what had it earlier. In
between, all calls for a name use the id that `locate` gave last.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from difflib import get_close_matches
from typing import Any, Final, NamedTuple

from kvsync.errors import PermanentError, TransientError
from kvsync.http.failures import server_message
from kvsync.http.model import Request, Response
from kvsync.http.paging import MOST_NAMESPACE_PAGES
from kvsync.stores.cloudflare_kv.answers import TITLE_TAKEN, NamespaceGoneError
from kvsync.stores.cloudflare_kv.requests import NAMESPACES_A_PAGE, Targets
from kvsync.stores.cloudflare_kv.token import error_codes
from kvsync.util.clock import Clock

Send = Callable[[Request], Awaitable[Response]]

FRESH: Final = 60.0
"""Seconds for which a namespace that was found under a name is not looked up again, except before writes."""


class Namespace(NamedTuple):
    """A namespace as the account has it."""

    id: str
    title: str


class Namespaces:
    """Knows the ids of namespaces: those that are configured, and those whose title (or id) the account lists. `creates` says
    that one that is missing is made when something is written to it."""

    def __init__(
        self, where: str, send: Send, targets: Targets, configured: Mapping[str, str], clock: Clock, *, creates: bool
    ) -> None:
        self._where, self._send, self._targets, self._clock = where, send, targets, clock
        self._configured = {name: id_.lower() for name, id_ in configured.items()}
        self._creates = creates
        self._titles: dict[str, str] = {}
        self._by_id: dict[str, str] = {}
        self._pages = 1
        self._listed_at: float | None = None
        self._located: dict[str, Namespace] = {}
        self._checked_at: dict[str, float] = {}
        self._lost: dict[str, PermanentError] = {}
        self._lock = asyncio.Lock()

    async def locate(self, name: str, *, writing: bool = False) -> Namespace | None:
        """The namespace that a name leads to, as of at most `FRESH` seconds ago; None for one that is still to be made.

        With `writing` as of now, and made when it is missing and may be made. Raises PermanentError where it is missing and may
        not be made, StoreError.
        """
        async with self._lock:
            self._lost.pop(name, None)
            found = await (self._check(name) if writing else self._recall(name))
            if found is None and writing:
                found = await self._make(name)
            if found is not None:
                self._located[name] = found
            return found

    async def find(self, name: str) -> str | None:
        """The id that `locate` gave last; where it was never asked, it is asked now. None for a namespace that is still to be
        made. Raises PermanentError for one that was lost since, StoreError."""
        if name in self._lost:
            raise self._lost[name]
        if name in self._located:
            return self._located[name].id
        if name in self._configured:
            return self._configured[name]
        found = await self.locate(name)
        return None if found is None else found.id

    async def find_or_make(self, name: str) -> str:
        """The same for writing: a namespace that is missing and may be made is made. Raises StoreError."""
        found = await self.find(name)
        if found is not None:
            return found
        made = await self.locate(name, writing=True)
        assert made is not None
        return made.id

    async def names(self) -> list[str]:
        """Under which names the namespaces of the account are asked for, sorted. Raises StoreError."""
        names = {id_: name for name, id_ in self._configured.items()}
        return sorted({names.get(id_, title) for title, id_ in (await self.titles()).items()})

    async def titles(self) -> dict[str, str]:
        """Title to id, of all namespaces of the account, as of now. Raises StoreError."""
        found: dict[str, str] = {}
        page, is_last = 0, False
        while not is_last:
            page += 1
            if page > MOST_NAMESPACE_PAGES:
                raise TransientError(
                    f"{self._where}: listing the namespaces failed: more than {MOST_NAMESPACE_PAGES} pages; check the endpoint"
                )
            call = Request("GET", self._targets.namespaces(page), "listing the namespaces", is_json=True)
            items, total = self._page(await self._send(call))
            if items and items.keys() <= found.keys():
                raise TransientError(f"{self._where}: listing the namespaces failed: the pages repeat")
            found |= items
            is_last = not items or len(found) >= total or (total < 0 and len(items) < NAMESPACES_A_PAGE)
        self._titles, self._by_id = found, {id_: title for title, id_ in found.items()}
        self._pages, self._listed_at = page, self._clock.monotonic()
        return found

    def gone(self, name: str, error: NamespaceGoneError) -> PermanentError:
        """What to say when a namespace that was known does not exist any longer. Until `locate` is asked for the name again, no
        call goes to another namespace that has the name by now: the calls were planned for the one that is gone."""
        self._forget(name)
        self._listed_at = None
        why = f'the namespace "{name}" was deleted in the meantime'
        self._lost[name] = lost = PermanentError(f"{error}; {self._correction(name) or why}")
        return lost

    async def _recall(self, name: str) -> Namespace | None:
        """What a name leads to, by the fewest calls: one that lists all namespaces serves every name for a minute."""
        if self._is_fresh(self._checked_at.get(name)):
            return self._located[name]
        if self._is_fresh(self._listed_at):
            return self._listed(name)
        if len(self._located) < self._pages:
            return await self._check(name)
        await self.titles()
        return self._listed(name)

    async def _check(self, name: str) -> Namespace | None:
        """What a name leads to now: still the same namespace, as one call tells, or what a listing shows."""
        known = self._located.get(name)
        id_ = known.id if known is not None else self._configured.get(name)
        self._forget(name)
        found = None if id_ is None else await self._get(name, id_)
        if found is None:
            await self.titles()
            return self._listed(name)
        self._located[name], self._checked_at[name] = found, self._clock.monotonic()
        return found

    async def _get(self, name: str, id_: str) -> Namespace | None:
        """The namespace with this id, None when it does not exist or is not the one that is meant by `name` any more."""
        what = f"looking up the namespace {name}"
        try:
            answer = await self._send(Request("GET", self._targets.namespace(id_), what, is_json=True))
        except NamespaceGoneError:
            return None
        found = _namespace(answer.problem().get("result"))
        if found is None:
            raise TransientError(f"{self._where}: {what} failed: the response is not a namespace")
        return found if name in self._configured or name in found else None

    def _listed(self, name: str) -> Namespace | None:
        """What the listing says. Raises PermanentError for a namespace that is missing and not to be made."""
        id_ = self._configured.get(name) or self._titles.get(name, name)
        if id_ in self._by_id:
            return Namespace(id_, self._by_id[id_])
        self._forget(name)
        if name in self._configured:
            raise PermanentError(
                f"{self._where}: there is no namespace {id_} in this account; {self._correction(name)}"
            )
        if not self._creates:
            raise PermanentError(self._missing(name))
        return None

    async def _make(self, name: str) -> Namespace:
        body = json.dumps({"title": name}).encode()
        headers = {"Content-Type": "application/json"}
        target, what = self._targets.namespaces(), f"creating the namespace {name}"
        call = Request("POST", target, what, headers, body, expects=(200, 400))
        answer = await self._send(call)
        if answer.status == 200:
            made = _namespace(answer.problem().get("result"))
            if made is not None:
                self._titles[name], self._by_id[made.id] = made.id, name
                return made
        elif TITLE_TAKEN not in error_codes(answer):
            raise PermanentError(f"{self._where}: {what} failed: {server_message(call, answer) or answer.status}")
        found = (await self.titles()).get(name)  # another process was faster, or the answer holds no id
        if found is None:
            raise TransientError(f"{self._where}: {what}: it exists already, but is not listed yet")
        return Namespace(found, name)

    def _forget(self, name: str) -> None:
        self._located.pop(name, None)
        self._checked_at.pop(name, None)

    def _is_fresh(self, moment: float | None) -> bool:
        return moment is not None and self._clock.monotonic() - moment < FRESH

    def _correction(self, name: str) -> str | None:
        return f"correct namespace_ids.{name}" if name in self._configured else None

    def _missing(self, name: str) -> str:
        near = get_close_matches(name, self._titles, 1)
        meant = f' (did you mean "{near[0]}"?)' if near else ""
        return (
            f'{self._where}: there is no namespace "{name}" in this account{meant}; create it, set create_namespaces: true, or'
            " name its id in namespace_ids"
        )

    def _page(self, answer: Response) -> tuple[dict[str, str], int]:
        """Titles and ids of a page, and how many there are in all, -1 when that is not told."""
        try:
            items = {item["title"]: item["id"] for item in answer.data["result"] or ()}
            total = (answer.data.get("result_info") or {}).get("total_count")
        except (KeyError, TypeError, AttributeError):
            raise TransientError(
                f"{self._where}: listing the namespaces failed: the response is not a list of namespaces; check the endpoint"
            ) from None
        return items, total if isinstance(total, int) else -1


def _namespace(result: Any) -> Namespace | None:
    """A namespace as the API describes it; None for anything else."""
    if not isinstance(result, dict):
        return None
    id_, title = result.get("id"), result.get("title")
    return Namespace(id_, title) if isinstance(id_, str) and isinstance(title, str) else None
