"""Checks of the variants of a feature flag: what clients would never find, or never reach."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from kvsync.yaml.fields import Problems
from kvsync.yaml.nodes import Mapping, Node, Scalar, Sequence
from kvsync.yaml.problems import at, inside, name_hint, quoted

_DEFAULTS: Final = ("default_when_enabled", "default_when_disabled")
_RULES: Final = ("user", "group", "percentile")


def check_variants(_value: Any, node: Node, problems: Problems, what: str) -> None:
    """Note variants with the same name, allocations to variants that do not exist, and percentages that are turned round."""
    known: set[str] = set()
    for name in _names(node):
        if name.text in known:
            message = f"two variants have the name {quoted(name.text)}"
            problems.add(at(inside(what, "variants"), message), name, "give each variant another name")
        known.add(name.text)
    for used in _used(node):
        if used.text not in known:
            message = f"there is no variant {quoted(used.text)}"
            problems.add(at(inside(what, "allocation"), message), used, name_hint(used.text, known))
    for rule in _items(_member(_member(node, "allocation"), "percentile")):
        start, end = (_number(_member(rule, name)) for name in ("from", "to"))
        if start is not None and end is not None and start > end:
            problems.add(at(inside(what, "allocation"), "from must not be greater than to"), rule, "swap the two")


def _names(feature: Node) -> Iterator[Scalar]:
    for variant in _items(_member(feature, "variants")):
        if isinstance(name := _member(variant, "name"), Scalar):
            yield name


def _used(feature: Node) -> Iterator[Scalar]:
    """The names of variants in the allocation."""
    allocation = _member(feature, "allocation")
    found = [_member(allocation, name) for name in _DEFAULTS]
    found += [_member(rule, "variant") for kind in _RULES for rule in _items(_member(allocation, kind))]
    yield from (one for one in found if isinstance(one, Scalar))


def _member(node: Node | None, name: str) -> Node | None:
    found = node.items.get(name) if isinstance(node, Mapping) else None
    return found[1] if found is not None else None


def _items(node: Node | None) -> list[Node]:
    return node.items if isinstance(node, Sequence) else []


def _number(node: Node | None) -> float | None:
    try:
        return float(node.text) if isinstance(node, Scalar) else None
    except ValueError:
        return None
