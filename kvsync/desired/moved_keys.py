"""Decoder of `absent` and `moved`: the keys that leave a target."""

from __future__ import annotations

from typing import Any

from kvsync.config.authority import Denial
from kvsync.desired.document import Document, IncomingMove, Layer
from kvsync.desired.field_decoders import Placed
from kvsync.desired.model import Stores
from kvsync.errors import Kind
from kvsync.model.desired import Move
from kvsync.model.entry import Target
from kvsync.yaml.fields import Problems
from kvsync.yaml.nodes import Node
from kvsync.yaml.problems import at, name_hint, quoted


def read_leaving(document: Document, layer: Layer, lines: dict[str, Any], stores: Stores) -> None:
    """Note the keys of one layer that must not exist, and those that move. What is wrong is noted in its problems."""
    for key, node in lines.get("absent", ()):
        document.absent.setdefault(key, layer.problems.origin(node))
    for index, (written, node) in enumerate(lines.get("moved", ())):
        placed, what = Placed(written, node), f"moved[{index}]"
        if not {"from", "to"} <= written.keys():
            continue
        if isinstance(written["from"], str):
            _read_move(document, layer, placed, what)
        elif "key" in written["from"]:
            _read_incoming_moves(document, layer, placed, what, stores)


def _read_move(document: Document, layer: Layer, placed: Placed, what: str) -> None:
    source, destination = placed.value["from"], placed.value["to"]
    if source == destination:
        layer.problems.add(at(what, f"{quoted(source)} is moved to itself"), placed.node, "remove the move")
    elif source in document.moved:
        layer.problems.add(at(what, f"{quoted(source)} is moved twice"), placed.node, "remove one of the two moves")
    else:
        document.moved[source] = Move(source, destination, layer.problems.origin(placed.node))


def _read_incoming_moves(document: Document, layer: Layer, placed: Placed, what: str, stores: Stores) -> None:
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
            note_denial(denial, what, node, layer.problems)
            return
        move = Move(leaving["key"], placed.value["to"], layer.problems.origin(node), destination_target=to)
        document.incoming_moves.append(IncomingMove(target, move))


def note_denial(denial: Denial, what: str, node: Node, problems: Problems) -> None:
    """Note what a file may not do, at the node that asks for it."""
    problems.add(at(what, denial.message), node, denial.hint, Kind.NOT_ALLOWED)
