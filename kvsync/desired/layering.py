"""Pairs the documents of an overlay with those of the file below it."""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Sequence as Several
from contextlib import suppress
from dataclasses import replace
from typing import Final

from kvsync.desired.document import Layer
from kvsync.desired.document_names import named
from kvsync.yaml.nodes import Mapping
from kvsync.yaml.problems import TooManyProblemsError

_Names = tuple[frozenset[str], str | None]

_FOR_EACH: Final = ("defaults", "vars")
"""Fields of an overlay that apply to every document of a target. The others belong to the target, and are taken once."""

_SHOWN: Final = 3
"""How many documents a message names."""


def pair_layers(base: Several[Layer], overlays: Several[Several[Layer]]) -> list[list[Layer]]:
    """Put each document of the overlays over the one it belongs to; without a counterpart it stands alone. If the base has
    several documents of that target, each key replaces the one with its name, and new keys join the first document."""
    layered = [[layer] for layer in base]
    numbers: dict[_Names, list[int]] = {}
    for index, layer in enumerate(base):
        numbers.setdefault(_names(layer.node), []).append(index)
    for overlay in overlays:
        below_all = next(iter(numbers.values())) if len(numbers) == 1 else None
        is_alone = len(base) == len(overlay) == 1
        for layer in overlay:
            below = numbers.get(_names(layer.node))
            if below is None and (is_alone or not layer.node.items.keys() & {"store", "stores", "namespace"}):
                below = below_all
            if below is not None:
                for index, part in _parts(layer, [(number, base[number].node) for number in below]):
                    layered[index].append(part)
            elif is_named(layer.node):
                layered.append([layer])
            else:
                _note_doubt(layer, base)
    return layered


def is_named(node: Mapping) -> bool:
    """True if a document says which target it is about."""
    return "namespace" in node.items and not node.items.keys().isdisjoint({"store", "stores"})


def _parts(layer: Layer, below: Several[tuple[int, Mapping]]) -> Iterator[tuple[int, Layer]]:
    """What an overlay says about each of the documents of its target."""
    found = layer.node.items.get("keys", (None, None))[1]
    if len(below) == 1 or not isinstance(found, Mapping):
        yield below[0][0], layer
        return
    left = dict(found.items)
    parts = [(index, {name: left.pop(name) for name in _keys(node) if name in left}) for index, node in below]
    parts[0][1].update(left)
    for number, (index, keys) in enumerate(parts):
        items = {name: item for name, item in layer.node.items.items() if not number or name in _FOR_EACH}
        items["keys"] = (layer.node.items["keys"][0], Mapping(keys, found.line, found.column))
        yield index, replace(layer, node=Mapping(items, layer.node.line, layer.node.column))


def _keys(node: Mapping) -> list[str]:
    found = node.items.get("keys", (None, None))[1]
    return list(found.items) if isinstance(found, Mapping) else []


def _note_doubt(layer: Layer, base: Several[Layer]) -> None:
    """Note an overlay that may belong to any document of its file."""
    known = [f"{_shown(one.node)} (line {one.node.line})" for one in base[:_SHOWN]]
    more = [f"{len(base) - _SHOWN} more"] if len(base) > _SHOWN else []
    message = "the overlay does not say which document it belongs to"
    if base:
        message += f"; {base[0].problems.file} has {', '.join([*known, *more])}"
    with suppress(TooManyProblemsError):
        layer.problems.add(message, layer.node, "add its store and namespace")


def _shown(node: Mapping) -> str:
    stores, namespace = named([node])
    return "/".join([",".join(stores) or "?", namespace or "?"])


def _names(node: Mapping) -> _Names:
    stores, namespace = named([node])
    return frozenset(stores), namespace
