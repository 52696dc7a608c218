"""Value differences of a change, as far as they may be shown.

Never shown: the content of a change that is sensitive on either side, and what the store holds of an entry that is not ours (no
mark, or another owner's). Then a size and the start of a fingerprint represent it, and for a sensitive value not even those.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from kvsync.model.canonical import fingerprint, is_json_type
from kvsync.model.change import Action, Change
from kvsync.model.entry import Actual, Content
from kvsync.model.exact_json import read_json
from kvsync.rendering.difference import Line, bounded, json_difference, one_sided, text_difference
from kvsync.rendering.style import DisplayLimits
from kvsync.rendering.words import count, duration, moment, name
from kvsync.util.escaping import clip, escape_cell, escape_name, quote_text

_SHORT = 60
_UNSEEN = Content(b"")


class Detail(NamedTuple):
    """What is seen of a change: short escaped texts that fit next to its key, and lines that go below."""

    notes: tuple[str, ...] = ()
    below: tuple[Line, ...] = ()


class _Pair(NamedTuple):
    """Both sides of a change: the contents that may be shown, and words for an old one that may not."""

    old: Content | None
    new: Content | None
    hidden: str | None = None


def detail_of(change: Change, owner: str, limits: DisplayLimits) -> Detail:
    """Everything a person is shown of a change besides its action, class, identity and origin."""
    if change.action is Action.RELEASE:
        return Detail(change.reasons)
    notes = list(_lifetime(change))
    if change.moved_to is not None:
        where = "" if change.moved_to_target is None else f"{escape_name(str(change.moved_to_target))}: "
        notes.append(f"moved to {where}{name(change.moved_to)}")
    notes += _order(change)
    if change.sensitive:
        differing = [reason for reason in change.reasons if reason not in ("ttl", "expires_at")]
        return Detail(("(sensitive)", *differing, *notes))
    if change.action in (Action.RENEW, Action.ADOPT):
        return Detail(tuple(notes) or change.reasons)
    pair = _pair(change, owner)
    value = _value(change, pair, limits)
    rest = [] if pair.hidden else [*_content_type(pair), *_tags(pair), *_metadata(pair), *_description(pair)]
    return Detail((*value.notes, *rest, *notes) or (() if value.below else change.reasons), value.below)


def _order(change: Change) -> Iterator[str]:
    """What is written before this change."""
    if change.is_last:
        yield "written last"
    elif change.written_after:
        yield clip(f"after {', '.join(map(escape_name, change.written_after))}", _SHORT)


def _pair(change: Change, owner: str) -> _Pair:
    before = change.before
    new = change.after.content if change.after and change.action is not Action.DELETE else None
    if before is None:
        return _Pair(None, new)
    ours = before.mark is not None and before.mark.owner == owner
    if ours and before.content is not None:
        return _Pair(before.content, new)
    return _Pair(None, new, _stand_in(before))


def _stand_in(actual: Actual) -> str:
    """Words for a content that is not shown."""
    size = len(actual.content.value) if actual.content is not None else actual.size
    return _parenthesis(size, actual.fingerprint)


def _parenthesis(size: int | None, print_: bytes | None) -> str:
    known = [] if size is None else [count(size, "byte")]
    known += [] if print_ is None else [print_.hex()[:8]]
    return f"({', '.join(known) or 'not read'})"


def _value(change: Change, pair: _Pair, limits: DisplayLimits) -> Detail:
    if change.action is Action.UPDATE and "value" not in change.reasons:
        return Detail()
    if pair.hidden is not None:
        return Detail((pair.hidden if pair.new is None else f"{pair.hidden} -> {_brief(pair.new)}",))
    if pair.old is not None and pair.new is not None:
        return _both(pair.old, pair.new, _is_json(change, pair.old, pair.new), limits)
    content, sign = (pair.new, "+") if pair.new is not None else (pair.old, "-")
    return _one(content or _UNSEEN, sign, limits)


def _one(content: Content, sign: str, limits: DisplayLimits) -> Detail:
    """The value of an entry that appears or goes."""
    text = _text(content.value)
    if text is None or _is_short(text):
        return Detail((_brief(content),))
    if is_json_type(content.content_type):
        text = _indented(text)
    return Detail((), bounded(one_sided(text, sign), limits.lines, limits.columns))


def _both(old: Content, new: Content, is_json: bool, limits: DisplayLimits) -> Detail:
    """The difference of two values."""
    before, after = _text(old.value), _text(new.value)
    if before is None or after is None:
        return Detail((f"{_brief(old)} -> {_brief(new)}",))
    lines = _json_lines(before, after) if is_json else None
    if lines is not None:
        return _placed(lines, limits)
    if "\n" not in before.removesuffix("\n") and "\n" not in after.removesuffix("\n"):
        return Detail((" -> ".join(_windows(before, after, min(_SHORT, limits.columns // 2 - 8))),))
    return Detail((), bounded(text_difference(before, after), limits.lines, limits.columns))


def _placed(lines: Iterable[Line], limits: DisplayLimits) -> Detail:
    """A single short line goes next to the key, more go below."""
    shown = bounded(lines, limits.lines, limits.columns)
    if len(shown) == 1 and len(shown[0].text) <= 2 * _SHORT:
        sign = "" if shown[0].sign == "~" else f"{shown[0].sign} "
        return Detail((sign + shown[0].text,))
    return Detail((), shown)


def _content_type(pair: _Pair) -> Iterator[str]:
    old, new = _side(pair.old).content_type, _side(pair.new).content_type
    if pair.new is not None and old != new:
        yield "content_type: " + _arrow(*(None if kind is None else escape_cell(kind) for kind in (old, new)))


def _tags(pair: _Pair) -> Iterator[str]:
    if pair.new is None:
        return
    old, new = dict(_side(pair.old).tags), dict(pair.new.tags)
    for tag in sorted(old.keys() | new.keys()):
        if old.get(tag) != new.get(tag):
            sides = (None if value is None else quote_text(value) for value in (old.get(tag), new.get(tag)))
            yield clip(f"tag {escape_name(tag)}: {_arrow(*sides)}", 2 * _SHORT)


def _metadata(pair: _Pair) -> Iterator[str]:
    old, new = _side(pair.old).metadata, _side(pair.new).metadata
    if pair.new is None or old == new:
        return
    lines = _json_lines(old, new) if old is not None and new is not None else None
    if lines is None:
        lines = [Line("~", _arrow(*(None if side is None else escape_cell(side) for side in (old, new))))]
    for line in lines:
        sign = "" if line.sign == "~" else f"{line.sign} "
        yield clip(f"metadata: {sign}{line.text}", 2 * _SHORT)


def _description(pair: _Pair) -> Iterator[str]:
    old, new = _side(pair.old).description or "", _side(pair.new).description
    if new is not None and old != new:
        shown = _windows(old, new, _SHORT)
        yield "description: " + _arrow(*(text if side else None for side, text in zip((old, new), shown, strict=True)))


def _lifetime(change: Change) -> Iterator[str]:
    if change.after is None or change.action is Action.DELETE:
        return
    before, after = change.before, change.after
    old_ttl = before.mark.ttl if before is not None and before.mark is not None else None
    if old_ttl != after.ttl or "ttl" in change.reasons:
        sides = [None if ttl is None else duration(ttl) for ttl in (old_ttl, after.ttl)]
        yield "ttl: " + (sides[1] or "none" if sides[0] == sides[1] else _arrow(*sides))
    if "expires_at" in change.reasons or (after.expires_at is not None and before is None):
        ends = (before.expires_at if before is not None else None, after.expires_at)
        yield "expires_at: " + _arrow(*(None if end is None else moment(end) for end in ends))


def _arrow(old: str | None, new: str | None) -> str:
    return (new or "none") if old is None else f"{old} -> {new or 'none'}"


def _side(content: Content | None) -> Content:
    return content if content is not None else _UNSEEN


def _brief(content: Content) -> str:
    """A value in a few words: itself where it is short text, otherwise its size and the start of its fingerprint."""
    text = _text(content.value)
    if text is not None and _is_short(text):
        return quote_text(text)
    return ("binary " if text is None else "text ") + _parenthesis(len(content.value), fingerprint(content))


def _is_short(text: str) -> bool:
    return len(text) <= _SHORT and "\n" not in text.removesuffix("\n")


def _text(value: bytes) -> str | None:
    try:
        text = value.decode()
    except UnicodeDecodeError:
        return None
    return None if "\0" in text else text


def _is_json(change: Change, old: Content, new: Content) -> bool:
    declared = change.after is not None and change.after.json
    return declared or (is_json_type(old.content_type) and is_json_type(new.content_type))


def _json_lines(old: str, new: str) -> list[Line] | None:
    """The difference of two JSON texts, None when one is not JSON, or the two mean the same."""
    try:
        return list(json_difference(read_json(old), read_json(new))) or None
    except (ValueError, RecursionError):
        return None


def _indented(text: str) -> str:
    try:
        return json.dumps(read_json(text), indent=2, sort_keys=True, ensure_ascii=False)
    except (ValueError, RecursionError, TypeError):  # TypeError: of numbers that are more exact than Python's
        return text


def _windows(old: str, new: str, length: int) -> tuple[str, str]:
    """Two one-line texts, quoted; of long ones the part around the first difference."""
    if max(len(old), len(new)) <= length:
        return quote_text(old), quote_text(new)
    pairs = enumerate(zip(old, new, strict=False))
    first = next((at for at, (left, right) in pairs if left != right), min(len(old), len(new)))
    start = max(0, first - length // 3)
    return _window(old, start, length), _window(new, start, length)


def _window(text: str, start: int, length: int) -> str:
    shown = quote_text(text[start : start + length])
    return ("…" if start else "") + shown + ("…" if start + length < len(text) else "")
