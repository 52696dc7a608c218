"""Listing: names, ends and metadata, a thousand a call, and no value.

    page ──> Listing: names and fingerprints alone where a page holds nothing but what is settled ──> token
                └── when something changed ──> Entries

Nearly every entry is ours and settled. Of such a one nothing is made but what the token takes, until it turns out that
something changed; and even then only its fingerprint is kept, and it becomes an entry when somebody looks at it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, KeysView, Mapping, Sequence
from functools import partial
from hashlib import blake2b
from itertools import repeat
from operator import itemgetter
from typing import Any, Final

from kvsync.core.canonical import FINGERPRINT_SIZE
from kvsync.core.model import Actual, Identity, Mark, is_settled
from kvsync.heap import no_collections
from kvsync.stores.cloudflare_kv.metadata import RESERVED, parts_of

Item = Mapping[str, Any]
"""An entry of a listing, as the API has it."""

Columns = tuple[list[str], list[str]]
"""Names, and fingerprints in hexadecimal, of a page."""

_PLAIN: Final = ({2}, {1}, {2})
"""Members of an entry, of its metadata and of our mark where there is nothing to know but a fingerprint."""

_DIGITS: Final = {2 * FINGERPRINT_SIZE}

_name_of, _metadata_of, _mark_of, _owner_of, _print_of = map(itemgetter, ("name", "metadata", RESERVED, "o", "h"))
_make_identity = partial(tuple.__new__, Identity)  # half the time of Identity(…), which shows in a long listing


class Listing:
    """The pages of one namespace, as they come in."""

    def __init__(self, owner: str) -> None:
        self._owner = owner
        self._plain: list[Columns] = []
        self._others: list[Item] = []
        self._digest = blake2b(owner.encode(), digest_size=16)

    def __len__(self) -> int:
        return sum(len(names) for names, _ in self._plain) + len(self._others)

    def add(self, items: Sequence[Item]) -> None:
        """Take in a page."""
        with no_collections():
            columns = self._columns(items)
            if columns is None:
                self._others += items
                self._digest.update(repr(items).encode("utf-8", "surrogatepass"))
            else:
                self._plain.append(columns)
                self._digest.update("\0".join(columns[0]).encode("utf-8", "surrogatepass"))
                self._digest.update("".join(columns[1]).encode())

    def token(self) -> str:
        """What stands for all that was listed."""
        return self._digest.hexdigest()

    def entries(self, identity_of: Callable[[str], Identity | None] | None) -> Entries:
        """The entries. `identity_of` tells the identity behind a name, None for names of another key format; without it names
        are the keys themselves."""
        entries = Entries(self._owner)
        with no_collections():
            for names, prints in self._plain:
                entries.add_settled(names, prints, identity_of)
            for item in self._others:
                identity = Identity(item["name"]) if identity_of is None else identity_of(item["name"])
                if identity is not None:
                    entries.add(identity, item)
        return entries

    def _columns(self, items: Sequence[Item]) -> Columns | None:
        """Names and fingerprints of a page that holds nothing but our plain marks, found without a look at each entry; None for
        any other page."""
        try:
            metadata = list(map(_metadata_of, items))
            marks = list(map(_mark_of, metadata))
            sizes = set(map(len, items)), set(map(len, metadata)), set(map(len, marks))
            if sizes != _PLAIN or set(map(_owner_of, marks)) != {self._owner}:
                return None
            prints = list(map(_print_of, marks))
            text = "".join(prints)
            if set(map(len, prints)) != _DIGITS or not text.isalnum() or not bytes.fromhex(text):
                return None
        except (KeyError, TypeError, ValueError):
            return None
        return list(map(_name_of, items)), prints


class Entries(Mapping[Identity, Actual]):
    """The entries of one namespace. `binary` are the names of values that are no text; `is_told` says that the listing tells of
    all that is there."""

    def __init__(self, owner: str) -> None:
        self._owner = owner
        self._others: dict[Identity, Actual] = {}
        self.settled: dict[Identity, bytes] = {}
        self.binary: set[str] = set()
        self.is_told = True

    def add_settled(
        self, names: Sequence[str], prints: Sequence[str], identity_of: Callable[[str], Identity | None] | None
    ) -> None:
        """Take in entries of which there is nothing to know but their fingerprints."""
        found = map(bytes.fromhex, prints)
        if identity_of is None:
            self.settled.update(zip(map(_make_identity, zip(names, repeat(None), strict=False)), found, strict=True))
            return
        named = zip(map(identity_of, names), found, strict=True)
        self.settled.update((identity, fingerprint) for identity, fingerprint in named if identity is not None)

    def add(self, identity: Identity, item: Item) -> None:
        """Take in any other entry."""
        parts = parts_of(item.get("metadata"))
        actual = Actual(identity, fingerprint=parts.listed, expires_at=item.get("expiration"), mark=parts.mark)
        if parts.is_binary:
            self.binary.add(item["name"])
        if parts.listed is None:
            self.is_told = False
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
