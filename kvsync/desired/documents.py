"""Decoder of one document of a state file, merged with its overlay."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterator
from collections.abc import Mapping as Lookup
from collections.abc import Sequence as Several
from dataclasses import dataclass, field
from typing import Any, Final

from kvsync.config.authority import Authority, Denial
from kvsync.desired.entries import EntryReader, Inherited
from kvsync.desired.field_decoders import Placed
from kvsync.desired.fields import DOCUMENT_FIELDS, Options, merged, packed
from kvsync.desired.model import Stores
from kvsync.desired.rows import RowBuilder
from kvsync.desired.templates import Variables, read_variables
from kvsync.desired.values import ValueContext
from kvsync.errors import Kind, Origin, Problem
from kvsync.model.desired import Move
from kvsync.model.entry import Target
from kvsync.model.policy import Policy
from kvsync.yaml.fields import Problems, decode
from kvsync.yaml.nodes import Mapping, Node, Scalar, Sequence
from kvsync.yaml.problems import at, found, inside, name_hint, quoted

_FEW: Final = 10
"""Problems of a file up to which the nearest of its keys is looked for."""


@dataclass(frozen=True, slots=True)
class Layer:
    """A document as it is written in one file. All values of a `is_secret` file are secrets."""

    node: Mapping
    problems: Problems
    around: ValueContext
    is_secret: bool = False


@dataclass(frozen=True, slots=True)
class Departure:
    """A key that leaves `target`, which is not one of the document's own."""

    target: Target
    move: Move


@dataclass(slots=True)
class Document:
    """What a document says. `policies` are the decoded lines of each layer, lowest first; `moved` are by their source, and
    `departures` those that come from other targets."""

    stores: tuple[str, ...] = ()
    namespace: str | None = None
    draft: RowBuilder = field(default_factory=RowBuilder)
    policies: list[dict[str, Any]] = field(default_factory=list)
    policy_origin: Origin | None = None
    absent: dict[str, Origin] = field(default_factory=dict)
    moved: dict[str, Move] = field(default_factory=dict)
    departures: list[Departure] = field(default_factory=list)
    secrets: list[str] = field(default_factory=list)
    warnings: list[Problem] = field(default_factory=list)
    defaults: Options = field(default_factory=dict)
    variables: Variables = field(default_factory=Variables)

    def arrivals(self, target: Target) -> Iterator[Move]:
        """The moves from other targets to this one of the document's own."""
        for leaving, move in ((one.target, one.move) for one in self.departures):
            if move.destination_target == target:
                yield Move(move.source, move.destination, move.origin, source_target=leaving)

    def policy(self, under: Policy, authority: Authority) -> Policy | None:
        """The policy of the document over that of its store, None when it has no lines of its own."""
        if not self.policies:
            return None
        for lines in self.policies:
            under = authority.policy_of(under, lines)
        return under


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


def read_document(layers: Several[Layer], stores: Stores) -> Document:
    """Read a document from its layers, the overlay last. What is wrong is noted in the problems of each layer."""
    written = [decode(layer.node, DOCUMENT_FIELDS, layer.problems) for layer in layers]
    document = Document(variables=Variables(stores.variables))
    for layer, lines in zip(layers, written, strict=True):
        _read_names(document, layer, lines, stores.facts)
        if "vars" in lines:
            document.variables = read_variables(lines["vars"], document.variables, layer.around, layer.problems)
        document.defaults = merged(document.defaults, packed(lines.get("defaults", {})))
        if "policy" in lines:
            document.policies.append(lines["policy"])
            document.policy_origin = layer.problems.origin(layer.node.items["policy"][0])
    document.secrets += [document.variables.texts[name] for name in sorted(document.variables.secrets)]
    _require(layers)
    for layer, lines in zip(layers, written, strict=True):
        _check_rights(document, layer, lines, stores)
    for layer, lines, above in zip(layers, written, [*layers[1:], None], strict=True):
        _read_entries(document, layer, lines, above)
        _read_leaving(document, layer, lines, stores)
    return document


def _read_names(document: Document, layer: Layer, lines: dict[str, Any], known: Lookup[str, Any]) -> None:
    if "store" in lines and "stores" in lines:
        layer.problems.add("store and stores cannot be combined", layer.node.items["stores"][0])
    stores = (lines["store"],) if "store" in lines else lines.get("stores", ())
    written = dict.fromkeys(stores)
    repeated = Counter(stores) if len(written) < len(stores) else {}
    for name in written:
        if name not in known:
            place = layer.node.items["store" if "store" in lines else "stores"][1]
            layer.problems.add(f"unknown store {quoted(name)}", place, name_hint(name, known))
        if repeated.get(name, 0) > 1:
            layer.problems.add(f"stores: {quoted(name)} is listed twice", layer.node.items["stores"][1])
    if stores:
        document.stores = tuple(name for name in written if name in known)
    document.namespace = lines.get("namespace", document.namespace)


def _check_rights(document: Document, layer: Layer, lines: dict[str, Any], stores: Stores) -> None:
    """Note what one file of the document may not do to its targets. Each file is judged by the policy of the stores, not by
    the file below it: no order of layers is a way round."""
    for name in document.stores:
        if document.namespace is not None:
            denial = stores.authority.deny_target(layer.problems.file, Target(name, document.namespace))
            if denial is not None:
                field = "stores" if denial.field not in layer.node.items else denial.field
                _note(denial, "", _item(_node_at(layer.node, field), name), layer.problems)
        for denial in stores.authority.deny_policy(stores.configs[name].policy, lines.get("policy", {}), name):
            _note(denial, f"policy.{denial.field}", _node_at(layer.node, f"policy.{denial.field}"), layer.problems)


def _note(denial: Denial, what: str, node: Node, problems: Problems) -> None:
    problems.add(at(what, denial.message), node, denial.hint, Kind.NOT_ALLOWED)


def _node_at(node: Node, path: str) -> Node:
    """The node at a path of fields, or the last one on the way that is written."""
    for name in path.split("."):
        if not isinstance(node, Mapping) or name not in node.items:
            break
        node = node.items[name][1]
    return node


def _item(node: Node, text: str) -> Node:
    """The item of a list that says `text`; any other node itself."""
    items = node.items if isinstance(node, Sequence) else ()
    return next((item for item in items if isinstance(item, Scalar) and item.text == text), node)


def _require(layers: Several[Layer]) -> None:
    base = layers[0]
    given = {name for layer in layers for name in layer.node.items}
    if not given & {"store", "stores"}:
        base.problems.add(
            'missing field "store"',
            base.node,
            "add store with the name of a store in kvsync.yaml, or stores for several",
        )
    if "namespace" not in given:
        base.problems.add('missing field "namespace"', base.node, "add the namespace in the store")
    if not given & {"keys", "files", "absent", "moved"}:
        base.problems.add('missing field "keys"', base.node, "to delete all entries, write keys: {}")


def _read_entries(document: Document, layer: Layer, lines: dict[str, Any], above: Layer | None) -> None:
    given = Inherited(document.defaults, document.variables, max(len(document.stores), 1), layer.is_secret)
    reader = EntryReader(document.draft, given, layer.around, layer.problems)
    keys = lines.get("keys")
    if keys is not None:
        reader.read(keys.items, _replaced(above, keys))
    for index, item in enumerate(lines.get("files", ())):
        reader.read_files(item, f"files[{index}]")
    document.secrets += reader.secrets
    document.warnings += reader.warnings


def _replaced(above: Layer | None, keys: Mapping) -> frozenset[str]:
    """The keys that the overlay `above` replaces or removes. Takes the removals out of it, since they make no entry."""
    over = above.node.items.get("keys", (None, None))[1] if above is not None else None
    if above is None or not isinstance(over, Mapping):
        return frozenset()
    replaced = frozenset(over.items)
    for name, (key, node) in list(over.items.items()):
        if isinstance(node, Mapping) and "remove" in node.items:
            del over.items[name]
            _check_removal(key, node, keys, above.problems)
    return replaced


def _check_removal(key: Scalar, node: Mapping, keys: Mapping, problems: Problems) -> None:
    what = inside("keys", key.text)
    wanted = node.items["remove"][1]
    if len(node.items) > 1:
        problems.add(at(what, "remove cannot be combined with other fields"), node)
    elif not (isinstance(wanted, Scalar) and wanted.plain and wanted.text == "true"):
        problems.add(at(what, f"remove: expected true, found {found(wanted)}"), wanted)
    elif key.text not in keys.items:
        hint = name_hint(key.text, keys.items) if len(problems) < _FEW else None  # it costs more than all else
        problems.add(at(what, "there is no such key to remove"), key, hint)


def _read_leaving(document: Document, layer: Layer, lines: dict[str, Any], stores: Stores) -> None:
    for key, node in lines.get("absent", ()):
        document.absent.setdefault(key, layer.problems.origin(node))
    for index, (written, node) in enumerate(lines.get("moved", ())):
        placed, what = Placed(written, node), f"moved[{index}]"
        if not {"from", "to"} <= written.keys():
            continue
        if isinstance(written["from"], str):
            _read_move(document, layer, placed, what)
        elif "key" in written["from"]:
            _read_departures(document, layer, placed, what, stores)


def _read_move(document: Document, layer: Layer, placed: Placed, what: str) -> None:
    source, destination = placed.value["from"], placed.value["to"]
    if source == destination:
        layer.problems.add(at(what, f"{quoted(source)} is moved to itself"), placed.node)
    elif source in document.moved:
        layer.problems.add(at(what, f"{quoted(source)} is moved twice"), placed.node)
    else:
        document.moved[source] = Move(source, destination, layer.problems.origin(placed.node))


def _read_departures(document: Document, layer: Layer, placed: Placed, what: str, stores: Stores) -> None:
    """A move from another target, for each target of the document."""
    leaving, here = placed.value["from"], document.namespace
    name, node = leaving.get("store"), placed.node
    if name is not None and name not in stores.facts:
        layer.problems.add(at(what, f"unknown store {quoted(name)}"), node, name_hint(name, stores.facts))
        return
    if name is not None and len(document.stores) > 1:
        hint = "leave from.store out, or move the entry in a document of its own"
        layer.problems.add(at(what, "one entry cannot move to several stores"), node, hint)
        return
    for store in document.stores if here is not None else ():
        target = Target(name or store, leaving.get("namespace", here))
        to = Target(store, here or "")
        if target == to:
            _read_move(document, layer, Placed({"from": leaving["key"], "to": placed.value["to"]}, node), what)
            return
        denial = stores.authority.deny_target(layer.problems.file, target)
        if denial is not None:
            _note(denial, what, node, layer.problems)
            return
        move = Move(leaving["key"], placed.value["to"], layer.problems.origin(node), destination_target=to)
        document.departures.append(Departure(target, move))


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


def documents_of(nodes: Several[Node], problems: Problems) -> list[Mapping]:
    """The documents of a file that are mappings; the others are problems."""
    for node in nodes:
        if not isinstance(node, Mapping):
            problems.add(f"expected a document with store, namespace and keys, found {found(node)}", node)
    return [node for node in nodes if isinstance(node, Mapping)]
