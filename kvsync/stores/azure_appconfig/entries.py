"""Entries of a listing, and which of them are settled."""

from __future__ import annotations

from collections.abc import Iterator, KeysView, Mapping, Sequence
from typing import TYPE_CHECKING

from kvsync.model.entry import Actual, Identity
from kvsync.planning.marks import MarkSigner
from kvsync.stores.azure_appconfig.items import Row, is_plain, seal_text, to_actual

if TYPE_CHECKING:
    from kvsync.stores.azure_appconfig.store import AzureAppConfigStore


class Entries(Mapping[Identity, Actual]):
    """Rows of one namespace, which become entries when someone looks at one."""

    def __init__(self, store: AzureAppConfigStore, namespace: str, rows: Sequence[Row]) -> None:
        self._store, self._namespace = store, namespace
        named = ((store.identity_of(namespace, row), row) for row in rows)
        self._rows = {identity: row for identity, row in named if identity is not None}

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[Identity]:
        return iter(self._rows)

    def __contains__(self, identity: object) -> bool:
        return identity in self._rows

    def __getitem__(self, identity: Identity) -> Actual:
        row = self._rows[identity]
        return to_actual(identity, row, self._store.home(self._namespace, row.key))

    def keys(self) -> KeysView[Identity]:
        """All identities, as a view that does its set algebra at the speed of a dict."""
        return self._rows.keys()

    def settled(self, signer: MarkSigner) -> dict[Identity, bytes]:
        """The fingerprints of what there is nothing else to know of."""
        home, namespace, owner = self._store.home, self._namespace, signer.owner
        plain = {one: row for one, row in self._rows.items() if is_plain(row, owner, home(namespace, row.key))}
        seals = signer.plain_seal_texts(plain, [row.fingerprint for row in plain.values()])
        return {
            identity: row.fingerprint
            for (identity, row), seal in zip(plain.items(), seals, strict=True)
            if seal_text(row) == seal
        }
