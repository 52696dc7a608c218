"""Plans put together and counted."""

from __future__ import annotations

from kvsync.errors import Origin, Problem
from kvsync.model.change import Action, Class, OutcomeKind, Refusal
from kvsync.model.entry import Identity, Target
from kvsync.model.plan import Summary, is_quiet, notices, outcome_counts, pending, summary
from tests.planning.plans import change, outcome, plan, report, stored, target_plan, wanted

CREATE = change(None, wanted("a", "v"))
DELETE = change(stored("b", "v"), None)
REFUSAL = Refusal(Identity("c"), Class.TAKEN, Action.UPDATE, "it belongs to another owner")


def test_targets_are_sorted() -> None:
    """A plan is the same however its targets were come by."""
    targets = [target_plan(CREATE, target=Target(name, "n")) for name in ("b", "a", "c")]
    assert plan(*targets) == plan(*reversed(targets))
    assert [target.target.store for target in plan(*targets).targets] == ["a", "b", "c"]


def test_summary() -> None:
    """A summary counts changes by action, and adds up what is left alone."""
    first = target_plan(CREATE, DELETE, refused=[REFUSAL], unchanged=3, foreign=1)
    second = target_plan(CREATE, target=Target("x", "y"), unchanged=4)
    assert summary([first, second]) == Summary(create=2, delete=1, unchanged=7, foreign=1, refused=1)


def test_pending() -> None:
    """Changes, refusals and drift that is only reported are pending; unchanged and foreign entries are not."""
    assert not pending(plan(target_plan(unchanged=3, foreign=2)))
    assert pending(plan(target_plan(CREATE)))
    assert pending(plan(target_plan(refused=[REFUSAL])))
    assert pending(plan(target_plan(reported=(DELETE,))))


def test_quiet() -> None:
    """A target is quiet only when neither its entries nor its listing nor its files need a word."""
    assert is_quiet(target_plan(unchanged=3))
    loud = [target_plan(CREATE), target_plan(refused=[REFUSAL]), target_plan(reported=(DELETE,))]
    loud += [target_plan(complete=False), target_plan(error="down"), target_plan(parked=("too many",))]
    loud += [target_plan(problems=(Problem("bad"),))]
    assert not any(map(is_quiet, loud))


def test_notices() -> None:
    """Problems with their place, errors, and reasons to be parked or approved are reported; an incomplete listing only once."""
    problem = Problem("bad", Origin("f.yaml", 1, 2))
    told = target_plan(problems=(problem,), error="down", parked=("too many",), complete=False)
    assert list(notices(told)) == [
        ("problem", "f.yaml:1:2: bad", "KV1101"),
        ("error", "down", None),
        ("parked", "too many", "KV5101"),
    ]
    assert [notice.kind for notice in notices(target_plan(complete=False))] == ["incomplete"]
    assert list(notices(target_plan(parked=("too many",), approved=True))) == [("approved", "too many", None)]


def test_outcome_counts() -> None:
    """Every kind of outcome is named, also those that did not occur."""
    target = target_plan(CREATE, DELETE)
    counted = outcome_counts([report(target, outcome(CREATE), outcome(DELETE, OutcomeKind.FAILED, "no"))])
    assert list(counted) == list(OutcomeKind)
    assert sum(counted.values()) == 2
    assert counted[OutcomeKind.APPLIED] == counted[OutcomeKind.FAILED] == 1
