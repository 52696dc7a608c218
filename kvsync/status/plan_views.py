"""Plans as the page and `/status` may show them: what is pending in a target, and what an undo would do.

Nothing here holds the value of a sensitive entry. All texts of a plan are escaped as `kvsync plan` shows them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from kvsync.model.entry import Target
from kvsync.rendering.difference import Line


class PendingRowKind(StrEnum):
    """What a row of a pending plan is: to be applied, refused, or drift that is only reported."""

    CHANGE = "change"
    REFUSED = "refused"
    REPORTED = "reported"


@dataclass(frozen=True, slots=True)
class PendingRow:
    """One entry of a pending plan, as far as it may be shown.

    `sign` is the one of `kvsync plan` (`+ ~ ^ = - !`), `name` the key with the label in brackets. `notes` are short texts that
    fit next to the name (of a refusal: the reason), `below` the lines of a difference. All texts are escaped for one line.
    """

    kind: PendingRowKind
    sign: str
    action: str
    cause: str
    name: str
    sensitive: bool = False
    notes: tuple[str, ...] = ()
    below: tuple[Line, ...] = ()
    origin: str | None = None


@dataclass(frozen=True, slots=True)
class PendingPlan:
    """Changes that the last pass planned, not applied. `counts` counts by action, and `refused` and `reported`; `hidden` is how
    many entries have no row. `cost` says in words what applying takes."""

    digest: str
    rows: tuple[PendingRow, ...] = ()
    hidden: int = 0
    counts: Mapping[str, int] = field(default_factory=dict)
    cost: str = ""


@dataclass(frozen=True, slots=True)
class UndoneTarget:
    """What an undo would do in one target, or why it can do nothing there."""

    target: Target
    plan: PendingPlan | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class UndoView:
    """An undo before it is requested: of which runs, in words; what travels with the request (`run` or `commit`, and `digest`);
    what would be done, and how many entries cannot be restored because the journal has no value of them. `runs` counts the
    runs, `of_commit` is the commit that a single run is of."""

    text: str
    digest: str
    run: str = ""
    commit: str = ""
    targets: tuple[UndoneTarget, ...] = ()
    changes: int = 0
    lost: int = 0
    runs: int = 1
    of_commit: str | None = None
