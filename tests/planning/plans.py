"""Plans made by hand, for the tests of what is done with plans."""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from dataclasses import replace

from kvsync.errors import Origin
from kvsync.model.canonical import fingerprint
from kvsync.model.change import Action, Change, Class, Outcome, OutcomeKind, Refusal
from kvsync.model.digest import target_digest
from kvsync.model.entry import Actual, Content, Entry, Identity, Mark, Target
from kvsync.model.place import Place
from kvsync.model.plan import Plan, Stats, TargetPlan, TargetReport, make_plan

OWNER = "shop"
TARGET = Target("edge", "web")
CAUSES = {
    Action.CREATE: Class.NEW,
    Action.UPDATE: Class.CHANGED,
    Action.RENEW: Class.EXPIRING,
    Action.ADOPT: Class.UNOWNED,
    Action.DELETE: Class.REMOVED,
}


def seal(print_: bytes) -> str:
    """A state directory's seal with a key of its own."""
    return hmac.digest(b"key", print_, "sha256").hex()


def other_seal(print_: bytes) -> str:
    """The seal of another state directory."""
    return hmac.digest(b"other", print_, "sha256").hex()


def configured(target: Target) -> Place:
    """A target's place, as the configuration alone knows it."""
    return Place("memory", (("name", target.store),), is_resolved=False)


def as_content(value: str | bytes | Content) -> Content:
    if isinstance(value, Content):
        return value
    return Content(value.encode() if isinstance(value, str) else value)


def wanted(key: str, value: str | bytes | Content, label: str | None = None, **options: object) -> Entry:
    content = as_content(value)
    made = Entry(Identity(key, label), content, fingerprint(content))
    return replace(made, **options)  # type: ignore[arg-type]


def stored(
    key: str, value: str | bytes | Content, label: str | None = None, owner: str | None = OWNER, **options: object
) -> Actual:
    content = as_content(value)
    print_ = fingerprint(content)
    mark = None if owner is None else Mark(owner, print_)
    made = Actual(Identity(key, label), "etag-1", print_, content, len(content.value), mark=mark)
    return replace(made, **options)  # type: ignore[arg-type]


def change(
    before: Actual | None, after: Entry | None, reasons: tuple[str, ...] = (), line: int = 1, **options: object
) -> Change:
    """The change from one side to the other: a create, an update, a delete."""
    side = before or after
    assert side is not None
    action = Action.CREATE if before is None else Action.DELETE if after is None else Action.UPDATE
    if action is Action.UPDATE and not reasons:
        reasons = ("value",)
    made = Change(
        action,
        CAUSES[action],
        side.identity,
        reasons,
        before,
        after,
        Origin("state/web.yaml", line, 3) if after else None,
    )
    return replace(made, **options)  # type: ignore[arg-type]


def target_plan(
    *changes: Change, target: Target = TARGET, refused: Sequence[Refusal] = (), **options: object
) -> TargetPlan:
    made = TargetPlan(
        target,
        "sqlite",
        target_digest(b"key", target, None, changes, refused),
        changes=tuple(changes),
        refused=tuple(refused),
    )
    return replace(made, **options)  # type: ignore[arg-type]


def plan(*targets: TargetPlan, stats: Stats | None = None) -> Plan:
    return make_plan(b"key", OWNER, targets, stats)


def plan_of(*changes: Change, **options: object) -> Plan:
    return plan(target_plan(*changes, **options))  # type: ignore[arg-type]


def outcome(one: Change, kind: OutcomeKind = OutcomeKind.APPLIED, error: str | None = None) -> Outcome:
    return Outcome(one.identity, one.action, kind, error)


def report(target: TargetPlan, *outcomes: Outcome, error: str | None = None) -> TargetReport:
    return TargetReport(target, outcomes, error)
