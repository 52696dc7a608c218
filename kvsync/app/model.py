"""Requests and results of the application layer."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import field

from kvsync.desired import DesiredState
from kvsync.errors import UsageError
from kvsync.model.digest import SHORTEST_HASH
from kvsync.model.entry import Target
from kvsync.model.pass_options import PassOptions
from kvsync.model.plan import NAMESPACES_DELETED, Plan, TargetReport, outcome_counts
from kvsync.util.values import dataclass

Working = Callable[[str], AbstractContextManager[object]]
"""Shows a person what is being waited for, until the end of the block."""


@dataclass(frozen=True, slots=True)
class TargetSelection:
    """The targets that a command works on (None: all), and the options for reading them."""

    targets: Collection[Target] | None = None
    ask: PassOptions = field(default_factory=PassOptions)


@dataclass(frozen=True, slots=True)
class Report:
    """Result of applying a plan. `run` is the id of the run in the journal; None if there was nothing to write."""

    plan: Plan
    targets: tuple[TargetReport, ...]
    run: str | None = None

    def counts(self) -> dict[str, int]:
        """Return the number of outcomes of each kind, and the number of deleted namespaces if there are any."""
        counts = {kind.value: number for kind, number in outcome_counts(self.targets).items()}
        deleted = sum(report.namespace_deleted for report in self.targets)
        return counts | ({NAMESPACES_DELETED: deleted} if deleted else {})


def is_hash_of(given: str, digest: str) -> bool:
    """True when a person who typed `given` (with or without `sha256:`, at least twelve digits) meant `digest`."""
    digits = given.strip().lower().removeprefix("sha256:")
    return len(digits) >= SHORTEST_HASH and digest.removeprefix("sha256:").startswith(digits)


def resolve_targets(loaded: DesiredState, names: Collection[str]) -> tuple[Target, ...] | None:
    """Return the targets that a command names. Each name is a store or store/namespace; without names, the result is None,
    which means all targets. Raises UsageError for a name that matches no target."""
    if not names:
        return None
    named = _by_name(loaded.managed)
    for name in names:
        if name not in named:
            known = ", ".join(map(str, sorted(loaded.managed))) or "none"
            raise UsageError(f"unknown target {name!r}; the files define {known}")
    return tuple(sorted({target for name in names for target in named[name]}))


def unmatched_keys(loaded: DesiredState, plan: Plan, globs: Collection[str]) -> tuple[str, ...]:
    """Those of the globs that match no key in the files of the planned targets, and none that the plan shows: probably
    misspelt."""
    if not globs:
        return ()
    wanted = [loaded.targets[one.target] for one in plan.targets if one.target in loaded.targets]
    keys = {identity.key for desired in wanted for identity in desired.entries}.union(
        *(desired.absent for desired in wanted)
    )
    for part in plan.targets:
        keys.update(one.identity.key for one in (*part.changes, *part.reported))
        keys.update(one.identity.key for one in part.refused)
    from kvsync.planning.compare import key_matcher

    return tuple(glob for glob in globs if not any(map(key_matcher((glob,)), keys)))


def _by_name(targets: Iterable[Target]) -> Mapping[str, Sequence[Target]]:
    named: defaultdict[str, list[Target]] = defaultdict(list)
    for target in targets:
        named[target.store].append(target)
        named[str(target)].append(target)
    return named
