"""What a command looks at, and what became of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from kvsync.core.digest import SHORTEST_HASH
from kvsync.core.model import OutcomeKind, Target
from kvsync.core.plan import Plan, TargetReport
from kvsync.errors import UsageError
from kvsync.reconcile import Ask
from kvsync.sources import Loaded


@dataclass(frozen=True, slots=True)
class Selection:
    """What a command looks at: targets (a store, or store/namespace; none: all) and how."""

    targets: tuple[str, ...] = ()
    ask: Ask = field(default_factory=Ask)


@dataclass(frozen=True, slots=True)
class Report:
    """What became of a plan. `run` is the journal's id of it, None when there was nothing to write."""

    plan: Plan
    targets: tuple[TargetReport, ...]
    run: str | None = None

    def counts(self) -> dict[str, int]:
        """How many outcomes there were of each kind."""
        kinds = [outcome.kind for report in self.targets for outcome in report.outcomes]
        return {kind.value: kinds.count(kind) for kind in OutcomeKind}


def is_hash_of(given: str, digest: str) -> bool:
    """True when a person who typed `given` (with or without `sha256:`, at least twelve digits) meant `digest`."""
    digits = given.strip().lower().removeprefix("sha256:")
    return len(digits) >= SHORTEST_HASH and digest.removeprefix("sha256:").startswith(digits)


def selected(loaded: Loaded, wanted: Sequence[str]) -> list[Target]:
    """The targets that a command names, all when it names none, sorted. Raises UsageError for one that does not exist."""
    known = sorted({*loaded.targets, *loaded.held, *loaded.kept})
    for name in wanted:
        if not any(name in (target.store, str(target)) for target in known):
            names = ", ".join(str(target) for target in known) or "none"
            raise UsageError(f"no target {name!r}; the files name: {names}")
    return [target for target in known if not wanted or {target.store, str(target)} & set(wanted)]
