"""Descriptions that move with a renamed key, unless the files give the new key another one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from kvsync.model.change import Action, Change
from kvsync.model.desired import Desired
from kvsync.model.entry import Identity, Target
from kvsync.planning.plan_inputs import PlanInputs
from kvsync.planning.verdict import Verdict


def with_moved_descriptions(verdicts: Iterable[Verdict], desired: Desired, facts: PlanInputs) -> list[Verdict]:
    """The verdicts, in which new entries have the descriptions of the entries that they replace."""
    moves = {key: move.destination for key, move in desired.moves.items() if move.destination_target is None}
    found = {
        Identity(moves[identity.key], identity.label): actual.content.description
        for identity, actual in facts.actual.items()
        if identity.key in moves and actual.content is not None and actual.content.description
    }
    return [described(verdict, found) if isinstance(verdict, Change) else verdict for verdict in verdicts]


def arriving(changes: Iterable[Change], desired: Desired) -> dict[Target, dict[Identity, Identity]]:
    """New entries that come from other targets and for which the files have no description: by target, the entry there and the
    new one."""
    sources = {one.destination: one for one in desired.moved if one.source_target is not None}
    found: dict[Target, dict[Identity, Identity]] = {}
    for change in changes if sources else ():
        move, name = sources.get(change.identity.key), change.identity
        if move is not None and move.source_target is not None and _lacks_description(change):
            found.setdefault(move.source_target, {})[Identity(move.source, name.label)] = name
    return found


def described(change: Change, descriptions: Mapping[Identity, str]) -> Change:
    """The change with the description that its entry had under its former name. The mark does not cover it: it stays with
    other writers."""
    after, description = change.after, descriptions.get(change.identity)
    if after is None or description is None or not _lacks_description(change):
        return change
    return replace(change, after=replace(after, content=after.content._replace(description=description)))


def _lacks_description(change: Change) -> bool:
    """True for a new entry for which the files have no description."""
    return change.action is Action.CREATE and change.after is not None and change.after.content.description is None
