"""Names in a state file: its documents, stores, namespaces and targets, also of a file with problems."""

from __future__ import annotations

from collections.abc import Container, Iterator
from collections.abc import Sequence as Several

from kvsync.model.entry import Target
from kvsync.yaml.fields import Problems
from kvsync.yaml.nodes import Mapping, Node, Scalar, Sequence
from kvsync.yaml.problems import found


def documents_of(nodes: Several[Node], problems: Problems) -> list[Mapping]:
    """The documents of a file that are mappings; the others are problems."""
    for node in nodes:
        if not isinstance(node, Mapping):
            problems.add(f"expected a document with store, namespace and keys, found {found(node)}", node)
    return [node for node in nodes if isinstance(node, Mapping)]


def named(layers: Several[Mapping], known: Container[str] | None = None) -> tuple[tuple[str, ...], str | None]:
    """The stores and the namespace that a document names, as far as a broken one contains them. With `known`, a store
    that is not among them counts as none named."""
    stores: tuple[str, ...] = ()
    namespace = None
    for node in layers:
        several = [item for node in _member(node, "stores") if isinstance(node, Sequence) for item in node.items]
        stores = _scalars([*_member(node, "store"), *several]) or stores
        namespace = next(iter(_scalars(_member(node, "namespace"))), namespace)
    return (stores if known is None or all(name in known for name in stores) else ()), namespace


def _member(node: Mapping, name: str) -> list[Node]:
    return [node.items[name][1]] if name in node.items else []


def _scalars(nodes: Several[Node]) -> tuple[str, ...]:
    return tuple(node.text for node in nodes if isinstance(node, Scalar) and node.text)


def left_targets(layers: Several[Mapping], known: Container[str]) -> Iterator[Target]:
    """The other targets that keys of a document leave, as far as a broken one contains them."""
    names, namespace = named(layers, known)
    for node in layers:
        lists = [item for member in _member(node, "moved") if isinstance(member, Sequence) for item in member.items]
        for leaving in [one for item in lists if isinstance(item, Mapping) for one in _member(item, "from")]:
            if not isinstance(leaving, Mapping):
                continue
            place = next(iter(_scalars(_member(leaving, "namespace"))), namespace)
            stores = [name for name in _scalars(_member(leaving, "store")) if name in known] or names
            if place is not None:
                yield from (Target(name, place) for name in stores)
