"""Plans and outcomes as the JSON document `kvsync.plan/1`, which never contains values.

`summary` counts the changes by action, and the unchanged and foreign entries. After an apply it also counts every kind of
outcome: under `outcomes`, and by its own name next to the actions. Two names occur in plans and outcomes, and their numbers
are added: `unchanged` counts entries equal when planned or when applied, `refused` those that kvsync or the store refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any, Final

from kvsync.model.change import Action, Change, Class, Outcome, OutcomeKind, Refusal
from kvsync.model.entry import Actual, Entry, Identity, Target
from kvsync.model.place import Place
from kvsync.model.plan import Plan, TargetPlan, TargetReport, UnmanagedTarget, outcome_counts, summary
from kvsync.model.wave import WavePosition
from kvsync.rendering.words import moment
from kvsync.util.escaping import encode_json

SCHEMA = "kvsync.plan/1"
"""Name and version of the document."""

Seal = Callable[[bytes], str]
"""Turns the fingerprint of a sensitive value into hex that only the holder of a key can compare."""

Document = dict[str, Any]

Many = Callable[[Iterable[Document]], Any]
"""Makes the long lists of a document: `list`, or `StreamedList` for a document that is written in pieces and never exists as a
whole, because that of a large plan takes more memory than the plan."""

_FEW: Final = 16
"""Changes of a target up to which their list is not long."""

_TEXTS: Final[dict[str, str]] = {one: one.value for kind in (Action, Class, OutcomeKind) for one in kind}
"""The plain texts of actions, classes and outcomes. All documents share them; `str` would make one for each entry."""


def plan_document(plan: Plan, seal: Seal, many: Many = list) -> Document:
    """The plan as plain data. Deterministic: the same plan and key give the same document, but for `stats`."""
    return _document(plan, many(_target(target, seal, many) for target in plan.targets))


def report_document(plan: Plan, reports: Sequence[TargetReport], seal: Seal, many: Many = list) -> Document:
    """The plan with what became of it: `outcomes` for each target, counts of every kind of outcome in the summary."""
    by_target = {report.plan.target: report for report in reports}
    described = (
        _target(target, seal, many) | _result(target, by_target.get(target.target), many) for target in plan.targets
    )
    document = _document(plan, many(described))
    counts = {kind.value: number for kind, number in outcome_counts(reports).items()}
    totals = document["summary"]
    totals.update({word: totals.get(word, 0) + number for word, number in counts.items()}, outcomes=counts)
    return document


def render_plan(plan: Plan, seal: Seal) -> str:
    """`plan_document` as one line of ASCII that ends in a line end."""
    return to_text(plan_document(plan, seal))


def render_report(plan: Plan, reports: Sequence[TargetReport], seal: Seal) -> str:
    """`report_document` as one line of ASCII that ends in a line end."""
    return to_text(report_document(plan, reports, seal))


def to_text(document: Document) -> str:
    """A document as one line: ASCII alone, so that no terminal is fooled by what stands in a key."""
    return encode_json(document) + "\n"


def _document(plan: Plan, targets: Any) -> Document:
    return {
        "schema": SCHEMA,
        "digest": plan.digest,
        "owner": plan.owner,
        "targets": targets,
        "summary": _summary(plan),
        "stats": asdict(plan.stats),
        **({"source": plan.source} if plan.source else {}),
        **({"environment": plan.environment} if plan.environment else {}),
        **({"unmanaged": list(map(_unmanaged, plan.unmanaged))} if plan.unmanaged else {}),
    }


def _each(make: Callable[[Any], Document], values: Sequence[Any], many: Many) -> Any:
    """The documents of values. Few of them are made at once: a target of few changes is written as one piece."""
    return many(map(make, values)) if len(values) > _FEW else list(map(make, values))


def _result(plan: TargetPlan, report: TargetReport | None, many: Many) -> Document:
    """What became of the plan of a target, as members of its document."""
    if report is None:
        return {"outcomes": [], "error": plan.error}
    return {
        "outcomes": _each(_outcome, report.outcomes, many),
        **({"namespace_deleted": True} if report.namespace_deleted else {}),
        "error": report.error or plan.error,
        **({"code": report.code.value} if report.code is not None else {}),
        **({"wave": _wave(report.plan.wave)} if report.plan.wave is not None else {}),
    }


def _target(plan: TargetPlan, seal: Seal, many: Many) -> Document:
    describe = partial(change_document, seal=seal)
    return {
        "store": plan.target.store,
        "type": plan.type,
        "namespace": plan.target.namespace,
        "complete": plan.complete,
        "parked": list(plan.parked),
        "approved": plan.approved,
        "changes": _each(describe, plan.changes, many),
        "refused": [_refusal(refusal) for refusal in plan.refused],
        "foreign": plan.foreign,
        "unchanged": plan.unchanged,
        "cost": {"requests": plan.cost.requests, "bytes": plan.cost.bytes, "seconds": plan.cost.seconds},
        "digest": plan.digest,
        "reported": _each(describe, plan.reported, many),
        "ignored": plan.ignored,
        "expired": plan.expired,
        "orphans": plan.orphans,
        "problems": [str(problem) for problem in plan.problems],
        "error": plan.error,
        "place": _place(plan.place),
        "moved_from": plan.moved_from,
        **({"waiting": list(plan.waiting)} if plan.waiting else {}),
        **({"notes": list(plan.notes)} if plan.notes else {}),
        **({"wave": _wave(plan.wave)} if plan.wave is not None else {}),
        **({"deletes_namespace": True} if plan.deletes_namespace else {}),
        **({"code": plan.code.value} if plan.code is not None else {}),
    }


def _wave(wave: WavePosition) -> Document:
    until = None if wave.until is None else moment(wave.until)
    return {"number": wave.number, "of": wave.total, "waits_for": wave.waits_for, "until": until}


def _moved_to(identity: Identity, target: Target | None) -> Document:
    return {**_name(identity), **({"store": target.store, "namespace": target.namespace} if target else {})}


def _summary(plan: Plan) -> Document:
    """The counts; `release` and `namespaces` are only there if something is released, or a namespace deleted."""
    counted = asdict(summary(plan.targets))
    return {name: number for name, number in counted.items() if number or name not in ("release", "namespaces")}


def _unmanaged(found: UnmanagedTarget) -> Document:
    store, name = found.target.store, found.target.namespace
    return {"store": store, "namespace": name, "orphans": found.orphans, "configured": found.is_configured}


def _place(place: Place | None) -> Document | None:
    if place is None:
        return None
    return {"id": place.key if place.is_resolved else None, "description": str(place)}


def change_document(change: Change, seal: Seal) -> Document:
    """One change as plain data."""
    sensitive, before, after = change.sensitive, change.before, change.after
    write = seal if sensitive else bytes.hex
    key, label = change.identity
    document: Document = {
        "action": _TEXTS[change.action],
        "class": _TEXTS[change.cause],
        "key": key,
        "label": label,
        "reasons": list(change.reasons),
        "etag": before.etag if before else None,
        "before": before and _before(before, write, sensitive),
        "after": after and _after(after, write, sensitive),
        "origin": change.origin and str(change.origin),
    }
    if sensitive:
        document["sensitive"] = True
    if change.moved_to:
        document["moved_to"] = _moved_to(change.moved_to, change.moved_to_target)
    if written_after := change.written_after:
        document["written_after"] = list(written_after)
    if change.is_last:
        document["written_last"] = True
    return document


def _before(actual: Actual, write: Seal, sensitive: bool) -> Document:
    size = actual.size if actual.content is None else len(actual.content.value)
    return {
        "fingerprint": None if actual.fingerprint is None else write(actual.fingerprint),
        "size": None if sensitive else size,
        **({"ttl": actual.mark.ttl} if actual.mark and actual.mark.ttl is not None else {}),
        **_end(actual.expires_at),
    }


def _after(entry: Entry, write: Seal, sensitive: bool) -> Document:
    described: Document = {
        "fingerprint": write(entry.fingerprint),
        "size": None if sensitive else len(entry.content.value),
    }
    if entry.ttl is not None:
        described["ttl"] = entry.ttl
    return described if entry.expires_at is None else described | _end(entry.expires_at)


def _end(expires_at: float | None) -> Document:
    return {} if expires_at is None else {"expires_at": moment(expires_at)}


def _refusal(refusal: Refusal) -> Document:
    return {
        "action": refusal.action.value,
        "class": refusal.cause.value,
        **_name(refusal.identity),
        "reason": refusal.reason,
        "code": refusal.code.value,
        "reasons": list(refusal.reasons),
        "origin": refusal.origin and str(refusal.origin),
    }


def _outcome(outcome: Outcome) -> Document:
    key, label = outcome.identity
    code = outcome.code
    described: Document = {
        "key": key,
        "label": label,
        "action": _TEXTS[outcome.action],
        "outcome": _TEXTS[outcome.kind],
        "error": outcome.error,
    }
    return described if code is None else described | {"code": code.value}


def _name(identity: Identity) -> Document:
    return {"key": identity.key, "label": identity.label}
