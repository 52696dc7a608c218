"""Places, and what signs marks at them, for tests that need one of each."""

from __future__ import annotations

from kvsync.model.entry import Target
from kvsync.model.place import LocatedTarget, Place
from kvsync.planning.marks import MarkSigner
from kvsync.planning.pass_target import PassTarget
from kvsync.state.rows import state_key
from kvsync.stores.base import Store


def place_of(target: Target, server: str = "server") -> Place:
    """A place like no other: the names of the target on a server."""
    return Place("test", (("server", server), ("store", target.store), ("namespace", target.namespace)))


def located(target: Target, server: str = "server") -> LocatedTarget:
    return LocatedTarget(target, place_of(target, server))


def key_of(target: Target, server: str = "server") -> str:
    """What the state directory keeps knowledge of the target by."""
    return state_key(located(target, server))


def signer_of(target: Target, owner: str, *keys: bytes, server: str = "server") -> MarkSigner:
    return MarkSigner(owner, place_of(target, server), keys)


def subject_of(store: Store, target: Target, owner: str, *keys: bytes) -> PassTarget:
    """The target of a pass, at the place that the store gives."""
    there = LocatedTarget(target, store.place(target.namespace))
    return PassTarget(there, MarkSigner(owner, there.place, keys), state_key(there))
