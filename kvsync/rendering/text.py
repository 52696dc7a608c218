"""Plans and outcomes as text for terminals of 80 to 200 columns."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby
from typing import TypeVar

from kvsync.errors import with_code
from kvsync.model.change import Action, OutcomeKind
from kvsync.model.plan import Plan, TargetPlan, TargetReport, is_quiet, notices, summary
from kvsync.rendering.style import Paint, Style
from kvsync.rendering.words import (
    caution_line,
    cost_line,
    count,
    counts,
    done_words,
    of_environment,
    orphan_lines,
    short_hash,
    summed_up,
    untouched_counts,
)
from kvsync.util.escaping import escape_cell, escape_name

_FINE = frozenset({OutcomeKind.APPLIED, OutcomeKind.UNCHANGED})
_DEFAULT = Style()
_T = TypeVar("_T")


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
    from kvsync.rendering.change_text import change_lines

    title = style.paint(escape_name(str(plan.target)), Paint.HEAD)
    yield f"{title} ({escape_cell(plan.type)}): {'not compared' if _is_kept(plan) else f'{len(plan.changes):,} drifted'}"
    yield from _shown(plan.changes, budget, lambda change: change_lines(change, owner, style), style)
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
    from kvsync.rendering.change_text import change_lines, refusal_lines

    yield _head(plan, style)
    yield from _shown(plan.changes, budget, lambda change: change_lines(change, owner, style), style)
    yield from _shown(plan.refused, budget, lambda refusal: refusal_lines(refusal, style), style)
    if plan.reported:
        yield "  reported only, not written:"
        yield from _shown(plan.reported, budget, lambda change: change_lines(change, owner, style), style)
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


def _report(report: TargetReport, style: Style, budget: _ChangeBudget) -> Iterator[str]:
    from kvsync.rendering.change_text import outcome_lines

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
        yield from _shown(list(same), budget, lambda outcome: outcome_lines(outcome, style), style)
    if is_parked or not (report.outcomes or report.namespace_deleted):
        yield from _notices(report.plan, style)
