"""JSON values in YAML, with the types of the YAML 1.2 core schema."""

from __future__ import annotations

import math
import re
from typing import Any, Final

from kvsync.model.exact_json import ExactNumber, number
from kvsync.util.patterns import lazy_pattern
from kvsync.util.values import dataclass
from kvsync.yaml.decoders import INVALID, Decoder, Schema
from kvsync.yaml.nodes import Mapping, Node, Scalar, Sequence
from kvsync.yaml.problems import Problems, at, inside

_WORDS: Final[dict[str, Any]] = {
    "true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False,
    "null": None, "Null": None, "NULL": None, "~": None, "": None,
}  # fmt: skip
_BASES: Final = {"0x": 16, "0o": 8}
_INTEGER: Final = lazy_pattern(r"[-+]?[0-9]+")
_BASED: Final = lazy_pattern(r"0x[0-9a-fA-F]+|0o[0-7]+")
_FLOAT: Final = lazy_pattern(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_NO_NUMBER: Final = lazy_pattern(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_MOST_DIGITS: Final = 4000  # decimal ones; Python refuses to read or write longer numbers
_TOO_LARGE: Final = 10**_MOST_DIGITS


@dataclass(frozen=True, slots=True)
class JsonDecoder(Decoder):
    """Reads any node as JSON. Messages never repeat what is written: it may be a value that nobody may see."""

    expected: str = "JSON"

    def accepts(self, node: Node) -> bool:
        """True for everything."""
        return True

    def decode(self, node: Node, problems: Problems, what: str) -> Any:
        """dict, list, str, int, float, ExactNumber, bool or None; INVALID with problems noted. Nulls are allowed inside,
        not alone."""
        if isinstance(node, Scalar) and node.is_null:
            return self.refuse(
                node, problems, what, "write the JSON value here; null is allowed inside it, but not as the whole value"
            )
        try:
            return _quick(node)
        except ValueError:
            pass  # once more, with a path for each mistake
        before = len(problems)
        value = _value(node, problems, what)
        return value if len(problems) == before else INVALID

    def schema(self) -> Schema:
        """The same rules as JSON Schema."""
        return {"not": {"type": "null"}}


def free_json() -> Decoder:
    """Any JSON, by the types of YAML 1.2's core schema; what is quoted is text."""
    return JsonDecoder()


def _quick(node: Node) -> Any:
    """The value when all is well, which is nearly always. Raises ValueError."""
    if isinstance(node, Scalar):
        return _plain(node.text) if node.plain else node.text
    if isinstance(node, Mapping):
        return {name: _quick(member) for name, (_, member) in node.items.items()}
    assert isinstance(node, Sequence)
    return [_quick(item) for item in node.items]


def _value(node: Node, problems: Problems, what: str) -> Any:
    if isinstance(node, Mapping):
        return {name: _value(member, problems, inside(what, name)) for name, (_, member) in node.items.items()}
    if isinstance(node, Sequence):
        return [_value(item, problems, f"{what}[{index}]") for index, item in enumerate(node.items)]
    assert isinstance(node, Scalar)
    try:
        return node.text if not node.plain else _plain(node.text)
    except ValueError as error:
        problems.add(at(what, str(error)), node, "to store it as text, quote it")
        return None


def _plain(text: str) -> Any:
    if text in _WORDS:
        return _WORDS[text]
    if text[0] not in "0123456789+-.":
        return text
    if _INTEGER.fullmatch(text):
        return _integer(text, 10)
    if _BASED.fullmatch(text):
        return _integer(text, _BASES[text[:2]])
    if _NO_NUMBER.fullmatch(text):
        raise ValueError("JSON does not support infinity and NaN")
    return _float(text) if _FLOAT.fullmatch(text) else text


def _integer(text: str, base: int) -> int:
    if len(text) > _MOST_DIGITS or (base != 10 and int(text, base) >= _TOO_LARGE):
        raise ValueError(f"a number of more than {_MOST_DIGITS} digits")
    return int(text, base)


def _float(text: str) -> int | float | ExactNumber:
    if len(text) > _MOST_DIGITS:
        raise ValueError(f"a number of more than {_MOST_DIGITS} digits")
    if math.isinf(float(text)):
        raise ValueError("a number too large for JSON")
    return number(re.sub(r"^([-+]?)(?=\.)", r"\g<1>0", text).removeprefix("+"))
