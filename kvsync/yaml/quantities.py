"""Decoders for numbers, percentages, durations, sizes and timestamps."""

from __future__ import annotations

import math
import re
from datetime import datetime
from typing import Final

from kvsync.rendering.words import duration as in_words
from kvsync.yaml.decoders import Decoder, ScalarDecoder, Schema

_UNITS: Final = {"w": 604800.0, "d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_WHOLE_UNITS: Final = ("w", "d", "h", "m", "s")
_SIZES: Final = {"B": 1, "kB": 1000, "KB": 1000, "MB": 1000**2, "GB": 1000**3, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
_SIZE: Final = f"([0-9]{{1,12}}) ?({'|'.join(_SIZES)})"
_MOMENT: Final = (
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})[Tt ]([0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,9})?)([Zz]|[-+][0-9]{2}:[0-9]{2})"
)
_FIRST: Final = -62135596800  # 0001-01-01T00:00:00Z
_LAST: Final = 253402300799  # 9999-12-31T23:59:59Z


def integer(minimum: int | None = None, maximum: int | None = None) -> Decoder:
    """A whole decimal number without quotes; gives an int."""

    def read(text: str, plain: bool) -> int:
        if not plain or not re.fullmatch(r"[-+]?[0-9]{1,18}", text):
            raise ValueError
        return round(_within(int(text), minimum, maximum))

    return ScalarDecoder(f"a whole number{_range(minimum, maximum)}", read, _rules("integer", minimum, maximum))


def number(minimum: float | None = None, maximum: float | None = None) -> Decoder:
    """A number without quotes; gives a float."""

    def read(text: str, plain: bool) -> float:
        if not plain or not re.fullmatch(r"[-+]?[0-9]{1,18}(\.[0-9]*)?", text):
            raise ValueError
        return _within(float(text), minimum, maximum)

    return ScalarDecoder(f"a number{_range(minimum, maximum)}", read, _rules("number", minimum, maximum))


def percentage() -> Decoder:
    """A number from 0 to 100, optionally followed by `%`; gives a float."""

    def read(text: str, plain: bool) -> float:
        if not re.fullmatch(r"[0-9]{1,3}(\.[0-9]+)?%?", text) or not (plain or text.endswith("%")):
            raise ValueError
        return _within(float(text.removesuffix("%")), 0, 100)

    marked = {"type": "string", "pattern": r"^(100(\.0+)?|[0-9]{1,2}(\.[0-9]+)?)%$"}
    return ScalarDecoder("a percentage from 0 to 100", read, {"anyOf": [_rules("number", 0, 100), marked]})


def duration(*, whole: bool = False, minimum: float = 0, maximum: float | None = None) -> Decoder:
    """A duration with units, largest first, such as `300ms`, `30s`, `7d` or `1h30m`. Gives seconds: a float, or with `whole` an
    int (and no fractions). `minimum` and `maximum` are in seconds."""
    pattern = _duration_pattern(whole)
    limits = [f"at least {minimum:g}s"] if minimum else []
    limits += [f"at most {in_words(round(maximum))}"] if maximum is not None else []

    def read(text: str, _plain: bool) -> float:
        seconds = _seconds(text, pattern)
        if seconds is None:
            raise ValueError(_duration_hint(text, whole))
        _within(seconds, minimum, maximum)
        return round(seconds) if whole else round(seconds, 6)

    expected = "a duration such as 30s, 5m or 1h30m" + (", " + " and ".join(limits) if limits else "")
    return ScalarDecoder(expected, read, {"type": "string", "pattern": f"^{pattern}$"})


def size() -> Decoder:
    """A number of bytes such as `512`, `64KiB` or `10MB`; gives an int."""

    def read(text: str, plain: bool) -> int:
        match = re.fullmatch(f"{_SIZE}{'?' if plain else ''}", text)
        if match is None:
            raise ValueError
        return int(match[1]) * _SIZES[match[2] or "B"]

    rules = {"anyOf": [_rules("integer", 0, None), {"type": "string", "pattern": f"^{_SIZE}$"}]}
    return ScalarDecoder("a size such as 512, 64KiB or 10MB", read, rules)


def moment() -> Decoder:
    """An RFC 3339 moment; gives whole seconds since the Unix epoch, a fraction rounded up."""

    def read(text: str, _plain: bool) -> int:
        match = re.fullmatch(_MOMENT, text)
        if match is None:
            zoneless = re.fullmatch(_MOMENT, f"{text}Z") is not None
            raise ValueError("add the offset from UTC: end it with Z, or with +01:00" if zoneless else "")
        try:
            seconds = math.ceil(datetime.fromisoformat(f"{match[1]}T{match[2]}{match[3].upper()}").timestamp())
        except (ValueError, OverflowError):
            raise ValueError("there is no such date or time") from None
        if not _FIRST <= seconds <= _LAST:
            raise ValueError("the years from 1 to 9999, in UTC, are allowed")
        return seconds

    return ScalarDecoder("a time such as 2026-12-24T00:00:00Z", read, {"type": "string", "pattern": f"^{_MOMENT}$"})


def _duration_pattern(whole: bool) -> str:
    count = "[0-9]{1,9}" if whole else r"[0-9]{1,9}(?:\.[0-9]{1,6})?"
    units = _WHOLE_UNITS if whole else tuple(_UNITS)
    return "(?=[0-9])" + "".join(f"(?:({count}){'m(?!s)' if unit == 'm' else unit})?" for unit in units)


def _seconds(text: str, pattern: str) -> float | None:
    match = re.fullmatch(pattern, text)
    if match is None:
        return None
    counts = zip(match.groups(), _UNITS.values(), strict=False)
    return sum(float(count) * unit for count, unit in counts if count is not None)


def _duration_hint(text: str, whole: bool) -> str:
    if text.isdecimal():
        return f"add the unit: {text[:12]}s"
    if whole and re.fullmatch(_duration_pattern(whole=False), text):
        return "whole seconds only"
    return f"units, largest first: {' '.join(_WHOLE_UNITS if whole else _UNITS)}"


def _within(value: float, minimum: float | None, maximum: float | None) -> float:
    if (minimum is not None and value < minimum) or (maximum is not None and value > maximum):
        raise ValueError
    return value


def _range(minimum: float | None, maximum: float | None) -> str:
    if minimum is not None and maximum is not None:
        return f" from {minimum:g} to {maximum:g}"
    if minimum is not None:
        return f" of at least {minimum:g}"
    return f" of at most {maximum:g}" if maximum is not None else ""


def _rules(kind: str, minimum: float | None, maximum: float | None) -> Schema:
    limits = {"minimum": minimum, "maximum": maximum}
    return {"type": kind} | {name: limit for name, limit in limits.items() if limit is not None}
