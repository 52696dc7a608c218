"""Text of `kvsync status`: the daemon, the targets, and what waits for a person."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from shlex import quote
from textwrap import wrap
from typing import Any, Final

from kvsync.cli.output import width
from kvsync.cli.table import fitted, table
from kvsync.errors import with_code
from kvsync.model.entry import Target
from kvsync.util.escaping import escape_name, escape_text

_ORDER: Final = ("failing", "held", "parked", "drifted", "undone", "pending", "paused", "denied", "waiting", "in-sync")
"""The states, those that need a person first."""

_FEW: Final = 20
"""Targets up to which those in sync are listed too."""

_MOST: Final = 10
"""Parked plans, pauses and deferred targets that are described; the others are counted."""


def status_lines(document: dict[str, Any], *, lists_all: bool) -> Iterator[str]:
    """The lines of the status `document`: its sections, with an empty line between them."""
    sections = [
        [_daemon_line(document), *_lapsed_lines(document["lapsed"]), *_lease_lines(document)],
        _source_lines(document["source"]),
    ]
    sections.append(list(_target_lines(document["targets"], lists_all=lists_all)))
    sections += [_overdue_lines(document["overdue"])]
    moved = (one for one in document["targets"] if one["place"] and one["place"]["previous"])
    sections += _first(([_moved_line(one)] for one in moved), "moved targets")
    sections += _first(map(_parked_lines, document["parked"]), "parked targets")
    sections += _first(([_paused_line(one)] for one in document["paused"]), "pauses")
    deferred = _first(([_deferred_line(one)] for one in document["deferred"]), "targets with deferred entries")
    sections.append([line for lines in deferred for line in lines])
    orphans = _first(([_orphan_line(one)] for one in document["orphans"]), "targets with orphans")
    sections.append([line for lines in orphans for line in lines])
    sections += [_deletes_lines(document["deletes"])]
    for number, section in enumerate(filter(None, sections)):
        yield from [""] * bool(number)
        yield from section


def _first(sections: Iterable[list[str]], what: str) -> list[list[str]]:
    """The first of many sections, and how many more there are."""
    every = list(sections)
    more = [[f"and {len(every) - _MOST:,} more {what}; -o json lists all"]] if len(every) > _MOST else []
    return every[:_MOST] + more


def _daemon_line(document: dict[str, Any]) -> str:
    replicas, daemon, lapsed = document["replicas"], document["daemon"], document["lapsed"]
    if replicas:
        each = ", ".join(f"{one['host']} process {one['pid']} with {one['targets']} targets" for one in replicas)
        return f"{len(replicas)} {'replica' if len(replicas) == 1 else 'replicas'}: {each}"
    if lapsed:
        since = f"no replica has renewed its lease since {lapsed[0]['seen_at']}"
        return f"{since}: none is running, none reaches the database, or the database accepts no writes"
    if daemon is None or not daemon["running"]:
        writer = document["writer"]
        return (
            "no daemon is running"
            if writer is None
            else f"no daemon is running; process {writer or '?'} holds the lock"
        )
    ready = "" if daemon["ready"] else ", not ready yet"
    window = f"; a maintenance window blocks applying: {daemon['window']}" if daemon["window"] else ""
    environment = f", environment {escape_name(document['environment'])}" if document["environment"] else ""
    return f"daemon: process {daemon['pid']} since {daemon['started_at']}, {_does(daemon)}{environment}{ready}{window}"


def _does(daemon: dict[str, Any]) -> str:
    """What the daemon is there for, and who leads where there are replicas."""
    lease = daemon["lease"]
    if daemon["mode"] == "observe":
        return "observing only"
    if lease is None:
        return "applies"
    name = escape_name(lease["name"])
    if lease["leads"]:
        return f"leader (lease {name}), applying changes"
    leader = escape_name(lease["leader"]) if lease["leader"] else "no known leader"
    return f"standby (lease {name}); leader: {leader}"


def _lease_lines(document: dict[str, Any]) -> Iterator[str]:
    """Who leads each share, and what does not fit together."""
    daemon = document["daemon"]
    if daemon is None or not daemon["running"] or daemon["lease"] is None:
        return
    left: Counter[str] = Counter(one["share"] for one in document["unassigned"])
    for share, leader in daemon["lease"]["shares"].items():
        free = f"no replica leads it; targets that are not managed: {left[share]:,}"
        yield f"  share {share}: {free if leader is None else f'led by {escape_name(leader)}'}"
    yield from (f"  problem: {escape_text(one)}" for one in daemon["lease"]["problems"])


def _source_lines(source: dict[str, Any] | None) -> list[str]:
    if source is None:
        return []
    place = f"{escape_name(source['url'])} ({escape_name(source['ref'])})"
    lines = [
        f"source: commit {(source['commit'] or 'none')[:12]} of {place}, fetched {source['fetched_at'] or 'never'}"
    ]
    lines += [f"  fetch failed at {source['attempted_at']}: {source['error']}"] if source["error"] else []
    return lines + ([f"  {source['refused']}"] if source["refused"] else [])


def _target_lines(targets: list[dict[str, Any]], *, lists_all: bool) -> Iterator[str]:
    """The counts of states, then a line for each target, the most urgent first, and below it what went wrong."""
    if not targets:
        yield "no target matches" if lists_all else "the daemon has not made a pass yet"
        return
    ordered = sorted(targets, key=lambda one: _ORDER.index(one["state"]))
    seen = Counter(one["state"] for one in ordered)
    yield f"{len(targets):,} target{'s' if len(targets) != 1 else ''}: " + ", ".join(
        f"{number:,} {state.replace('-', ' ')}" for state, number in seen.items()
    )
    shown = [one for one in ordered if one["state"] != "in-sync" or lists_all or len(targets) <= _FEW]
    if not shown:
        return
    yield ""
    head, *rows = table(("state", "target", "last success", "last pass found"), map(_target_row, shown)).splitlines()
    yield head
    for row, one in zip(rows, shown, strict=True):
        yield row
        yield from (f"  {line}" for line in _wrapped(one["error"]))
        if one["wave"] is not None and one["wave"]["reason"] is not None:
            yield from (f"  {line}" for line in _wrapped(f"wave: {one['wave']['reason']}"))
    if len(shown) < len(targets):
        yield f"{len(targets) - len(shown):,} in sync; kvsync status --state in-sync lists them"


def _lapsed_lines(lapsed: list[dict[str, Any]]) -> Iterator[str]:
    """The replicas that did not renew their leases, and did not leave either."""
    for one in lapsed[:_MOST]:
        yield f"  lease not renewed: {escape_name(one['host'])} process {one['pid']}, last heard from at {one['seen_at']}"


def _overdue_lines(overdue: list[dict[str, Any]]) -> list[str]:
    """How many targets have had no recorded pass for too long, so that what is shown of them may be stale."""
    if not overdue:
        return []
    first = min(overdue, key=lambda one: str(one["due_at"]))
    name = escape_name(f"{first['store']}/{first['namespace']}")
    what = "1 target has" if len(overdue) == 1 else f"{len(overdue):,} targets have"
    why = "passes take longer than run.every, or the state cannot be written (a full disk?); the daemon's log has the cause"
    since = f"overdue: {what} no recorded pass since it was due ({name} at {first['due_at']})"
    return wrap(f"{since}, so the figures may be stale: {why}", max(width(), 40))


def _wrapped(error: str | None) -> list[str]:
    """An error in lines as wide as the terminal."""
    return [] if error is None else wrap(escape_text(error), max(width() - 2, 40))


def _target_row(one: dict[str, Any]) -> tuple[str, ...]:
    from kvsync.rendering.words import outcome_words

    drift, changes = (outcome_words(one[name]) for name in ("drift", "changes"))
    name = fitted(f"{one['store']}/{one['namespace']}", max(width() - 50, 24))
    found = "; ".join(filter(None, (drift and f"drift: {drift}", changes)))
    nothing = "nothing to do" if one["error"] is None else "unknown"
    return one["state"].replace("-", " "), name, one["succeeded_at"] or "never", found or nothing


def _moved_line(one: dict[str, Any]) -> str:
    place = one["place"]
    name = escape_name(f"{one['store']}/{one['namespace']}")
    return f"moved: {name} has been {place['description']} since {place['since']}; before, it was {place['previous']}"


def _parked_lines(one: dict[str, Any]) -> list[str]:
    from kvsync.rendering.words import short_hash

    name = escape_name(f"{one['store']}/{one['namespace']}")
    reasons = [f"  {with_code(reason, one['code'])}" for reason in one["reasons"]]
    digest = short_hash(one["digest"])
    how = f"approved at {one['approved_at']}" if one["approved_at"] else f"approve with: kvsync approve {digest}"
    return [f"parked: {name} since {one['since']}", *reasons, f"  {how}"]


def _orphan_line(one: dict[str, Any]) -> str:
    from kvsync.model.plan import UnmanagedTarget
    from kvsync.rendering.words import orphans_kept, orphans_unmanaged

    target = Target(one["store"], one["namespace"])
    if one["managed"]:
        return orphans_kept(target, one["orphans"])
    return orphans_unmanaged(UnmanagedTarget(target, one["orphans"], one["configured"]))


def _deletes_lines(deletes: dict[str, Any]) -> list[str]:
    """How many entries were deleted in the last hour, once no more may be."""
    if deletes["last_hour"] < deletes["limit"]:
        return []
    until = f"; the next one is allowed at {deletes['free_at']}" if deletes["free_at"] else ""
    said = f"{deletes['last_hour']:,} in the last hour, the limit of run.max_deletes_per_hour"
    return [f"deletes: {said}{until}"]


def _paused_line(one: dict[str, Any]) -> str:
    because = f" ({one['reason']})" if one["reason"] else ""
    said = f"paused: {escape_name(one['target'])} since {one['since']}{because}"
    if one["configured"]:
        return said
    store = one["target"].partition("/")[0]
    renamed = f"if you renamed it, run kvsync transfer --from-store {quote(store)}"
    what = f"kvsync.yaml has no store {store!r}; {renamed}; otherwise, run kvsync resume {quote(one['target'])}"
    return f"{said}, but {escape_text(what)}"


def _deferred_line(one: dict[str, Any]) -> str:
    from kvsync.rendering.words import counts

    name = escape_name(f"{one['store']}/{one['namespace']}")
    waiting = ((one["quarantined"], "refused by the store"), (one["contended"], "contended"), (one["undone"], "undone"))
    is_undone = not (one["quarantined"] or one["contended"])
    kind, how = ("undone", "apply again") if is_undone else ("deferred", "retry")
    return f"{kind}: {name}: {counts(waiting)}; {how}: {one['command']}"
