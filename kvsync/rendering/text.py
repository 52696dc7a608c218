"""Plans and outcomes as text for terminals of 80 to 200 columns."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby
from typing import NamedTuple, TypeVar

from kvsync.errors import ErrorCode, with_code
from kvsync.model.change import Action, Change, Class, Outcome, OutcomeKind, Refusal
from kvsync.model.plan import Plan, TargetPlan, TargetReport, is_quiet, notices, summary
from kvsync.rendering.difference import Line
from kvsync.rendering.style import Paint, Style
from kvsync.rendering.values import detail_of
from kvsync.rendering.words import (
    REFUSED,
    SIGNS,
    caution_line,
    cost_line,
    count,
    counts,
    done_words,
    name,
    of_environment,
    orphan_lines,
    outcome_word,
    short_hash,
    summed_up,
    untouched_counts,
)
from kvsync.util.escaping import escape_cell, escape_name

_PAINTS = {action: Paint[action.name] for action in Action}
_LINE_PAINTS = {"+": Paint.CREATE, "-": Paint.DELETE, "~": Paint.UPDATE, "@@": Paint.DIM}
_PLAIN_CLASSES = frozenset({Class.NEW, Class.CHANGED, Class.REMOVED})
_FINE = frozenset({OutcomeKind.APPLIED, OutcomeKind.UNCHANGED})
_INDENT = "      "
_DEFAULT = Style()
_PAST = {
    Action.CREATE: "created",
    Action.UPDATE: "updated",
    Action.RENEW: "renewed",
    Action.ADOPT: "adopted",
    Action.RELEASE: "released",
    Action.DELETE: "deleted",
}
_T = TypeVar("_T")


class _Piece(NamedTuple):
    text: str
    paint: Paint = Paint.NONE


class _ChangeBudget:
    """How many more changes may be shown."""

    def __init__(self, changes: int) -> None:
        self._left = changes

    def take(self, wanted: int) -> int:
        """Of so many changes, how many may be shown."""
        granted = min(wanted, self._left)
        self._left -= granted
        return granted


def render_plan(plan: Plan, style: Style = _DEFAULT) -> str:
    """The plan as text that ends in a line end. One line when there is nothing to say."""
    orphans = "".join(f"{escape_cell(line)}\n" for line in orphan_lines(plan))
    if all(map(is_quiet, plan.targets)):
        return f"{orphans}Nothing to do{of_environment(plan.environment)}: {untouched_counts(summary(plan.targets))}.\n"
    budget = _ChangeBudget(style.changes)
    blocks = ["\n".join(_target(target, plan.owner, style, budget)) for target in plan.targets if not is_quiet(target)]
    return "\n\n".join([*blocks, orphans + style.paint(_last_line(plan), Paint.HEAD)]) + "\n"


def render_drift(plan: Plan, style: Style = _DEFAULT) -> str:
    """A plan that holds nothing but drift, as text that ends in a line end. Where nothing was compared it claims nothing."""
    classes = Counter(change.cause.value for target in plan.targets for change in target.changes)
    budget = _ChangeBudget(style.changes)
    shown = (target for target in plan.targets if not is_quiet(target))
    blocks = ["\n".join(_drifted(target, plan.owner, style, budget)) for target in shown]
    found = counts((number, name_) for name_, number in sorted(classes.items()))
    unseen = sum(1 for target in plan.targets if _is_kept(target))
    nothing = "not known" if unseen and unseen == len(plan.targets) else "none"
    rest = f"; {count(unseen, 'target')} not compared" if unseen else ""
    last = f"Drift{of_environment(plan.environment)}: {found or nothing}{rest}."
    return "\n\n".join([*blocks, style.paint(last, Paint.HEAD)]) + "\n"


def _drifted(plan: TargetPlan, owner: str, style: Style, budget: _ChangeBudget) -> Iterator[str]:
    title = style.paint(escape_name(str(plan.target)), Paint.HEAD)
    yield f"{title} ({escape_cell(plan.type)}): {'not compared' if _is_kept(plan) else f'{len(plan.changes):,} drifted'}"
    yield from _shown(plan.changes, budget, lambda change: _change(change, owner, style), style)
    yield from _notices(plan, style)


def render_report(reports: Sequence[TargetReport], style: Style = _DEFAULT) -> str:
    """What became of the plans, as text that ends in a line end; every change that was not applied says why."""
    budget = _ChangeBudget(style.changes)
    shown = [one for one in reports if one.outcomes or one.error or one.plan.parked or one.namespace_deleted]
    blocks = ["\n".join(_report(report, style, budget)) for report in shown]
    last = f"Done: {done_words(reports) or 'nothing was applied'}."
    return "\n\n".join([*blocks, style.paint(last, Paint.HEAD)]) + "\n"


def _last_line(plan: Plan) -> str:
    held = sum(1 for target in plan.targets if _is_kept(target))
    parked = [target.approved for target in plan.targets if target.parked]
    reported = sum(len(target.reported) for target in plan.targets)
    extra = [f"{reported:,} reported only"] if reported else []
    extra += [
        f"{count(parked.count(is_approved), 'target')} {word}"
        for is_approved, word in ((False, "parked"), (True, "approved"))
        if is_approved in parked
    ]
    extra += [f"{count(held, 'target')} left unchanged because of problems"] if held else []
    return "; ".join([f"Plan{of_environment(plan.environment)}: {summed_up(summary(plan.targets))}", *extra])


def _target(plan: TargetPlan, owner: str, style: Style, budget: _ChangeBudget) -> Iterator[str]:
    yield _head(plan, style)
    yield from _shown(plan.changes, budget, lambda change: _change(change, owner, style), style)
    yield from _shown(plan.refused, budget, lambda refusal: _refusal(refusal, style), style)
    if plan.reported:
        yield "  reported only, not written:"
        yield from _shown(plan.reported, budget, lambda change: _change(change, owner, style), style)
    yield from _notices(plan, style)
    if plan.changes:
        yield style.paint(f"  cost: {cost_line(plan.cost)}", Paint.DIM)
        if not plan.compare_and_set:
            yield style.paint(f"  caution: {caution_line(plan.type)}", Paint.DIM)
        if plan.wave is not None and plan.wave.waits_for is None:
            yield style.paint(f"  wave: {plan.wave.number} of {plan.wave.total}", Paint.DIM)


def _is_kept(plan: TargetPlan) -> bool:
    """True for a target that was not compared, because of its files or its store."""
    return bool(plan.error or plan.problems)


def _head(plan: TargetPlan, style: Style) -> str:
    todo = summary([plan])
    actions = ((getattr(todo, action.value), f"to {action.value}") for action in Action)
    namespace = (todo.namespaces, "namespace to delete")
    parts = counts((*actions, namespace, (todo.refused, "refused"), (len(plan.reported), "reported")))
    title = style.paint(escape_name(str(plan.target)), Paint.HEAD)
    idle = "left unchanged" if _is_kept(plan) else "nothing to do"
    return f"{title} ({escape_cell(plan.type)}): {parts or idle}"


def _notices(plan: TargetPlan, style: Style) -> Iterator[str]:
    for kind, sentence, code in notices(plan):
        yield "  " + style.paint(with_code(f"{kind}: {escape_cell(sentence)}", code), Paint.ALARM)
    if plan.parked and not plan.approved and plan.changes:
        yield f"  approve with: kvsync approve {short_hash(plan.digest)}"


def _shown(
    items: Sequence[_T], budget: _ChangeBudget, render: Callable[[_T], Iterable[str]], style: Style
) -> Iterator[str]:
    granted = budget.take(len(items))
    for item in items[:granted]:
        yield from render(item)
    if granted < len(items):
        yield style.paint(f"  … {len(items) - granted:,} more are not shown", Paint.DIM)


def _change(change: Change, owner: str, style: Style) -> Iterator[str]:
    paint = _PAINTS[change.action]
    detail = detail_of(change, owner, style.limits)
    pieces = [_Piece(f"  {SIGNS[change.action]} {name(change.identity)}", paint)]
    if change.cause not in _PLAIN_CLASSES:
        pieces.append(_Piece(change.cause.value, Paint.RENEW))
    pieces += map(_Piece, detail.notes)
    yield from _row([*pieces, *_origin(change)], style)
    yield from (_below(line, style) for line in detail.below)


def _refusal(refusal: Refusal, style: Style) -> Iterator[str]:
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


def _report(report: TargetReport, style: Style, budget: _ChangeBudget) -> Iterator[str]:
    done = done_words([report])
    title = style.paint(escape_name(str(report.plan.target)), Paint.HEAD)
    yield f"{title} ({escape_cell(report.plan.type)}): {done or 'nothing was applied'}"
    if report.error:
        yield "  " + style.paint(f"error: {with_code(escape_cell(report.error), report.code)}", Paint.ALARM)
    is_parked = bool(report.plan.parked) and not report.plan.approved
    # Of a parked target nothing was attempted: one reason for all, and the way out, instead of a line for each.
    untold = {*_FINE, OutcomeKind.NOT_ATTEMPTED} if is_parked else _FINE
    bad = sorted((outcome for outcome in report.outcomes if outcome.kind not in untold), key=lambda each: each.kind)
    for _, same in groupby(bad, key=lambda outcome: outcome.kind):
        yield from _shown(list(same), budget, lambda outcome: _outcome(outcome, style), style)
    if is_parked or not (report.outcomes or report.namespace_deleted):
        yield from _notices(report.plan, style)


def _outcome(outcome: Outcome, style: Style) -> Iterator[str]:
    head = f"  {SIGNS[outcome.action]} {name(outcome.identity)}"
    pieces = [_Piece(head, _PAINTS[outcome.action]), _Piece(outcome_word(outcome.kind), Paint.ALARM)]
    why = [_Piece(escape_cell(outcome.error))] if outcome.error else []
    yield from _row([*pieces, *why, *_code(outcome.code)], style)
