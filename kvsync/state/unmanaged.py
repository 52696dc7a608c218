"""Finds targets that no file names although kvsync still owns entries there."""

from __future__ import annotations

from collections.abc import Collection, Container, Iterable
from operator import itemgetter

from kvsync.model.entry import Target
from kvsync.model.place import Place
from kvsync.model.plan import UnmanagedTarget
from kvsync.state.directory import StateDir


def unmanaged_targets(
    state: StateDir, owner: str, stores: Container[str], managed: Collection[Target], places: Iterable[Place] = ()
) -> tuple[UnmanagedTarget, ...]:
    """Each such target with the number of entries of this owner, by the ledger of this state directory; `stores` are the
    configured ones.
    A former name of a place that the files name otherwise does not count: `places` are those that the managed targets were
    just found to lead to. Of several names of a place, the last one counts. Raises StateDirError."""
    known = state.places.all()
    in_use = {record.place for target, record in known.items() if target in managed}
    in_use |= {place.key for place in places}
    ordered = sorted(known.items(), key=lambda item: item[1].since)
    last_names = {record.place: target for target, record in ordered if target not in managed}
    found = []
    for place, target in sorted(last_names.items(), key=itemgetter(1)):
        if place not in in_use:
            applied = state.ledger.all(place).values()
            number = sum(one.is_there and one.mark.owner == owner for one in applied)
            found += [UnmanagedTarget(target, number, target.store in stores)] if number else []
    return tuple(found)
