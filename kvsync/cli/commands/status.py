"""The command `kvsync status`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import click

from kvsync.cli import options
from kvsync.cli.command import GlobalOptions, command
from kvsync.cli.exit_codes import Exit
from kvsync.cli.output import answer_document, answer_lines
from kvsync.cli.table import table
from kvsync.util.escaping import escape_name


@command(
    "status",
    short_help="Show the state of the daemon and of each target.",
    examples=("status", "status -o json", "status --check"),
    exits=(Exit.DONE, Exit.ERROR),
)
@options.output("text", "json")
@click.option(
    "--check", is_flag=True, help="Exit with 1 unless a daemon is running and ready (for container health checks)."
)
def status(settings: GlobalOptions, output: str, check: bool) -> Exit:
    """Show whether a daemon is running on this state directory, the last pass of each target, parked plans (with the hash to
    approve), pauses, and deferred entries. Without a daemon, it shows the last known state.
    """
    from kvsync.app.status import current_status

    document = current_status(settings.config, settings.environment)
    if output == "json":
        answer_document(document)
    else:
        answer_lines(*_lines(document))
    return Exit.ERROR if check and not _is_healthy(document["daemon"]) else Exit.DONE


def _is_healthy(daemon: dict[str, Any] | None) -> bool:
    return daemon is not None and daemon["running"] and daemon["ready"]


def _lines(document: dict[str, Any]) -> Iterator[str]:
    """Sections with an empty line between them."""
    sections = [[_daemon_line(document)], _source_lines(document["source"]), _target_lines(document["targets"])]
    moved = (one for one in document["targets"] if one["place"] and one["place"]["previous"])
    sections += ([_moved_line(one)] for one in moved)
    sections += map(_parked_lines, document["parked"])
    sections += ([_paused_line(one)] for one in document["paused"])
    sections += map(_deferred_lines, document["deferred"])
    sections += [_deletes_lines(document["deletes"])]
    for number, section in enumerate(filter(None, sections)):
        yield from [""] * bool(number)
        yield from section


def _daemon_line(document: dict[str, Any]) -> str:
    replicas, daemon = document["replicas"], document["daemon"]
    if replicas:
        each = ", ".join(f"{one['host']} process {one['pid']} with {one['targets']} targets" for one in replicas)
        return f"{len(replicas)} {'replica' if len(replicas) == 1 else 'replicas'}: {each}"
    if daemon is None or not daemon["running"]:
        writer = document["writer"]
        return (
            "no daemon is running"
            if writer is None
            else f"no daemon is running; process {writer or '?'} holds the lock"
        )
    ready = "" if daemon["ready"] else ", not ready yet"
    window = f"; a maintenance window blocks applying: {daemon['window']}" if daemon["window"] else ""
    return f"daemon: process {daemon['pid']} since {daemon['started_at']}, {_does(daemon)}{ready}{window}"


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


def _source_lines(source: dict[str, Any] | None) -> list[str]:
    if source is None:
        return []
    place = f"{escape_name(source['url'])} ({escape_name(source['ref'])})"
    lines = [
        f"source: commit {(source['commit'] or 'none')[:12]} of {place}, fetched {source['fetched_at'] or 'never'}"
    ]
    lines += [f"  fetch failed at {source['attempted_at']}: {source['error']}"] if source["error"] else []
    return lines + ([f"  {source['refused']}"] if source["refused"] else [])


def _target_lines(targets: list[dict[str, Any]]) -> list[str]:
    head = ("target", "last pass", "last success", "drift", "changes", "next pass", "error")
    shown = table(head, map(_target_row, targets)) or "the daemon has not made a pass yet\n"
    return shown.splitlines()


def _target_row(one: dict[str, Any]) -> tuple[str, ...]:
    from kvsync.rendering.words import counts

    drift, changes = (counts((number, word) for word, number in one[name].items()) for name in ("drift", "changes"))
    moments = (one["attempted_at"], one["succeeded_at"] or "never")
    name = f"{one['store']}/{one['namespace']}"
    return (name, *moments, drift or "none", changes or "none", one["next_at"] or "", one["error"] or "")


def _moved_line(one: dict[str, Any]) -> str:
    place = one["place"]
    name = escape_name(f"{one['store']}/{one['namespace']}")
    return f"moved: {name} has been {place['description']} since {place['since']}; before, it was {place['previous']}"


def _parked_lines(one: dict[str, Any]) -> list[str]:
    from kvsync.rendering.words import short_hash

    name = escape_name(f"{one['store']}/{one['namespace']}")
    reasons = [f"  {reason}" for reason in one["reasons"]]
    digest = short_hash(one["digest"])
    how = f"approved at {one['approved_at']}" if one["approved_at"] else f"approve with: kvsync approve {digest}"
    return [f"parked: {name} since {one['since']}", *reasons, f"  {how}"]


def _deletes_lines(deletes: dict[str, Any]) -> list[str]:
    """How many entries were deleted in the last hour, once no more may be."""
    if deletes["last_hour"] < deletes["limit"]:
        return []
    until = f"; the next one is allowed at {deletes['free_at']}" if deletes["free_at"] else ""
    said = f"{deletes['last_hour']:,} in the last hour, the limit of run.max_deletes_per_hour"
    return [f"deletes: {said}{until}"]


def _paused_line(one: dict[str, Any]) -> str:
    because = f" ({one['reason']})" if one["reason"] else ""
    return f"paused: {escape_name(one['target'])} since {one['since']}{because}"


def _deferred_lines(one: dict[str, Any]) -> list[str]:
    from kvsync.rendering.words import counts

    name = escape_name(f"{one['store']}/{one['namespace']}")
    numbers = counts(((one["quarantined"], "refused by the store"), (one["contended"], "contended")))
    return [f"deferred: {name}: {numbers}", f"  retry with: {one['command']}"]
