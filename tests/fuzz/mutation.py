"""Inputs: seeds with pieces cut, copied, exchanged and replaced by words of the format."""

from __future__ import annotations

import json
from collections.abc import Sequence
from random import Random
from typing import Any

from hypothesis import strategies as st

from tests.fuzz.targets import Target

_ODD = (
    *(b"\x00", b"\xff", b"\xed\xa0\x80", b"\xe2\x80\xae", b"\xf0\x9f\x98\x80", b"\\ud800"),
    *(b"\n", b"\t", b" ", b"'", b'"', b"9" * 400),
)
_NUMBERS = (None, True, False, 0, -1, 1.5, 1e300, float("inf"), float("nan"), 2**63, 10**400)
_TEXTS = (
    "",
    "9" * 400,
    "\ud800",
    "\u0662",
    "a\nb",
    "kvsync",
    "\u202e",
    "2026-12-24T00:00:00Z",
    "AAAA",
    "=",
    "-",
    "\0",
    "{}",
)
_COLLECTIONS: tuple[Any, ...] = (
    [],
    {},
    [None],
    {"": None},
    [[]] * 3,
    {"a": {"b": {}}},
    json.loads("[" * 200 + "]" * 200),
)
_VALUES: tuple[Any, ...] = _NUMBERS + _TEXTS + _COLLECTIONS
"""What may stand anywhere in JSON."""

_DEEP = 300


def mutated(target: Target, random: Random) -> bytes:
    """A seed of a target, varied."""
    return varied(random.choice(target.seeds), target, random)


def varied(data: bytes, target: Target, random: Random) -> bytes:
    """Data with some changes, chosen by `random`: in its bytes, or, where it is JSON, in its values."""
    if random.random() < 0.5 and (document := _document(data)) is not None:
        for _ in range(random.choice((1, 1, 2, 3))):
            document = _exchanged(document, random)
        return json.dumps(document).encode()
    for _ in range(random.choice((1, 1, 2, 3, 8))):
        data = _changed(data, target, random)
    return data[:100_000]


def _document(data: bytes) -> Any:
    """The JSON in data; None where it is not JSON, or nested so deep that with a bit more Python could not write it."""
    try:
        return json.loads(data) if data.count(b"[") + data.count(b"{") < _DEEP else None
    except (ValueError, RecursionError):
        return None


def _exchanged(data: Any, random: Random) -> Any:
    """JSON data with one value, or one name, exchanged."""
    if isinstance(data, dict) and data and random.random() < 0.9:
        name = random.choice(list(data))
        if random.random() < 0.1:
            return {
                **{other: value for other, value in data.items() if other != name},
                random.choice(list(data)) + "x": data[name],
            }
        if random.random() < 0.1:
            return {other: value for other, value in data.items() if other != name}
        return {**data, name: _exchanged(data[name], random)}
    if isinstance(data, list) and data and random.random() < 0.9:
        at = random.randrange(len(data))
        return [*data[:at], _exchanged(data[at], random), *data[at + random.choice((0, 1, 1)) :]]
    return random.choice(_VALUES)


def _changed(data: bytes, target: Target, random: Random) -> bytes:
    start = random.randint(0, len(data))
    end = min(len(data), start + random.choice((0, 1, 1, 2, 8, 40)))
    piece: Sequence[int]
    match random.randint(0, 5):
        case 0:
            piece = b""
        case 1:
            piece = random.choice((*target.words, *_ODD))
        case 2:
            other = random.choice(target.seeds)
            at = random.randint(0, len(other))
            piece = other[at : at + random.choice((1, 8, 60))]
        case 3:
            piece = data[start:end] * random.choice((2, 3, 50))
        case 4:
            piece = random.randbytes(random.choice((1, 2, 4)))
        case _:
            piece = bytes(byte ^ (1 << random.randint(0, 7)) for byte in data[start:end])
    return data[:start] + bytes(piece) + data[end:]


def inputs(target: Target) -> st.SearchStrategy[bytes]:
    """The same for hypothesis, which finds the smallest one."""
    return st.integers(0, 2**64 - 1).map(lambda seed: mutated(target, Random(seed))) | st.binary(max_size=60)
