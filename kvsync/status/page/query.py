"""Parser of page queries, and the URLs for them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from urllib.parse import quote, urlencode

from kvsync.model.entry import Target
from kvsync.status.snapshot import State
from kvsync.util.escaping import encode_path, to_bytes

_LONGEST = 200
_DOTS = frozenset({"", ".", ".."})


@dataclass(frozen=True, slots=True)
class Query:
    """Which targets to list: those in any of `states` (all, if empty) and of `store` (all, if empty) that hold every word of
    `text`; and which page."""

    states: frozenset[State] = frozenset()
    text: str = ""
    page: int = 1
    store: str = ""

    @property
    def filters(self) -> bool:
        """True when some targets are left out."""
        return bool(self.states or self.text or self.store)

    def toggled(self, state: State) -> Query:
        """The query with one more state, or without it; from the start."""
        return replace(self, states=self.states ^ {state}, page=1)

    def toggled_store(self, store: str) -> Query:
        """The query for this store alone, or for all where it was; from the start."""
        return replace(self, store="" if store == self.store else store, page=1)

    def on_page(self, page: int) -> Query:
        """The same on another page."""
        return replace(self, page=page)

    @property
    def address(self) -> str:
        """Where this is shown."""
        pairs = [("state", state.value) for state in State if state in self.states]
        pairs += [("store", self.store.encode("utf-8", "replace").decode())] if self.store else []
        pairs += [("q", self.text.encode("utf-8", "replace").decode())] if self.text else []
        pairs += [("page", str(self.page))] if self.page > 1 else []
        return f"/?{urlencode(pairs)}" if pairs else "/"


def parsed(pairs: Iterable[tuple[str, str]]) -> Query:
    """The query of a request. What makes no sense is left out: an old link still shows something."""
    given: dict[str, list[str]] = {}
    for name, value in pairs:
        given.setdefault(name, []).append(value)
    names = {state.value: state for state in State}
    states = frozenset(names[value] for value in given.get("state", ()) if value in names)
    store = _last(given, "store")[:_LONGEST]
    return Query(states, _last(given, "q")[:_LONGEST].strip(), _page(_last(given, "page")), store)


def address_of(target: Target) -> str:
    """Where one target is shown. Browsers fold dots in a path, so such a namespace goes into the query."""
    store = quote(to_bytes(target.store), safe="")
    if _DOTS.isdisjoint(target.namespace.split("/")):
        return f"/targets/{store}/{encode_path(target.namespace)}"
    return f"/targets/{store}?{urlencode({'namespace': to_bytes(target.namespace)})}"


def _last(given: Mapping[str, Sequence[str]], name: str) -> str:
    return given.get(name, ("",))[-1]


def _page(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and 0 < len(text) < 7 and int(text) else 1
