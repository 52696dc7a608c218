"""Reader of any YAML file over libyaml's events: keeps positions, resolves nothing, and rejects alias bombs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NoReturn

from yaml import YAMLError
from yaml.cyaml import CBaseLoader  # `yaml` hides why it could not be loaded
from yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    StreamEndEvent,
)

from kvsync.errors import ErrorCode
from kvsync.yaml.encoding import place
from kvsync.yaml.nodes import Mapping, Node, Scalar, Sequence
from kvsync.yaml.parsed import DEFAULT_LIMITS, Parsed, ParseLimits
from kvsync.yaml.problems import Problems, TooManyProblemsError, quoted
from kvsync.yaml.substitution import substituted
from kvsync.yaml.syntax import explain


def read_events(data: bytes, problems: Problems, limits: ParseLimits = DEFAULT_LIMITS) -> Parsed:
    """Read `data`, whose encoding is known to be good, over libyaml's events. Never raises."""
    builder = _Builder(data, problems, limits)
    complete = True
    try:
        builder.build()
    except (_StopError, TooManyProblemsError):
        complete = False
    except YAMLError as error:
        complete = False
        explain(error, data, problems)
    return Parsed(tuple(builder.documents), problems.all(), complete)


def _events(data: bytes) -> Callable[[], Any]:
    following: Callable[[], Any] = CBaseLoader(data).get_event
    return following


class _StopError(Exception):
    """Reading on makes no sense; the problem is noted."""


class _Builder:
    """Builds nodes from events by plain recursion, which the depth limit bounds."""

    def __init__(self, data: bytes, problems: Problems, limits: ParseLimits) -> None:
        self.documents: list[Node] = []
        self._next = substituted(data, _events)
        self._problems, self._limits = problems, limits
        self._anchors: dict[str, Node] = {}
        self._weights: dict[int, tuple[int, int]] = {}
        self._replayed = 0

    def build(self) -> None:
        """Read the whole stream into `documents`. Raises YAMLError and _StopError."""
        while (event := self._next()).__class__ is not StreamEndEvent:
            if event.__class__ is DocumentStartEvent:
                self._anchors.clear()
                self._weights.clear()
                if len(self.documents) >= self._limits.documents:
                    most = f"more than {self._limits.documents:,} documents"
                    self._stop(most, event, "split the file, or raise limits.documents")
                self._document(self._next())

    def _document(self, event: Any) -> None:
        mark = event.start_mark
        if event.__class__ is MappingStartEvent:
            mapping = Mapping({}, mark.line + 1, mark.column + 1)
            self.documents.append(mapping)  # before it is filled, so that an error leaves what was read
            self._check_properties(event)
            self._fill(mapping, 1)
        else:
            self.documents.append(self._node(event, 0))

    def _node(self, event: Any, depth: int) -> Node:
        mark = event.start_mark
        if event.__class__ is ScalarEvent:
            node: Node = Scalar(event.value, not event.style, mark.line + 1, mark.column + 1)
        elif event.__class__ is AliasEvent:
            return self._alias(event, depth)
        else:
            if depth >= self._limits.depth:
                self._stop(f"nested deeper than {self._limits.depth} levels", event)
            node = self._collection(event, mark.line + 1, mark.column + 1, depth + 1)
        if event.tag is not None:
            self._check_properties(event)
        if event.anchor is not None:
            self._anchors[event.anchor] = node
            self._weights[id(node)] = self._expanded_size(node)
        return node

    def _collection(self, event: Any, line: int, column: int, depth: int) -> Node:
        if event.__class__ is MappingStartEvent:
            mapping = Mapping({}, line, column)
            self._fill(mapping, depth)
            return mapping
        items: list[Node] = []
        while (item := self._next()).__class__ is not SequenceEndEvent:
            items.append(self._node(item, depth))
        return Sequence(items, line, column)

    def _fill(self, mapping: Mapping, depth: int) -> None:
        # The hot loop: nearly all of a state file is scalar keys with scalar values, built here without a call of _node.
        items, following, merged = mapping.items, self._next, None
        event: Any
        mark: Any
        while (event := following()).__class__ is not MappingEndEvent:
            mark = event.start_mark
            if event.__class__ is ScalarEvent and event.anchor is None and event.tag is None:
                key: Node = Scalar(event.value, not event.style, mark.line + 1, mark.column + 1)
            else:
                key = self._node(event, depth)
            event = following()
            if event.__class__ is ScalarEvent and event.anchor is None and event.tag is None:
                mark = event.start_mark
                value: Node = Scalar(event.value, not event.style, mark.line + 1, mark.column + 1)
            else:
                value = self._node(event, depth)
            if not isinstance(key, Scalar):
                self._problems.add("a key must be text, not a list or a mapping", key)
            elif key.plain and key.text in _SPECIAL_KEYS:
                merged = self._special(key, value, merged)
            elif key.text in items:
                self._duplicate(key, items[key.text][0])
            else:
                items[key.text] = (key, value)
        if merged is not None:
            self._merge(merged, items)

    def _special(self, key: Scalar, value: Node, merged: tuple[Scalar, Node] | None) -> tuple[Scalar, Node] | None:
        if key.text != "<<":
            self._problems.add("a key must not be null", key, 'to use it as text, quote it: "null"')
        elif merged is not None:
            self._duplicate(key, merged[0])
        else:
            return key, value
        return merged

    def _duplicate(self, key: Scalar, first: Scalar) -> None:
        message = f"duplicate key {quoted(key.text)}, first written at {first.line}:{first.column}"
        self._problems.add(message, key, detail=ErrorCode.DUPLICATE_KEY)

    def _merge(self, merge: tuple[Scalar, Node], items: dict[str, tuple[Scalar, Node]]) -> None:
        key, value = merge
        for source in value.items if isinstance(value, Sequence) else [value]:
            if not isinstance(source, Mapping):
                self._problems.add("a merge key needs a mapping or a list of mappings", key, "such as <<: *defaults")
                continue
            self._replay(len(source.items), key)
            for name, item in source.items.items():
                items.setdefault(name, item)

    def _alias(self, event: Any, depth: int) -> Node:
        node = self._anchors.get(event.anchor)
        if node is None:
            self._stop(f"the alias *{event.anchor} has no anchor before it", event)
        size, height = self._weights[id(node)]
        self._replay(size, event)
        if depth + height > self._limits.depth:
            self._stop(f"nested deeper than {self._limits.depth} levels, because of an alias", event)
        return node

    def _replay(self, size: int, at: Any) -> None:
        self._replayed += size
        if self._replayed > self._limits.replay:
            self._stop(
                f"aliases expand to more than {self._limits.replay:,} values", at, "write the values without aliases"
            )

    def _expanded_size(self, node: Node) -> tuple[int, int]:
        """How many nodes an anchored one represents, and how deep it is, aliases in it expanded."""
        known = self._weights.get(id(node))
        if known is not None:
            return known
        if isinstance(node, Mapping):
            parts = [self._expanded_size(value) for _, value in node.items.values()]
        elif isinstance(node, Sequence):
            parts = [self._expanded_size(item) for item in node.items]
        else:
            return 1, 0
        return 1 + sum(size for size, _ in parts), 1 + max((height for _, height in parts), default=0)

    def _check_properties(self, event: Any) -> None:
        if event.tag is not None:
            self._problems.add(
                f"explicit tag {quoted(event.tag)}",
                _place(event),
                "YAML tags are not supported; quote text, use json: for other types",
            )

    def _stop(self, message: str, at: Any, hint: str | None = None) -> NoReturn:
        self._problems.add(message, at if isinstance(at, Node) else _place(at), hint)
        raise _StopError


_SPECIAL_KEYS: Final = frozenset({"<<", "", "~", "null", "Null", "NULL"})


def _place(event: Any) -> Scalar:
    return place(event.start_mark.line, event.start_mark.column)
