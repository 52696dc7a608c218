"""Decoder of one document of a state file, merged with its overlay."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping as Lookup
from collections.abc import Sequence as Several
from typing import Any, Final

from kvsync.desired.document import Document, Layer
from kvsync.desired.entries import EntryReader, Inherited
from kvsync.desired.fields import DOCUMENT_FIELDS, merged, packed
from kvsync.desired.model import Stores
from kvsync.desired.moved_keys import note_denial, read_leaving
from kvsync.desired.templates import Variables, read_variables
from kvsync.errors import ErrorCode, Kind
from kvsync.model.entry import Target
from kvsync.yaml.fields import Problems, decode
from kvsync.yaml.nodes import Mapping, Node, Scalar, Sequence
from kvsync.yaml.problems import at, found, inside, name_hint, quoted

_FEW: Final = 10
"""Problems of a file up to which the nearest of its keys is looked for."""


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
        _check_namespace(document, layer, stores)
        _check_rights(document, layer, lines, stores)
    for layer, lines, above in zip(layers, written, [*layers[1:], None], strict=True):
        _read_entries(document, layer, lines, above)
        read_leaving(document, layer, lines, stores)
    return document


def _read_names(document: Document, layer: Layer, lines: dict[str, Any], known: Lookup[str, Any]) -> None:
    if "store" in lines and "stores" in lines:
        layer.problems.add("store and stores cannot be combined", layer.node.items["stores"][0], "keep one of them")
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


def _check_namespace(document: Document, layer: Layer, stores: Stores) -> None:
    """Note a namespace that a store cannot have."""
    if document.namespace is None or "namespace" not in layer.node.items:
        return
    node = layer.node.items["namespace"][1]
    for limits in (stores.facts[name].capabilities for name in document.stores):
        pattern = limits.namespace_pattern
        if pattern is not None and not re.fullmatch(pattern, document.namespace):
            message = f"namespace {quoted(document.namespace)} is not valid in {limits.type}"
            layer.problems.add(message, node, f"it must match {pattern}", Kind.STORE_LIMIT)


def _check_rights(document: Document, layer: Layer, lines: dict[str, Any], stores: Stores) -> None:
    """Note what one file of the document may not do to its targets. Each file is judged by the policy of the stores, not by
    the file below it: no order of layers is a way round."""
    for name in document.stores:
        if document.namespace is not None:
            denial = stores.authority.deny_target(layer.problems.file, Target(name, document.namespace))
            if denial is not None:
                field = "stores" if denial.field not in layer.node.items else denial.field
                note_denial(denial, "", _item(_node_at(layer.node, field), name), layer.problems)
        for denial in stores.authority.deny_policy(stores.configs[name].policy, lines.get("policy", {}), name):
            note_denial(
                denial, f"policy.{denial.field}", _node_at(layer.node, f"policy.{denial.field}"), layer.problems
            )


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
    missing = ErrorCode.MISSING_FIELD
    if not given & {"store", "stores"}:
        hint = "add store with the name of a store in kvsync.yaml, or stores for several"
        base.problems.add('missing field "store"', base.node, hint, detail=missing)
    if "namespace" not in given:
        base.problems.add('missing field "namespace"', base.node, "add the namespace in the store", detail=missing)
    if not given & {"keys", "files", "absent", "moved"}:
        base.problems.add('missing field "keys"', base.node, "to delete all entries, write keys: {}", detail=missing)


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
