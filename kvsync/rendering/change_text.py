"""Changes, refusals and outcomes as lines of text. A plan without changes does not import this module."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from kvsync.errors import ErrorCode
from kvsync.model.change import Action, Change, Class, Outcome, Refusal
from kvsync.rendering.difference import Line
from kvsync.rendering.style import Paint, Style
from kvsync.rendering.values import detail_of
from kvsync.rendering.words import REFUSED, SIGNS, name, outcome_word
from kvsync.util.escaping import escape_cell

_PAINTS = {action: Paint[action.name] for action in Action}
_LINE_PAINTS = {"+": Paint.CREATE, "-": Paint.DELETE, "~": Paint.UPDATE, "@@": Paint.DIM}
_PLAIN_CLASSES = frozenset({Class.NEW, Class.CHANGED, Class.REMOVED})
_INDENT = "      "
_PAST = {
    Action.CREATE: "created",
    Action.UPDATE: "updated",
    Action.RENEW: "renewed",
    Action.ADOPT: "adopted",
    Action.RELEASE: "released",
    Action.DELETE: "deleted",
}


class _Piece(NamedTuple):
    text: str
    paint: Paint = Paint.NONE


def change_lines(change: Change, owner: str, style: Style) -> Iterator[str]:
    """Yield the lines of a change: what it does, why, where it is written, and the values before and after."""
    paint = _PAINTS[change.action]
    detail = detail_of(change, owner, style.limits)
    pieces = [_Piece(f"  {SIGNS[change.action]} {name(change.identity)}", paint)]
    if change.cause not in _PLAIN_CLASSES:
        pieces.append(_Piece(change.cause.value, Paint.RENEW))
    pieces += map(_Piece, detail.notes)
    yield from _row([*pieces, *_origin(change)], style)
    yield from (_below(line, style) for line in detail.below)


def refusal_lines(refusal: Refusal, style: Style) -> Iterator[str]:
    """Yield the lines of a change that is refused, with the reason."""
    what = f"{refusal.cause.value}, not {_PAST[refusal.action]}: {escape_cell(refusal.reason)}"
    head = _Piece(f"  {REFUSED} {name(refusal.identity)}", Paint.REFUSED)
    yield from _row([head, _Piece(what), *_origin(refusal), *_code(refusal.code)], style)


def _origin(item: Change | Refusal) -> list[_Piece]:
    return [] if item.origin is None else [_Piece(escape_cell(str(item.origin)), Paint.DIM)]


def _code(code: ErrorCode | None) -> list[_Piece]:
    return [] if code is None else [_Piece(f"[{code}]", Paint.DIM)]


def _row(pieces: Iterable[_Piece], style: Style) -> Iterator[str]:
    """Set pieces side by side, and go on in a new line where the width ends."""
    line, used = "", 0
    for text, paint in pieces:
        if used and used + 2 + len(text) > style.width:
            yield line
            line, used = _INDENT, len(_INDENT) - 2
            line += style.paint(text, paint)
        else:
            line += ("  " if used else "") + style.paint(text, paint)
        used += len(text) + 2
    yield line


def _below(line: Line, style: Style) -> str:
    return _INDENT + style.paint(f"{line.sign} {line.text}", _LINE_PAINTS.get(line.sign, Paint.NONE))


def outcome_lines(outcome: Outcome, style: Style) -> Iterator[str]:
    """Yield the lines of an outcome."""
    head = f"  {SIGNS[outcome.action]} {name(outcome.identity)}"
    pieces = [_Piece(head, _PAINTS[outcome.action]), _Piece(outcome_word(outcome.kind), Paint.ALARM)]
    why = [_Piece(escape_cell(outcome.error))] if outcome.error else []
    yield from _row([*pieces, *why, *_code(outcome.code)], style)
