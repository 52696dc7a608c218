"""Store operations: get, list, create, update, delete; unnamed stores expire."""

from __future__ import annotations

import json
import re
import secrets
import string
from dataclasses import replace
from typing import Any, Final

from kvsync.emulators.apify.access import USERS
from kvsync.emulators.apify.contents import Contents
from kvsync.emulators.apify.model import FOLLOW, RESTRICTED, WITH_ID, WITH_NAME, Store, User
from kvsync.emulators.apify.problems import NAME_TAKEN, Refused, invalid
from kvsync.emulators.apify.schema import check_schema
from kvsync.emulators.clock import VirtualClock
from kvsync.emulators.storage import Storage

_KIND: Final = "store"
_ID: Final = string.ascii_letters + string.digits
_NAME: Final = re.compile("[a-zA-Z0-9]([a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?")
_ACCESS: Final = (FOLLOW, RESTRICTED, WITH_ID, WITH_NAME)


class Stores:
    """All stores of all users, with what they hold."""

    def __init__(self, storage: Storage, clock: VirtualClock) -> None:
        self._storage, self._clock = storage, clock
        self._known = {id_: Store(**json.loads(document)) for id_, document in storage.items(_KIND)}
        self._contents = {id_: Contents(storage, id_) for id_ in self._known}
        self._ids = {_slot(store.owner, store.name): store.id for store in self._known.values() if store.name}

    def clear(self) -> None:
        """Forget all of them, with what they hold."""
        for contents in self._contents.values():
            contents.clear()
        self._known, self._contents, self._ids = {}, {}, {}
        self._storage.clear(_KIND)

    def find(self, reference: str, user: User | None) -> Store | None:
        """A store by id, `username~name`, `userId~name` or `~name`, which is one of the user who asks."""
        id_ = self._named(reference, user) if "~" in reference else reference
        store = self._known.get(id_)
        if store is not None and store.expired(self._clock.now()):
            self.remove(store)
            return None
        return store

    def contents(self, store: Store) -> Contents:
        """What a store holds."""
        return self._contents[store.id]

    def of(self, user: User, *, unnamed: bool) -> list[Store]:
        """The stores of a user, oldest first; `unnamed` also those without a name."""
        now = self._clock.now()
        for store in [store for store in self._known.values() if store.expired(now)]:
            self.remove(store)
        found = (store for store in self._known.values() if store.owner == user.id and (store.name or unnamed))
        return sorted(found, key=lambda store: store.created)  # stable: what was made first stays first

    def get_or_create(self, user: User, name: str | None, schema: Any) -> tuple[Store, bool]:
        """The store of that name, or a new one, and whether it is new. Raises Refused (400)."""
        if name and (found := self.find(f"~{name}", user)):
            return found, False
        now = self._clock.now()
        checked = None if schema is None else check_schema(schema)
        id_, secret = ("".join(secrets.choice(_ID) for _ in range(length)) for length in (17, 25))
        made = Store(id_, user.id, secret, now, now, now, name=_name(name) if name else None, schema=checked)
        self._contents[id_] = Contents(self._storage, id_)
        self.keep(made)
        return made, True

    def update(self, store: Store, changes: dict[str, Any]) -> Store:
        """Change name, title or access; a name None takes the name away. Raises Refused (400, 409)."""
        wanted: dict[str, Any] = {"modified": self._clock.now()}
        if "name" in changes:
            wanted["name"] = self._free_name(store, changes["name"])
        if "title" in changes:
            wanted["title"] = _text("title", changes["title"])
        if changes.get("generalAccess") is not None:
            wanted["general_access"] = _access(changes["generalAccess"])
        return self.keep(replace(store, **wanted))

    def remove(self, store: Store) -> None:
        """Remove it with everything in it."""
        self._contents.pop(store.id).clear()
        del self._known[store.id]
        self._ids = {slot: id_ for slot, id_ in self._ids.items() if id_ != store.id}
        self._storage.delete(_KIND, store.id)

    def keep(self, store: Store) -> Store:
        """Put this in the place of what the store was."""
        before = self._known.get(store.id)
        self._known[store.id] = store
        if before is None or before.name != store.name:
            self._ids = {slot: id_ for slot, id_ in self._ids.items() if id_ != store.id}
            if store.name:
                self._ids[_slot(store.owner, store.name)] = store.id
        if self._storage.is_persistent:
            self._storage.put(_KIND, store.id, store.document())
        return store

    def _named(self, reference: str, user: User | None) -> str:
        """The id of a store that is named; "" for none."""
        owner, _, name = reference.partition("~")
        asking = user.id if user else ""
        return self._ids.get(_slot(_user_id(owner) if owner else asking, name), "")

    def _free_name(self, store: Store, name: Any) -> str | None:
        if name is None:
            return None
        wanted = _name(name)
        if self._ids.get(_slot(store.owner, wanted), store.id) != store.id:
            raise Refused(NAME_TAKEN)
        return wanted


def username(user_id: str) -> str:
    """The name of a user."""
    return next((user.username for user in USERS if user.id == user_id), "")


def _user_id(owner: str) -> str:
    """The id of a user who is named by name or by id."""
    named = (user.id for user in USERS if owner == user.id or owner.lower() == user.username)
    return next(named, "")


def _slot(owner: str, name: str) -> str:
    return f"{owner}~{name.lower()}"


def _name(name: Any) -> str:
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        text = "a name has 1 to 63 letters, digits and hyphens, with no hyphen at either end"
        raise invalid(f"Invalid value provided: {text}")
    return name


def _text(member: str, value: Any) -> str | None:
    if value is not None and not isinstance(value, str):
        raise invalid(f"Invalid value provided: {member} must be a text")
    return value


def _access(value: Any) -> str:
    if value not in _ACCESS:
        raise invalid(f"Invalid value provided: generalAccess must be one of {', '.join(_ACCESS)}")
    return str(value)
