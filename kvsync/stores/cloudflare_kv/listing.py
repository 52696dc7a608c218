"""Listing: names, ends and metadata, a thousand a call, and no value.

Nearly every entry is ours and settled: of such a one only its fingerprint is kept, and it becomes an entry again when somebody
looks at it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, KeysView, Mapping
from functools import partial
from typing import Any

from kvsync.core.model import Actual, Identity, Mark, is_settled
from kvsync.stores.cloudflare_kv.metadata import RESERVED, parts_of

Item = Mapping[str, Any]
"""An entry of a listing, as the API has it."""

_make_identity = partial(tuple.__new__, Identity)  # half the time of Identity(…), which shows in a long listing


class Entries(Mapping[Identity, Actual]):
    """The entries of one namespace. `identity_of` tells the identity behind a name, None for names of another key format; names
    that are their own keys need no telling (None). `binary` are the names of values that are no text."""

    def __init__(self, owner: str, identity_of: Callable[[str], Identity | None] | None) -> None:
        self._owner, self._identity_of = owner, identity_of
        self._others: dict[Identity, Actual] = {}
        self.settled: dict[Identity, bytes] = {}
        self.binary: set[str] = set()

    def add(self, items: Iterable[Item]) -> None:
        """Take in a page."""
        owner, settled, name_alone = self._owner, self.settled, self._identity_of is None
        for item in items:
            try:
                metadata = item["metadata"]
                mark = metadata[RESERVED]
                is_plain = len(mark) == 2 and len(metadata) == 1 and mark["o"] == owner and "expiration" not in item
                if is_plain and name_alone:
                    settled[_make_identity((item["name"], None))] = bytes.fromhex(mark["h"])
                    continue
            except (KeyError, TypeError, ValueError):
                pass
            self._add(item)

    def _add(self, item: Item) -> None:
        name: str = item["name"]
        identity = Identity(name) if self._identity_of is None else self._identity_of(name)
        if identity is None:
            return
        parts = parts_of(item.get("metadata"))
        actual = Actual(identity, fingerprint=parts.listed, expires_at=item.get("expiration"), mark=parts.mark)
        if parts.is_binary:
            self.binary.add(name)
        if parts.listed is not None and is_settled(actual, self._owner):
            self.settled[identity] = parts.listed
        else:
            self._others[identity] = actual

    def __len__(self) -> int:
        return len(self.settled) + len(self._others)

    def __iter__(self) -> Iterator[Identity]:
        yield from self.settled
        yield from self._others

    def __contains__(self, identity: object) -> bool:
        return identity in self.settled or identity in self._others

    def __getitem__(self, identity: Identity) -> Actual:
        found = self._others.get(identity)
        if found is not None:
            return found
        fingerprint = self.settled[identity]
        return Actual(identity, fingerprint=fingerprint, mark=Mark(self._owner, fingerprint))

    def keys(self) -> KeysView[Identity]:
        """All identities, as a view that does its set algebra at the speed of a dict."""
        return self.settled.keys() if not self._others else dict.fromkeys(self).keys()
