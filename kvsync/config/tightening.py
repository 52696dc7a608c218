"""Ordering of policy settings from loose to strict, used to reject state files that loosen the policy.

line                            tighter is
prune                           scope -> owned -> off
adopt                           always -> if-equal -> never
drift, for each class           heal -> gate, heal -> report (gate and report cannot replace each other)
guard: percentages, max_deletes smaller
guard: min_existing             smaller: the percentages then hold for smaller targets too
guard: grace                    longer
ignore                          more patterns
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any, Final

from kvsync.model.policy import Adopt, DriftAction, DriftPolicy, Guard, Policy, Prune
from kvsync.util.values import dataclass

_PRUNE: Final = {
    Prune.OFF: "",
    Prune.OWNED: "delete entries that are no longer in the files",
    Prune.SCOPE: "delete every entry of the target that is not in the files, including those that kvsync did not write",
}
_ADOPT: Final = {
    Adopt.NEVER: "",
    Adopt.IF_EQUAL: "take ownership of equal entries that have no owner",
    Adopt.ALWAYS: "overwrite entries that have no owner",
}
_DRIFT: Final = {
    DriftAction.HEAL: "overwrite {} entries without an approval",
    DriftAction.REPORT: "apply other changes while there are {} entries",
    DriftAction.GATE: "overwrite {} entries once the plan is approved",
}
_GUARD: Final = {
    "max_delete_pct": "delete up to {} % of the entries without an approval",
    "max_update_pct": "update up to {} % of the entries without an approval",
    "min_existing": "lift the percentages for targets of fewer than {} entries",
    "max_deletes": "delete up to {} entries without an approval",
    "grace": "delete entries {} after they left the files",
}
_LONGER_IS_TIGHTER: Final = frozenset({"grace"})


@dataclass(frozen=True, slots=True)
class Loosening:
    """One line that loosens a policy: the path of the `field`, what is `wanted`, what the `ceiling` says, and the effect."""

    field: str
    wanted: object
    ceiling: object
    effect: str


def loosened(ceiling: Policy, lines: Mapping[str, Any]) -> Iterator[Loosening]:
    """Yield each of the `lines` (as `decode` gives them for POLICY_FIELDS) that allows more than `ceiling` does."""
    if "prune" in lines:
        yield from _ranked("prune", lines["prune"], ceiling.prune, _PRUNE)
    if "adopt" in lines:
        yield from _ranked("adopt", lines["adopt"], ceiling.adopt, _ADOPT)
    if "drift" in lines:
        yield from _drift(ceiling.drift, lines["drift"])
    if "guard" in lines:
        yield from _guard(ceiling.guard, lines["guard"])
    if "ignore" in lines and ceiling.ignore and not lines["ignore"]:
        yield Loosening("ignore", "[]", list(ceiling.ignore), "stop ignoring keys")


def lines_of(policy: Policy) -> dict[str, Any]:
    """A whole policy as the lines that would make it."""
    return {
        "prune": policy.prune,
        "adopt": policy.adopt,
        "drift": asdict(policy.drift),
        "guard": asdict(policy.guard),
        "ignore": policy.ignore,
    }


def _ranked(name: str, wanted: Any, ceiling: Any, effects: Mapping[Any, str]) -> Iterator[Loosening]:
    ranks = list(effects)
    if ranks.index(wanted) > ranks.index(ceiling):
        yield Loosening(name, wanted.value, ceiling.value, effects[wanted])


def _drift(ceiling: DriftPolicy, written: DriftAction | Mapping[str, DriftAction]) -> Iterator[Loosening]:
    allowed = asdict(ceiling)
    wanted = dict.fromkeys(allowed, written) if isinstance(written, DriftAction) else written
    wrong = {name: action for name, action in wanted.items() if allowed[name] not in (action, DriftAction.HEAL)}
    if isinstance(written, DriftAction) and len({allowed[name] for name in wrong}) == 1:  # one word: one problem
        said = allowed[next(iter(wrong))].value
        yield Loosening("drift", written.value, said, _DRIFT[written].format(" and ".join(wrong)))
        return
    for name, action in wrong.items():
        yield Loosening(f"drift.{name}", action.value, allowed[name].value, _DRIFT[action].format(name))


def _guard(ceiling: Guard, written: Mapping[str, float]) -> Iterator[Loosening]:
    for name, wanted in written.items():
        allowed = getattr(ceiling, name)
        if wanted < allowed if name in _LONGER_IS_TIGHTER else wanted > allowed:
            shown = _number(name, wanted)
            yield Loosening(f"guard.{name}", shown, _number(name, allowed), _GUARD[name].format(shown))


def _number(name: str, value: float) -> str:
    """A number as it is written in the file: lifetimes with their unit."""
    return f"{value:.6f}".rstrip("0").rstrip(".") + ("s" if name in _LONGER_IS_TIGHTER else "")
