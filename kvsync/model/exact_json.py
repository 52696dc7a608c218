"""JSON by value: numbers keep every digit, and each value has one text.

`1`, `1.0` and `1e0` are one number, and so are `-0.0` and `0`. Integers and decimals of any length stay exact, where Python's
own reader would round them to a float.
"""

from __future__ import annotations

import json
from typing import Any, Final

from kvsync.util.patterns import lazy_pattern
from kvsync.util.values import dataclass

_NUMBER: Final = lazy_pattern(r"(-?)([0-9]+)(?:\.([0-9]*))?(?:[eE]([-+]?[0-9]+))?")
_FRACTION: Final = lazy_pattern(r"[0-9][.eE]")
_MOST_ZEROS: Final = 400
"""Zeros that are written out at the end of an integer: every float has fewer."""

_MOST_LEADING_ZEROS: Final = 6
"""Zeros that are written out after the decimal point, as JavaScript does."""


@dataclass(frozen=True, slots=True)
class ExactNumber:
    """A number that no int of a common size and no float represents. `text` is its canonical text."""

    text: str


def number(literal: str) -> int | float | ExactNumber:
    """The number that a JSON literal says, exactly. Raises ValueError for an exponent of thousands of digits."""
    text = _canonical_number(literal)
    if text.lstrip("-").isdigit():
        return int(text) if len(text) < _MOST_ZEROS else ExactNumber(text)
    value = float(text)
    return value if repr(value) == text else ExactNumber(text)


def read_json(text: str) -> Any:
    """Read JSON with exact numbers. Raises ValueError for what is not JSON (infinities and NaN neither), RecursionError."""
    try:
        return _decode(text)
    except json.JSONDecodeError:
        raise
    except ValueError:  # an integer with more digits than Python converts
        return _decode_long(text)


def write_json(data: Any) -> str:
    """The canonical text of what `read_json` gave: sorted members, no spaces, non-ASCII characters as they are. Raises
    ValueError for infinities and NaN, RecursionError."""
    try:
        return _encode(data)
    except TypeError:
        return _exact_text(data)


def has_fractions(text: str) -> bool:
    """True when a JSON text may hold a number that is not written as an integer."""
    return _FRACTION.search(text) is not None


def _canonical_number(literal: str) -> str:
    match = _NUMBER.fullmatch(literal)
    assert match is not None
    sign, whole, fraction, exponent = match.groups(default="")
    digits = (whole + fraction).lstrip("0")
    power = int(exponent or 0) - len(fraction) + len(digits) - len(digits.rstrip("0"))
    digits = digits.rstrip("0")
    if not digits:
        return "0"
    point = len(digits) + power
    if power >= 0 and power <= _MOST_ZEROS:
        return sign + digits + "0" * power
    if power < 0 < point:
        return f"{sign}{digits[:point]}.{digits[point:]}"
    if power < 0 and point > -_MOST_LEADING_ZEROS:
        return f"{sign}0.{'0' * -point}{digits}"
    return f"{sign}{digits[0]}{'.' if digits[1:] else ''}{digits[1:]}e{point - 1}"


def _refuse_constant(name: str) -> Any:
    raise json.JSONDecodeError(f"{name} is not JSON", name, 0)


def _exact_text(data: Any) -> str:
    if isinstance(data, ExactNumber):
        return data.text
    if isinstance(data, dict):
        return "{" + ",".join(f"{_encode(name)}:{_exact_text(data[name])}" for name in sorted(data)) + "}"
    if isinstance(data, list):
        return "[" + ",".join(map(_exact_text, data)) + "]"
    return _encode(data)


_encode: Final = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode
_decode: Final = json.JSONDecoder(parse_float=number, parse_constant=_refuse_constant).decode
_decode_long: Final = json.JSONDecoder(parse_float=number, parse_int=number, parse_constant=_refuse_constant).decode
