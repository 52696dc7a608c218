"""Lists names, expirations and metadata, a thousand per call, without values.

    page ──> Listing: only names, fingerprints and seals if a page holds nothing but plain marks ──> token
                └── if something changed ──> Entries, their seals verified a page at a time

Nearly every entry is ours and settled. Only what the token needs is computed from such entries, until something changed; even
then only their fingerprints are kept, and they become entries when they are asked for.
"""

from __future__ import annotations

from binascii import unhexlify
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from hashlib import blake2b
from itertools import repeat
from operator import itemgetter
from typing import Any, Final, NamedTuple

from kvsync.http.moments import moment_from
from kvsync.model.canonical import FINGERPRINT_SIZE
from kvsync.model.entry import Actual, Identity, Mark
from kvsync.planning.marks import SEAL_CHARACTERS, MarkSigner, Proof, seal_from_text
from kvsync.stores.cloudflare_kv.metadata import RESERVED, parts_of
from kvsync.stores.listed_entries import ListedEntries
from kvsync.util.gc_pause import gc_paused

Item = Mapping[str, Any]
"""An entry of a listing, as the API returns it."""

ToIdentity = Callable[[str], Identity | None]
"""Returns the identity behind a name, None for a name of another key format."""

_PLAIN: Final = ({2}, {1}, {3})
"""Sizes of an entry, of its metadata and of our mark, if the mark has only owner, fingerprint and seal."""

_DIGITS: Final = {2 * FINGERPRINT_SIZE}
_SEAL: Final = {SEAL_CHARACTERS}

_name_of, _metadata_of, _mark_of = map(itemgetter, ("name", "metadata", RESERVED))
_owner_of, _print_of, _seal_of = map(itemgetter, ("o", "h", "s"))
_make_identity = partial(tuple.__new__, Identity)  # half the time of Identity(…), which shows in a long listing


class Columns(NamedTuple):
    """A page of plain marks: names, fingerprints in hexadecimal, seals as text."""

    names: list[str]
    prints: list[str]
    seals: list[str]


class Listing:
    """The pages of one namespace, as they arrive."""

    def __init__(self, signer: MarkSigner) -> None:
        self._signer = signer
        self._plain: list[Columns] = []
        self._others: list[Item] = []
        self._digest = blake2b(signer.owner.encode(), digest_size=16)

    def __len__(self) -> int:
        return sum(len(page.names) for page in self._plain) + len(self._others)

    def add(self, items: Sequence[Item]) -> None:
        """Add a page."""
        with gc_paused():
            columns = self._columns(items)
            if columns is None:
                self._others += items
                self._digest.update(repr(items).encode("utf-8", "surrogatepass"))
            else:
                self._plain.append(columns)
                self._digest.update("\0".join(columns.names).encode("utf-8", "surrogatepass"))
                self._digest.update("".join(columns.prints + columns.seals).encode())

    def token(self) -> str:
        """A digest of the listed state."""
        return self._digest.hexdigest()

    def entries(self, identity_of: ToIdentity | None) -> Entries:
        """The entries. Without `identity_of`, names are keys."""
        entries = Entries(self._signer)
        with gc_paused():
            for columns in self._plain:
                entries.add_plain(columns, identity_of)
            for item in self._others:
                identity = Identity(item["name"]) if identity_of is None else identity_of(item["name"])
                if identity is not None:
                    entries.add(identity, item)
        return entries

    def _columns(self, items: Sequence[Item]) -> Columns | None:
        """The columns of a page that holds nothing but our plain marks, found without a loop over its entries; None for any
        other page."""
        try:
            metadata = list(map(_metadata_of, items))
            marks = list(map(_mark_of, metadata))
            sizes = set(map(len, items)), set(map(len, metadata)), set(map(len, marks))
            if sizes != _PLAIN or set(map(_owner_of, marks)) != {self._signer.owner}:
                return None
            prints, seals = list(map(_print_of, marks)), list(map(_seal_of, marks))
            if set(map(len, prints)) != _DIGITS or not unhexlify("".join(prints)):  # fromhex would skip spaces
                return None
            if set(map(len, seals)) != _SEAL or not "".join(seals).isascii():
                return None
        except (KeyError, TypeError, ValueError):
            return None
        return Columns(list(map(_name_of, items)), prints, seals)


class Entries(ListedEntries):
    """The entries of one namespace. `binary` are the names of values that are not text; `is_told` is True if the listing
    represents all of their values."""

    def __init__(self, signer: MarkSigner) -> None:
        super().__init__()
        self._signer = signer
        self.binary: set[str] = set()
        self.is_told = True

    def add_plain(self, columns: Columns, identity_of: ToIdentity | None) -> None:
        """Add a page of plain marks: those that verify are settled."""
        identities, prints, seals = _of_format(columns, identity_of)
        fingerprints = list(map(bytes.fromhex, prints))
        if self._signer.plain_seal_texts(identities, fingerprints) == seals:
            self.settled.update(zip(identities, fingerprints, strict=True))
            return
        for identity, fingerprint, seal in zip(identities, fingerprints, seals, strict=True):
            mark = Mark(self._signer.owner, fingerprint, seal=seal_from_text(seal))
            self._add(Actual(identity, fingerprint=fingerprint, mark=mark))

    def add(self, identity: Identity, item: Item) -> None:
        """Add any other entry."""
        parts = parts_of(item.get("metadata"))
        if parts.is_binary:
            self.binary.add(item["name"])
        expires_at = moment_from(item["expiration"]) if "expiration" in item else None
        self._add(Actual(identity, fingerprint=parts.listed, expires_at=expires_at, mark=parts.mark))

    def _settled_entry(self, identity: Identity, fingerprint: bytes) -> Actual:
        mark = self._signer.signed(identity, Mark(self._signer.owner, fingerprint))
        return Actual(identity, fingerprint=fingerprint, mark=mark)

    def _add(self, actual: Actual) -> None:
        """Add an entry. What its metadata say about the content is ignored if our mark was made for another entry."""
        mark = actual.mark
        if mark is not None and mark.owner == self._signer.owner and not self._counts(actual.identity, mark):
            actual = replace(actual, fingerprint=None)
        if actual.fingerprint is None:
            self.is_told = False
        if actual.fingerprint is not None and self._signer.is_settled(actual):
            self.settled[actual.identity] = actual.fingerprint
        else:
            self.others[actual.identity] = actual

    def _counts(self, identity: Identity, mark: Mark) -> bool:
        proof = self._signer.proof(identity, mark)
        return proof in (Proof.VALID, Proof.RENEWABLE) or (proof is Proof.WEAK and not self._signer.keys)


def _of_format(columns: Columns, identity_of: ToIdentity | None) -> tuple[list[Identity], list[str], list[str]]:
    """The columns of a page with identities in place of names, without names of another key format."""
    names, prints, seals = columns
    if identity_of is None:
        return list(map(_make_identity, zip(names, repeat(None), strict=False))), prints, seals
    rows = zip(map(identity_of, names), prints, seals, strict=True)
    held = [(identity, digits, seal) for identity, digits, seal in rows if identity is not None]
    return [row[0] for row in held], [row[1] for row in held], [row[2] for row in held]
