"""Plan as a pull request comment: a summary, a table per target, and longer differences in collapsed sections.

GitHub takes 65,536 characters, so what does not fit into `MAX_LENGTH` is left out, and counted. What files and stores hold is
escaped such that it can make no markup, mention nobody and link nowhere.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from kvsync.errors import with_code
from kvsync.model.change import Change, Outcome, OutcomeKind, Refusal
from kvsync.model.plan import Plan, TargetPlan, TargetReport, is_quiet, notices, summary
from kvsync.rendering.difference import Line
from kvsync.rendering.style import DisplayLimits
from kvsync.rendering.values import detail_of
from kvsync.rendering.words import (
    REFUSED,
    SIGNS,
    caution_line,
    cost_line,
    count,
    done_words,
    name,
    orphan_lines,
    outcome_word,
    short_hash,
    summed_up,
    untouched_counts,
)
from kvsync.util.escaping import clip, escape_markdown, markdown_code

_NO_MARKER = re.compile(r"[^A-Za-z0-9._-]")


def marker(environment: str | None) -> str:
    """First line of the comment, by which the next run finds it and replaces it: each environment has its own comment."""
    return f"<!-- kvsync-plan{' ' + _NO_MARKER.sub('_', environment) if environment else ''} -->"


MAX_LENGTH = 60_000
"""Characters of the whole comment."""

_LIMITS = DisplayLimits(lines=40, columns=300)
_ROOM_FOR_END = 1_000
_MAX_WARNINGS = 20
_FINE = frozenset({OutcomeKind.APPLIED, OutcomeKind.UNCHANGED})
_TABLE = "\n| | key | class | what | where |\n|-|-----|-------|------|-------|\n"
_OUTCOMES = "\n| | key | outcome | why |\n|-|-----|---------|-----|\n"


def render_plan(plan: Plan) -> str:
    """The plan as GitHub-flavoured Markdown, at most `MAX_LENGTH` characters."""
    page = _Page(MAX_LENGTH - _ROOM_FOR_END)
    shown = [target for target in plan.targets if not is_quiet(target)]
    counts = summary(plan.targets)
    said = summed_up(counts) if shown else f"nothing to do, {untouched_counts(counts)}"
    page.add([f"{marker(plan.environment)}\n### kvsync plan{_of_environment(plan)}: {said}\n"])
    orphans = [f"> {escape_markdown(clip(line, 500))}  \n" for line in orphan_lines(plan)]
    page.add(orphans, "line about orphans", len(orphans), head="\n", keep=page.left // 2)
    rows_of = [_table(target, plan.owner, page, len(shown) - at) for at, target in enumerate(shown)]
    for target, rows in zip(shown, rows_of, strict=True):
        _folded(target, rows, plan.owner, page)
    return page.text() + _signature(plan)


def render_report(plan: Plan, reports: Sequence[TargetReport]) -> str:
    """What became of a plan as Markdown, at most `MAX_LENGTH` characters: counts, and every change that was not applied."""
    page = _Page(MAX_LENGTH - _ROOM_FOR_END)
    done = done_words(reports) or "nothing to do"
    page.add([f"{marker(plan.environment)}\n### kvsync apply{_of_environment(plan)}: {done}\n"])
    shown = [report for report in reports if not _is_fine(report)]
    for at, report in enumerate(shown):
        _outcomes(report, page, len(shown) - at)
    return page.text() + _signature(plan)


def _of_environment(plan: Plan) -> str:
    return f" ({escape_markdown(plan.environment)})" if plan.environment else ""


def _signature(plan: Plan) -> str:
    return f"\n<sub>owner {markdown_code(clip(plan.owner, 64))}, plan {markdown_code(short_hash(plan.digest))}</sub>\n"


def _is_fine(report: TargetReport) -> bool:
    return report.error is None and is_quiet(report.plan) and all(one.kind in _FINE for one in report.outcomes)


def _outcomes(report: TargetReport, page: _Page, waiting: int) -> None:
    """Add a target with a row for each change that was not applied; shares the room as `_table` does."""
    keep = page.left - page.left // waiting
    bad = [outcome for outcome in report.outcomes if outcome.kind not in _FINE]
    why = with_code(escape_markdown(clip(report.error or "", 500)), report.code)
    error = [f"> **error:** {why}  \n"] if report.error else []
    heading = f"\n#### {markdown_code(str(report.plan.target))}\n\n" + "".join([*error, *_warnings(report.plan)])
    if page.add([heading], "target", keep=keep) and bad:
        page.add(map(_outcome_row, bad), "outcome", len(bad), head=_OUTCOMES, keep=keep)


def _outcome_row(outcome: Outcome) -> str:
    why = with_code(escape_markdown(clip(outcome.error or "", 300)), outcome.code).strip()
    word = outcome_word(outcome.kind)
    return f"| {markdown_code(SIGNS[outcome.action])} | {markdown_code(name(outcome.identity))} | {word} | {why} |\n"


class _Page:
    """Text that grows up to a limit; what does not fit any more is only counted."""

    def __init__(self, limit: int) -> None:
        self._parts: list[str] = []
        self.left = limit
        self._hidden: Counter[str] = Counter()

    def add(
        self, parts: Iterable[str], noun: str = "part", total: int = 1, head: str = "", tail: str = "", keep: int = 0
    ) -> int:
        """Add as many of `total` parts as fit between head and tail, nothing where none fits; returns how many.

        `keep` characters are left for what comes later.
        """
        room = self.left - keep - len(head) - len(tail)
        shown: list[str] = []
        for part in parts:
            room -= len(part)
            if room < 0:
                break
            shown.append(part)
        if shown:
            self._parts += [head, *shown, tail]
            self.left -= len(head) + len(tail) + sum(map(len, shown))
        self._hidden[noun] += total - len(shown)
        return len(shown)

    def text(self) -> str:
        """All that was added, with a note of what was not."""
        hidden = ", ".join(count(number, noun) for noun, number in self._hidden.items() if number)
        note = f"\n**Too long for one comment; not shown: {hidden}.** `kvsync plan` shows more.\n" if hidden else ""
        return "".join(self._parts) + note


def _table(plan: TargetPlan, owner: str, page: _Page, waiting: int) -> int:
    """Add a target with a row for each change; returns how many rows there was room for.

    `waiting` targets, this one among them, share the room fairly: a long one does not hide the others.
    """
    keep = page.left - page.left // waiting
    total = len(plan.changes) + len(plan.refused) + len(plan.reported)
    heading = f"\n#### {markdown_code(str(plan.target))} ({escape_markdown(plan.type)})\n\n" + "".join(_warnings(plan))
    if not page.add([heading], "target", keep=keep) or not total:
        return 0
    wave = "" if plan.wave is None else f" Wave {plan.wave.number} of {plan.wave.total}."
    tail = f"\nCost: {cost_line(plan.cost)}.{wave}\n" if plan.changes else ""
    tail += f"\n{escape_markdown(caution_line(plan.type))}.\n" if plan.changes and not plan.compare_and_set else ""
    return page.add(_rows(plan, owner), "change", total, head=_TABLE, tail=tail, keep=keep)


def _rows(plan: TargetPlan, owner: str) -> Iterator[str]:
    yield from (_change_row(change, owner) for change in plan.changes)
    yield from (_change_row(change, owner, ", reported only") for change in plan.reported)
    yield from map(_refusal_row, plan.refused)


def _warnings(plan: TargetPlan) -> Iterator[str]:
    lines = [f"**{word}:** {with_code(escape_markdown(clip(text, 500)), code)}" for word, text, code in notices(plan)]
    shown = lines[:_MAX_WARNINGS]
    if len(lines) > _MAX_WARNINGS:
        shown.append(f"**{len(lines) - _MAX_WARNINGS:,} more**")
    if plan.parked and not plan.approved and plan.changes:
        shown.append(f"approve with: <code>kvsync approve {short_hash(plan.digest)}</code>")
    return (f"> {line}  \n" for line in shown)


def _change_row(change: Change, owner: str, note: str = "") -> str:
    seen = "; ".join(map(markdown_code, detail_of(change, owner, _LIMITS).notes)) or "see below"
    return _row(SIGNS[change.action], change, f"{change.action}{note}: {seen}")


def _refusal_row(refusal: Refusal) -> str:
    reason = with_code(escape_markdown(clip(refusal.reason, 300)), refusal.code)
    return _row(REFUSED, refusal, f"{refusal.action} refused: {reason}")


def _row(sign: str, item: Change | Refusal, what: str) -> str:
    where = markdown_code(str(item.origin)) if item.origin else ""
    return f"| {markdown_code(sign)} | {markdown_code(name(item.identity))} | {item.cause} | {what} | {where} |\n"


def _folded(plan: TargetPlan, rows: int, owner: str, page: _Page) -> None:
    """Add the differences that do not fit into a row, for the changes that have one."""
    changes = (*plan.changes, *plan.reported)[:rows]
    longer = [(change, detail_of(change, owner, _LIMITS).below) for change in changes]
    blocks = [_block(change, lines) for change, lines in longer if lines]
    what = count(len(blocks), "longer difference")
    head = f"\n<details><summary>{markdown_code(str(plan.target))}: {what}</summary>\n"
    page.add(blocks, "longer difference", len(blocks), head, "\n</details>\n")


def _block(change: Change, lines: Sequence[Line]) -> str:
    """One difference as a fenced block; the fence is longer than any run of backticks inside."""
    body = "\n".join(f"{'!' if line.sign == '~' else line.sign} {line.text}" for line in lines)
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", body)), default=0))
    return f"\n{markdown_code(name(change.identity))}\n\n{fence}diff\n{body}\n{fence}\n"
