"""Line diffs of two texts, and structural diffs of two JSON values."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any, NamedTuple

from kvsync.model.canonical import canonical_json
from kvsync.util.escaping import clip, escape_text, quote_text
from kvsync.util.patterns import lazy_pattern

MAX_LINES = 2_000
"""Lines of a text beyond which no line-by-line difference is sought: it would cost too much."""

_MAX_DEPTH = 64
_PLAIN_STEP = lazy_pattern(r"[^\s:\"\\]*")


class Line(NamedTuple):
    """One escaped line of a difference. The sign is `+`, `-`, `~` (changed), `@@` (a place), or a blank."""

    sign: str
    text: str


def bounded(lines: Iterable[Line], limit: int, columns: int) -> tuple[Line, ...]:
    """At most `limit` lines of at most `columns` characters, and a line that counts what is left out."""
    source = iter(lines)
    shown = tuple(Line(line.sign, clip(line.text, columns)) for line in islice(source, limit))
    hidden = sum(1 for _ in source)
    return (*shown, Line(" ", f"… {hidden:,} more lines")) if hidden else shown


def one_sided(text: str, sign: str) -> Iterator[Line]:
    """Every line of a text, added or removed."""
    return (Line(sign, escape_text(line)) for line in text.removesuffix("\n").split("\n"))


def text_difference(old: str, new: str) -> Iterator[Line]:
    """A unified difference of two texts."""
    same_end = old.endswith("\n") == new.endswith("\n")
    before, after = _lines(old, same_end), _lines(new, same_end)
    if max(len(before), len(after)) > MAX_LINES:
        yield Line(
            "~", f"{len(before):,} lines -> {len(after):,} lines, first difference in line {_first(before, after)}"
        )
        return
    from difflib import unified_diff  # an unchanged plan does not pay for it

    for line in islice(unified_diff(before, after, n=2, lineterm=""), 2, None):
        yield Line("@@", line[3:]) if line.startswith("@@") else Line(line[0], escape_text(line[1:]))


def json_difference(old: Any, new: Any, path: str = "") -> Iterator[Line]:
    """What differs between two JSON values, each line with its JSON pointer."""
    if canonical_json(old) != canonical_json(new):
        yield from _differences(old, new, path, 0)


def _differences(old: Any, new: Any, path: str, depth: int) -> Iterator[Line]:
    if isinstance(old, dict) and isinstance(new, dict) and depth < _MAX_DEPTH:
        yield from _members(old, new, path, depth)
    elif isinstance(old, list) and isinstance(new, list) and depth < _MAX_DEPTH:
        yield from _items(old, new, path, depth)
    elif canonical_json(old) != canonical_json(new):
        place = f"{path}: " if path else ""
        yield Line("~", f"{place}{_value(old)} -> {_value(new)}")


def _members(old: dict[str, Any], new: dict[str, Any], path: str, depth: int) -> Iterator[Line]:
    for member in sorted(old.keys() | new.keys()):
        place = f"{path}/{_pointer(member)}"
        if member not in new:
            yield Line("-", f"{place}: {_value(old[member])}")
        elif member not in old:
            yield Line("+", f"{place}: {_value(new[member])}")
        else:
            yield from _differences(old[member], new[member], place, depth + 1)


def _items(old: list[Any], new: list[Any], path: str, depth: int) -> Iterator[Line]:
    for tag, start, end, new_start, new_end in _opcodes(old, new):
        paired = min(end - start, new_end - new_start) if tag == "replace" else 0
        for index in range(paired):
            place = f"{path}/{new_start + index}"
            yield from _differences(old[start + index], new[new_start + index], place, depth + 1)
        if tag != "equal":
            yield from (Line("-", f"{path}/{at}: {_value(old[at])}") for at in range(start + paired, end))
            yield from (Line("+", f"{path}/{at}: {_value(new[at])}") for at in range(new_start + paired, new_end))


def _opcodes(old: list[Any], new: list[Any]) -> Iterable[tuple[str, int, int, int, int]]:
    if max(len(old), len(new)) > MAX_LINES:
        return [("replace", 0, len(old), 0, len(new))]
    before, after = [canonical_json(item) for item in old], [canonical_json(item) for item in new]
    from difflib import SequenceMatcher

    return SequenceMatcher(None, before, after).get_opcodes()


def _pointer(member: str) -> str:
    """One step of a JSON pointer; between quotes where it could be taken for what stands behind a pointer."""
    step = member.replace("~", "~0").replace("/", "~1")
    return escape_text(step) if _PLAIN_STEP.fullmatch(step) else quote_text(step)


def _value(data: Any) -> str:
    try:
        shown = json.dumps(data, ensure_ascii=False, sort_keys=True)
    except TypeError:  # numbers that are more exact than Python's
        shown = canonical_json(data)
    return clip(escape_text(shown), 200)


def _lines(text: str, ends: bool) -> list[str]:
    lines = text.removesuffix("\n").split("\n")
    return lines if ends or text.endswith("\n") else [*lines, "\\ no newline at the end"]


def _first(before: list[str], after: list[str]) -> int:
    pairs = enumerate(zip(before, after, strict=False), start=1)
    return next((number for number, (old, new) in pairs if old != new), min(len(before), len(after)) + 1)
