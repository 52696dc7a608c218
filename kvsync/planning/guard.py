"""Guard: reasons why a plan must be approved before it is applied.

A plan that is too large is far more often a mistake (an empty checkout, a wrong folder, an incomplete listing) than intended.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from kvsync.model.change import Action, Change
from kvsync.model.entry import Entry, Identity, Mode
from kvsync.model.policy import Guard


def check(
    changes: Sequence[Change],
    guard: Guard,
    owned: int,
    desired: Mapping[Identity, Entry],
    complete: bool,
    problems: Sequence[str],
) -> tuple[str, ...]:
    """The reasons to park a target, as sentences with numbers; none if it may be applied.

    `owned` is the number of entries in the store that are ours, `desired` that of the entries in the files. `complete` says
    whether the whole store was listed, `problems` why not. The delete of a move does not count as long as its content exists
    under the new name. If several keys are moved to one name, only one content remains, so the others count. Moves to another
    target count as well; but a target that is emptied only by such moves is not treated as emptied by mistake.
    """
    removed = [change for change in changes if change.action is Action.DELETE]
    deletes = len(removed) - len(_moved(removed, changes, desired))
    updates = sum(change.action is Action.UPDATE for change in changes)
    reasons: list[str] = []
    if changes and not complete:
        reasons.append(_incomplete(len(changes), problems))
    lost = sum(change.moved_to_target is None for change in removed)
    if lost and not desired:
        reasons.append(f"would delete {_entries(lost)} because the files ask for none (an empty target)")
    if deletes > guard.max_deletes:
        reasons.append(f"would delete {_entries(deletes)}; the limit is {guard.max_deletes:,} (guard.max_deletes)")
    shares = (("delete", deletes, guard.max_delete_pct), ("update", updates, guard.max_update_pct))
    return (*reasons, *_too_large(shares, guard.min_existing, owned))


def _moved(removed: Sequence[Change], changes: Sequence[Change], desired: Mapping[Identity, Entry]) -> set[Identity]:
    """The new names under which the content of a removed entry remains."""
    moves = [
        (change, change.moved_to) for change in removed if change.moved_to is not None and not change.moved_to_target
    ]
    written = {change.identity: change for change in changes if change.after is not None} if moves else {}
    return {name for change, name in moves if _keeps_content(change, written.get(name), desired.get(name))}


def _keeps_content(removed: Change, write: Change | None, entry: Entry | None) -> bool:
    """True if the new name has, or is created with, the content of the old one. Another content replaces the old one, and a new
    name that held something else loses that."""
    before = removed.before
    if entry is None or before is None or (write is not None and write.action is Action.UPDATE):
        return False
    if write is None and entry.mode is not Mode.ENFORCE:
        return False  # it may hold anything
    if before.fingerprint is not None:
        return before.fingerprint == entry.fingerprint
    return before.mark is not None and before.mark.matches(entry.fingerprint)


def _too_large(shares: Iterable[tuple[str, int, float]], least: int, owned: int) -> Iterator[str]:
    for verb, count, limit in shares:
        # `prune: scope` and `adopt: always` reach entries that are not ours: then there are more of them than we own.
        reach = max(owned, count)
        if reach >= least and count * 100 > limit * reach:
            share = f"{count:,} of {reach:,} entries ({_percent(count * 100 / reach)})"
            yield f"would {verb} {share}; the limit is {_percent(limit)} (guard.max_{verb}_pct)"


def _incomplete(changes: int, problems: Sequence[str]) -> str:
    because = f": {'; '.join(problems)}" if problems else ""
    noun = "change is" if changes == 1 else "changes are"
    return f"the listing of the store is incomplete{because}; {changes:,} {noun} withheld"


def _entries(count: int) -> str:
    return "1 entry" if count == 1 else f"{count:,} entries"


def _percent(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0") + " %"
