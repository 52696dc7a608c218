"""Descriptions that entries keep when they are moved to another target."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace

from kvsync.errors import StoreError
from kvsync.model.desired import Desired
from kvsync.model.entry import Identity
from kvsync.model.plan import TargetPlan
from kvsync.planning.moved_descriptions import arriving, described
from kvsync.reconcile.places import PlaceResolver
from kvsync.stores.base import Store


async def with_arriving_descriptions(
    plan: TargetPlan, desired: Desired, stores: Mapping[str, Store], places: PlaceResolver
) -> TargetPlan:
    """The plan, in which new entries have the descriptions that they have in the targets that they come from, as far as these
    can be read."""
    if not stores[plan.target.store].capabilities.descriptions:
        return plan
    descriptions: dict[Identity, str] = {}
    for source, names in arriving(plan.changes, desired).items():
        store = stores[source.store]
        if store.capabilities.descriptions:
            with suppress(StoreError):
                await places.locate(source)
                found = await store.read(source.namespace, tuple(names))
                contents = ((names[name], one.content) for name, one in found.items())
                descriptions |= {name: one.description for name, one in contents if one and one.description}
    return replace(plan, changes=tuple(described(one, descriptions) for one in plan.changes))
