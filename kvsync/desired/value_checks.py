"""Checks of the values of a document: those declared as JSON must be JSON and match the schemas for their keys."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice

from kvsync.config.schemas import SchemaRule
from kvsync.desired.document import Document
from kvsync.desired.rows import RowTemplate
from kvsync.desired.schemas import JsonSchema, Schemas
from kvsync.errors import Origin, Problem
from kvsync.model.canonical import canonical_json_text, is_json_type
from kvsync.util.json_schema import Mismatch, mismatches
from kvsync.yaml.nodes import Mapping, Node
from kvsync.yaml.nodes import Sequence as SequenceNode
from kvsync.yaml.problems import at, inside

_Row = tuple[str, str | None, bytes, int, int, int]


def check_values(document: Document, schemas: Schemas, most: int) -> Iterator[Problem]:
    """What is wrong with the values of a document, up to `most` problems."""
    yield from islice(_problems(document, schemas), most)


def _problems(document: Document, schemas: Schemas) -> Iterator[Problem]:
    draft = document.draft
    rules = list(_rules(document, schemas))
    doubtful = {
        number for number, shape in enumerate(draft.table) if is_json_type(shape.content_type) and not shape.json
    }
    if not rules and not doubtful:
        return
    for index, row in enumerate(draft.rows):
        shape = draft.table[row[3]]
        if row[3] in doubtful and canonical_json_text(row[2]) is None:
            message = f"content_type is {shape.content_type}, but the value is not JSON"
            yield Problem(
                at(inside("keys", row[0]), message), _place(row, shape), "correct the value, or remove content_type"
            )
        else:
            yield from _mismatches(row, shape, draft.nodes.get(index), rules)


def _rules(document: Document, schemas: Schemas) -> Iterator[tuple[SchemaRule, JsonSchema]]:
    """The rules for any of the targets of a document, each once."""
    namespace = document.namespace or ""
    found = [item for store in document.stores for item in schemas.covering(store, namespace)]
    yield from {id(item[0]): item for item in found}.values()


def _mismatches(
    row: _Row, shape: RowTemplate, node: Node | None, rules: Sequence[tuple[SchemaRule, JsonSchema]]
) -> Iterator[Problem]:
    for rule, schema in rules:
        if not rule.checks(row[0]):
            continue
        yield from schema.problems
        if schema.validator is not None:
            for mismatch in mismatches(schema.validator, row[2]):
                yield _problem(row, shape, node, mismatch, schema.file)


def _problem(row: _Row, shape: RowTemplate, node: Node | None, mismatch: Mismatch, file: str) -> Problem:
    what, place = inside("keys", row[0]), _place(row, shape)
    if shape.sensitive:  # the names of members may be part of the secret
        message = f"the value does not match the schema ({mismatch.keyword or 'not JSON'})"
        return Problem(at(what, message), place, f"see {file}")
    if node is not None:
        found = _written_at(node, mismatch)
        place = Origin(shape.file, found.line, found.column)
    for part in mismatch.path:
        what = f"{what}[{part}]" if isinstance(part, int) else inside(what, part)
    return Problem(at(what, mismatch.message), place, f"see {file}")


def _place(row: _Row, shape: RowTemplate) -> Origin:
    return Origin(shape.file, row[4], row[5])


def _written_at(node: Node, mismatch: Mismatch) -> Node:
    """The node in a value that does not match, or the last one on the way that is written."""
    steps = len(mismatch.path)
    for step, part in enumerate(mismatch.path, start=1):
        if isinstance(node, Mapping) and part in node.items:
            key, value = node.items[str(part)]
            node = key if mismatch.is_name and step == steps else value
        elif isinstance(node, SequenceNode) and isinstance(part, int) and part < len(node.items):
            node = node.items[part]
        else:
            break
    return node
