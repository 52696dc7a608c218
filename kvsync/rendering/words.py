"""Formatting of names, durations, times, sizes and counts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from shlex import quote
from typing import Any

from kvsync.model.change import Action, OutcomeKind
from kvsync.model.digest import SHORTEST_HASH
from kvsync.model.entry import Identity, Target
from kvsync.model.plan import (
    NAMESPACES_DELETED,
    NAMESPACES_RENAMED,
    Cost,
    Plan,
    Summary,
    TargetReport,
    UnmanagedTarget,
    outcome_counts,
)
from kvsync.util.escaping import clip, escape_name, escape_text

SIGNS = {
    Action.CREATE: "+",
    Action.UPDATE: "~",
    Action.RENEW: "^",
    Action.ADOPT: "=",
    Action.RELEASE: "<",
    Action.DELETE: "-",
}
"""One sign for each action."""

REFUSED = "!"
"""The sign of what is refused."""

HOW_TO_LEAVE = "delete them with keys: {{}}, or give them up with kvsync release {}"
"""What can be done with the entries of a target that no file names."""

_UNITS = (("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1))


def name(identity: Identity, length: int = 200) -> str:
    """An identity for people: the key, and the label in brackets; no two look alike."""
    label = "" if identity.label is None else f" [{escape_name(identity.label)}]"
    return clip(escape_name(identity.key) + label, length)


def duration(seconds: int) -> str:
    """A lifetime as people write it, such as `1h30m`."""
    parts, rest = [], seconds
    for unit, length in _UNITS:
        number, rest = divmod(rest, length)
        if number:
            parts.append(f"{number}{unit}")
    return "".join(parts) or "0s"


def moment(epoch: float) -> str:
    """A moment as RFC 3339 in UTC, whole seconds."""
    try:
        return datetime.fromtimestamp(int(epoch), UTC).isoformat().removesuffix("+00:00") + "Z"
    except (ValueError, OverflowError, OSError):
        return f"{epoch:.0f}"


def count(number: int, noun: str, plural: str = "") -> str:
    """`1 request`, `12,000 requests`; `plural` where it is more than an s."""
    return f"{number:,} {noun if number == 1 else plural or f'{noun}s'}"


def summed_up(summary: Summary) -> str:
    """The counts of a plan in one line; actions and refusals that do not occur are left out, but for the three main ones."""
    parts = [f"{summary.create:,} to create", f"{summary.update:,} to update"]
    parts += [f"{summary.renew:,} to renew"] if summary.renew else []
    parts += [f"{summary.adopt:,} to adopt"] if summary.adopt else []
    parts += [f"{summary.release:,} to release"] if summary.release else []
    parts.append(f"{summary.delete:,} to delete")
    parts += [f"{count(summary.namespaces, 'namespace')} to delete"] if summary.namespaces else []
    parts += [f"{summary.refused:,} refused"] if summary.refused else []
    return ", ".join([*parts, untouched_counts(summary)])


def untouched_counts(summary: Summary) -> str:
    """The counts of what is not touched."""
    return f"{summary.unchanged:,} unchanged, {summary.foreign:,} foreign"


def counts(pairs: Iterable[tuple[int, str]]) -> str:
    """The counts that are not zero: `3 applied, 1 failed`."""
    return ", ".join(f"{number:,} {word}" for number, word in pairs if number)


def done_words(reports: Sequence[TargetReport]) -> str:
    """What became of plans in one line: `3 applied, 1 failed`; empty where nothing was done."""
    named = {kind.value: number for kind, number in outcome_counts(reports).items()}
    return outcome_words(named | {NAMESPACES_DELETED: sum(report.namespace_deleted for report in reports)})


def outcome_words(named: Mapping[str, int]) -> str:
    """The counts of a run in one line: `3 applied, 1 namespace deleted`."""
    return counts((number, _counted_outcome(kind, number)) for kind, number in named.items())


def outcome_word(kind: str) -> str:
    """An outcome as people read it: `not attempted`. JSON and log events have the name of the `OutcomeKind`."""
    return kind.replace("-", " ")


def _counted_outcome(kind: str, number: int) -> str:
    done = {NAMESPACES_DELETED: "deleted", NAMESPACES_RENAMED: "renamed"}.get(kind)
    if done is not None:
        return f"{'namespace' if number == 1 else 'namespaces'} {done}"
    return "conflicts" if kind == OutcomeKind.CONFLICT and number != 1 else outcome_word(kind)


def orphan_lines(plan: Plan) -> Iterator[str]:
    """What kvsync owns and no file names: a line for each target."""
    for target in plan.targets:
        if target.orphans:
            yield orphans_kept(target.target, target.orphans)
    for unmanaged in plan.unmanaged:
        yield orphans_unmanaged(unmanaged)


def orphans_kept(target: Target, number: int) -> str:
    """What is said of the orphans in a target that files name."""
    return f"{count(number, 'orphan')} in {target}: no file names them, and policy.prune is off"


def orphans_unmanaged(found: UnmanagedTarget) -> str:
    """What is said of the orphans in a target that no file names, and what to do about them."""
    target, store = found.target, found.target.store
    if not found.is_configured:
        return (
            f"{count(found.orphans, 'entry', 'entries')} owned in {target}: kvsync.yaml has no store {store!r}; if you"
            f" renamed it, run kvsync transfer --from-store {quote(store)}; otherwise, add it again to delete or release them"
        )
    return f"{count(found.orphans, 'orphan')} in {target}: no file names the target; {HOW_TO_LEAVE.format(target)}"


def cost_line(cost: Cost) -> str:
    """`2 requests, 812 bytes`, and the time where the store's rate makes it matter."""
    time = f", about {cost.seconds:,.0f} s at the store's rate" if cost.seconds >= 1 else ""
    return f"{count(cost.requests, 'request')}, {count(cost.bytes, 'byte')}{time}"


def caution_line(type_: str) -> str:
    """The caveat of a store without compare-and-set."""
    return (
        f"{escape_text(type_)} has no compare-and-set: kvsync reads each entry right before it writes it, but can overwrite"
        " a change that another program makes in that moment"
    )


def of_environment(environment: str | None) -> str:
    """` (prod)`, for the words before it; nothing where no environment is in force."""
    return f" ({escape_name(environment)})" if environment else ""


def short_hash(digest: str) -> str:
    """As much of a digest as a person needs to type."""
    return digest.removeprefix("sha256:")[:SHORTEST_HASH]


def restore_points(run: Mapping[str, Any]) -> list[str]:
    """A sentence for each restore point that a run made, given as plain data."""
    named = ((Target(one["store"], one["namespace"]), one["name"]) for one in run.get("restore_points", ()))
    return [f"restore point of {target}: {name}" for target, name in named]
