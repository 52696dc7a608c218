"""Decoders for mappings, lists and text. See `kvsync.yaml.quantities` for numbers and times.

A decoder turns a node into a value, and notes a problem when it cannot. It also describes itself as JSON Schema, so that
what is decoded and what an editor checks come from one place.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable
from enum import StrEnum
from typing import Any, Final

from kvsync.errors import ErrorCode
from kvsync.util.values import dataclass
from kvsync.yaml.nodes import Mapping, Node, Scalar, Sequence
from kvsync.yaml.problems import Problems, at, found, inside, nearest

Schema = dict[str, Any]

INVALID: Final[Any] = type("_Invalid", (), {"__repr__": lambda _: "INVALID", "__bool__": lambda _: False})()
"""What `Decoder.decode` returns once it has noted a problem."""

_LONGEST_PATTERN: Final = 1_000
_UNCLOSED: Final = re.compile(r"\[(?!!?+(?:\][^\]]*|[^\]]+)\])")
_AS_WRITTEN: Final = [
    "string",
    "number",
    "boolean",
]  # unquoted, `1.10` and `true` are text too, wherever text is expected


class Decoder(ABC):
    """Turns one node into one value. `expected` names what stands here when all is well: "a duration such as 30s"."""

    __slots__ = ()
    expected: str

    @abstractmethod
    def accepts(self, node: Node) -> bool:
        """True when the node has the shape that this decoder reads: scalar, list or mapping."""

    @abstractmethod
    def decode(self, node: Node, problems: Problems, what: str) -> Any:
        """The value of `node`, or INVALID with a problem noted. `what` is the path of the field, for the message."""

    @abstractmethod
    def schema(self) -> Schema:
        """The same rules as JSON Schema 2020-12."""

    def refuse(self, node: Node, problems: Problems, what: str, hint: str | None = None) -> Any:
        """Note that something else was expected here; returns INVALID."""
        message = at(what, f"expected {self.expected}, found {found(node)}")
        problems.add(message, node, hint, detail=ErrorCode.UNEXPECTED_VALUE)
        return INVALID


@dataclass(frozen=True, slots=True)
class ScalarDecoder(Decoder):
    """Reads a scalar. `read(text, plain)` gives the value, where `plain` is false between quotes, or raises ValueError with a
    hint for people (or with nothing). With `private`, messages never repeat what is written."""

    expected: str
    read: Callable[[str, bool], Any]
    rules: Schema
    private: bool = False

    def accepts(self, node: Node) -> bool:
        """True for every scalar but null."""
        return isinstance(node, Scalar) and not node.is_null

    def decode(self, node: Node, problems: Problems, what: str) -> Any:
        """The value, or INVALID with a problem noted."""
        if not isinstance(node, Scalar) or node.is_null:
            return self.refuse(node, problems, what)
        text = problems.text_of(node, what, private=self.private)
        if text is None:
            return INVALID
        try:
            return self.read(text, node.plain)
        except ValueError as error:
            hint = str(error) or None
        if not self.private:
            return self.refuse(node, problems, what, hint)
        problems.add(at(what, f"expected {self.expected}"), node, hint, detail=ErrorCode.UNEXPECTED_VALUE)
        return INVALID

    def schema(self) -> Schema:
        """The same rules as JSON Schema."""
        return dict(self.rules)


@dataclass(frozen=True, slots=True)
class ListDecoder(Decoder):
    """Reads a list into a tuple; items with problems are left out."""

    item: Decoder
    least: int = 0

    @property
    def expected(self) -> str:  # type: ignore[override]  # derived, where the others store it
        """A list, of what."""
        return f"a list, each item {self.item.expected}"

    def accepts(self, node: Node) -> bool:
        """True for lists."""
        return isinstance(node, Sequence)

    def decode(self, node: Node, problems: Problems, what: str) -> Any:
        """A tuple, or INVALID with a problem noted."""
        if not isinstance(node, Sequence):
            return self.refuse(node, problems, what)
        if len(node.items) < self.least:
            problems.add(at(what, f"expected at least {self.least} of: {self.item.expected}"), node)
        values = (self.item.decode(item, problems, f"{what}[{index}]") for index, item in enumerate(node.items))
        return tuple(value for value in values if value is not INVALID)

    def schema(self) -> Schema:
        """The same rules as JSON Schema."""
        least = {"minItems": self.least} if self.least else {}
        return {"type": "array", "items": self.item.schema(), **least}


@dataclass(frozen=True, slots=True)
class MapDecoder(Decoder):
    """Reads a mapping with free names into a dict; `name` is what each name must match, members with problems are left out."""

    member: Decoder
    name: str | None = None

    @property
    def expected(self) -> str:  # type: ignore[override]  # derived, where the others store it
        """A mapping, to what."""
        return f"a mapping, each value {self.member.expected}"

    def accepts(self, node: Node) -> bool:
        """True for mappings."""
        return isinstance(node, Mapping)

    def decode(self, node: Node, problems: Problems, what: str) -> Any:
        """A dict, or INVALID with a problem noted."""
        if not isinstance(node, Mapping):
            return self.refuse(node, problems, what)
        values = {}
        for name, (key, member) in node.items.items():
            if self.name and not re.fullmatch(self.name, name):
                problems.add(at(what, f"the name {found(key)} does not match {self.name}"), key)
            values[name] = self.member.decode(member, problems, inside(what, name))
        return {name: value for name, value in values.items() if value is not INVALID}

    def schema(self) -> Schema:
        """The same rules as JSON Schema."""
        names = {"propertyNames": {"pattern": f"^(?:{self.name})$"}} if self.name else {}
        return {"type": "object", "additionalProperties": self.member.schema(), **names}


@dataclass(frozen=True, slots=True)
class UnionDecoder(Decoder):
    """Decodes with the first of `decoders` that accepts the shape of the value."""

    decoders: tuple[Decoder, ...]

    @property
    def expected(self) -> str:  # type: ignore[override]  # derived, where the others store it
        """One or the other."""
        return ", or ".join(decoder.expected for decoder in self.decoders)

    def accepts(self, node: Node) -> bool:
        """True when any of the decoders accepts."""
        return any(decoder.accepts(node) for decoder in self.decoders)

    def decode(self, node: Node, problems: Problems, what: str) -> Any:
        """The value, or INVALID with a problem noted."""
        for decoder in self.decoders:
            if decoder.accepts(node):
                return decoder.decode(node, problems, what)
        return self.refuse(node, problems, what)

    def schema(self) -> Schema:
        """The same rules as JSON Schema."""
        return {"anyOf": [decoder.schema() for decoder in self.decoders]}


def list_of(item: Decoder, least: int = 0) -> Decoder:
    """A list of at least `least` items; gives a tuple."""
    return ListDecoder(item, least)


def map_of(member: Decoder, name: str | None = None) -> Decoder:
    """A mapping from any names to `member`; gives a dict. `name` is a regular expression that must match each whole name."""
    return MapDecoder(member, name)


def one_of(*decoders: Decoder) -> Decoder:
    """Any of several forms, such as a scalar or a list, or a word or a mapping."""
    return UnionDecoder(decoders)


def text(pattern: str | None = None, meaning: str = "text", *, empty: bool = False, private: bool = False) -> Decoder:
    """Text exactly as written, including numbers (`1.10` stays `1.10`). `pattern` must match the whole text, `meaning` says
    what is expected, and `private` keeps the text out of messages."""

    def read(written: str, _plain: bool) -> str:
        if not written and not empty:
            raise ValueError("must not be empty")
        if pattern and not re.fullmatch(pattern, written):
            raise ValueError
        return written

    rules: Schema = {"type": _AS_WRITTEN}
    if pattern:
        rules["pattern"] = f"^(?:{pattern})$"
    elif not empty:
        rules["minLength"] = 1
    return ScalarDecoder(meaning, read, rules, private)


def boolean() -> Decoder:
    """`true` or `false`; gives a bool."""
    alike = {"yes": "true", "on": "true", "true": "true", "no": "false", "off": "false", "false": "false"}

    def read(written: str, plain: bool) -> bool:
        if plain and written in ("true", "false"):
            return written == "true"
        meant = alike.get(written.lower())
        raise ValueError(f"write {meant}" if meant else "")

    return ScalarDecoder("true or false", read, {"type": "boolean"})


def choice(words: type[StrEnum]) -> Decoder:
    """One of a fixed set of words; gives the member of the enum."""

    def read(written: str, _plain: bool) -> StrEnum:
        if written in set(words):
            return words(written)
        close = nearest(written, words)
        raise ValueError(f'did you mean "{close}"?' if close else "")

    return ScalarDecoder(f"one of {', '.join(words)}", read, {"enum": [str(word) for word in words]})


def path() -> Decoder:
    """The path of a file or folder, as text; the code that uses it decides what it is relative to."""
    return text(r"[^\0]+", "a path")


def glob() -> Decoder:
    """A pattern with `*`, `?` and `[…]`, as text."""

    def read(written: str, _plain: bool) -> str:
        if not written:
            raise ValueError("must not be empty")
        if len(written) > _LONGEST_PATTERN:
            raise ValueError(f"at most {_LONGEST_PATTERN:,} characters are allowed")
        if _UNCLOSED.search(written):
            raise ValueError("unclosed [; to match the character [ itself, write [[]")
        return written

    return ScalarDecoder("a pattern such as web/*", read, {"type": _AS_WRITTEN, "minLength": 1})
