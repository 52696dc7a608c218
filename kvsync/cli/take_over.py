"""Takes ownership of entries: the plan of `adopt` and `transfer`, shown first, then applied. No value changes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from kvsync.cli import open as opening
from kvsync.cli.exit_codes import Exit
from kvsync.cli.one_time import OneTimeChange
from kvsync.cli.output import print_message

if TYPE_CHECKING:
    from kvsync.model.change import Change, Refusal
    from kvsync.model.plan import Plan, TargetPlan

_MOST_SHOWN: Final = 20


@dataclass(frozen=True, slots=True)
class TakeoverRequest:
    """What to take ownership of: which changes of the plan, and, for a transfer, from which owner."""

    is_wanted: Callable[[Change], bool]
    targets: tuple[str, ...]
    keys: tuple[str, ...]
    from_owner: str | None = None


async def take_over(change: OneTimeChange, request: TakeoverRequest) -> Exit:
    """Plan, show, ask, apply. Raises NotApproved when nobody can be asked or a person says no, StateDirError."""
    from kvsync.model.pass_options import PassOptions
    from kvsync.model.policy import Adopt

    async with change.workspace() as workspace:
        loaded = opening.load(workspace)
        ask = PassOptions(deep=True, keys=request.keys, adopt=Adopt.IF_EQUAL, from_owner=request.from_owner)
        plan = await opening.plan(workspace, loaded, request.targets, ask)
        print_message(*_left(plan))
        chosen = narrowed(plan, request.is_wanted, workspace.state.digest_key)
        return await change.carry_out(workspace, loaded, chosen)


def narrowed(plan: Plan, is_wanted: Callable[[Change], bool], key: bytes) -> Plan:
    """What of a plan takes ownership; `key` is that of its digest."""
    from kvsync.model.plan import narrowed_plan

    return narrowed_plan(plan, (_part(one, is_wanted, key) for one in plan.targets), key)


def _part(plan: TargetPlan, is_wanted: Callable[[Change], bool], key: bytes) -> TargetPlan:
    """What of a target's plan takes ownership. A guard has nothing to say to it: no value is written."""
    from kvsync.model.digest import target_digest

    changes = tuple(filter(is_wanted, plan.changes))
    digest = target_digest(key, plan.target, plan.place, changes)
    return replace(plan, digest=digest, changes=changes, parked=(), refused=(), reported=())


def _left(plan: Plan) -> Iterator[str]:
    """What stays without our mark, and why, entry by entry."""
    from kvsync.model.change import Class
    from kvsync.rendering.words import count

    about = {
        Class.UNOWNED: "without an owner, different from the files",
        Class.TAKEN: "of another owner",
        Class.LOCKED: "locked in the store",
    }
    for cause, words in about.items():
        found = [(one, refusal) for one in plan.targets for refusal in one.refused if refusal.cause is cause]
        if found:
            yield f"left unchanged: {count(len(found), 'entry', 'entries')} {words}"
            yield from (_line(one, refusal) for one, refusal in found[:_MOST_SHOWN])
            yield from [f"  … {len(found) - _MOST_SHOWN:,} more"] * (len(found) > _MOST_SHOWN)


def _line(plan: TargetPlan, refusal: Refusal) -> str:
    from kvsync.rendering.words import name

    return f"  {plan.target}: {name(refusal.identity)}: {refusal.reason}"
