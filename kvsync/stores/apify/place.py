"""Place of a namespace: user id and key-value store id.

Ids of key-value stores are long and random, so one is the same store whatever the endpoint is called. Where a look-alike
gives short ids, which another server may give too, the endpoint is a part of the place.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from kvsync.config.credentials import describe
from kvsync.config.model import StoreConfig
from kvsync.model.place import KeyScope, Place, origin_of
from kvsync.stores.apify.requests import ENDPOINT, root_of
from kvsync.stores.ledger_place import LedgerPlace

if TYPE_CHECKING:
    from kvsync.stores.apify.namespaces import KeyValueStore

_ID: Final = re.compile(r"[A-Za-z0-9]{17}")
_UNIQUE_LENGTH: Final = 15
"""Characters from which on an id is taken for random; the API gives 17."""


def looks_like_id(name: str) -> bool:
    """True for a name that may be the id of a key-value store."""
    return _ID.fullmatch(name) is not None


def offline_place(config: StoreConfig, namespace: str, scope: KeyScope) -> Place:
    """The place as far as the configuration tells. Whose stores they are is known by `username`, or by where the token
    comes from."""
    user, tilde, name = namespace.rpartition("~")
    if not tilde:
        user = config.options.get("username") or describe(config.options["token"])
    parts = (("endpoint", _endpoint(config)), ("user", user), ("store", name))
    return Place(config.type, parts, scope, is_resolved=False, takes_all=_takes_all(config))


def place_of(config: StoreConfig, store: KeyValueStore, scope: KeyScope) -> Place:
    """The place of a namespace that leads to this key-value store."""
    endpoint = (("endpoint", _endpoint(config)),) if len(store.id) < _UNIQUE_LENGTH else ()
    user = (("user", store.user),) if store.user else ()
    parts = (*endpoint, *user, ("store", store.id))
    return Place(config.type, parts, scope, detail=store.title, takes_all=_takes_all(config))


def _takes_all(config: StoreConfig) -> bool:
    """True where the ledger lies in the key-value store: there is one for the whole of it, whatever the key format is."""
    return config.options.get("ledger") is LedgerPlace.STORE


def _endpoint(config: StoreConfig) -> str:
    """The endpoint in one spelling, with its path where it has one: look-alikes may share a host."""
    url = config.endpoint or ENDPOINT
    return origin_of(url) + root_of(urlsplit(url).path)
