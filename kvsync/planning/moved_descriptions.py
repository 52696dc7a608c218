"""Descriptions that move with a renamed key, unless the files give the new key another one."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from kvsync.model.change import Action, Change
from kvsync.model.desired import Desired
from kvsync.model.entry import Identity
from kvsync.planning.plan_inputs import PlanInputs
from kvsync.planning.verdict import Verdict


def with_moved_descriptions(verdicts: Iterable[Verdict], desired: Desired, facts: PlanInputs) -> list[Verdict]:
    """The verdicts, in which new entries have the descriptions of the entries that they replace."""
    found = {
        Identity(desired.moves[identity.key].destination, identity.label): actual.content.description
        for identity, actual in facts.actual.items()
        if identity.key in desired.moves and actual.content is not None and actual.content.description
    }
    return [
        _described(verdict, found.get(verdict.identity)) if isinstance(verdict, Change) else verdict
        for verdict in verdicts
    ]


def _described(change: Change, description: str | None) -> Change:
    after = change.after
    if change.action is not Action.CREATE or after is None or description is None:
        return change
    if after.content.description is not None:
        return change
    return replace(change, after=replace(after, content=after.content._replace(description=description)))
