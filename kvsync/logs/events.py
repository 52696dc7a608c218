"""Every event kvsync logs: its name, its level, its fields, what it says. Names are stable: people's alerts hang on them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Event:
    """One kind of event. `fields` are those it may carry, beside timestamp, level and event."""

    name: str
    level: str
    fields: tuple[str, ...]
    meaning: str


_TARGET: Final = ("store", "namespace")
_ENTRY: Final = (*_TARGET, "key", "label")

_ALL: Final = (
    Event("daemon.started", "info", ("pid", "version", "observe"), "The daemon runs."),
    Event("daemon.ready", "info", ("targets", "seconds"), "The first pass of every target is done."),
    Event("daemon.stopping", "info", ("reason", "running"), "Asked to stop; what is in flight is being finished."),
    Event("daemon.stopped", "info", ("seconds", "unfinished"), "The daemon has left."),
    Event("config.reloaded", "info", (), "A changed configuration is in force."),
    Event("config.invalid", "error", ("problems", "error", "exception"), "A changed configuration is wrong; the old stays."),
    Event("source.loaded", "info", ("targets", "changed", "seconds"), "The state files were read."),
    Event(
        "source.invalid",
        "error",
        ("file", "line", "column", "error", "hint", "exception"),
        "Something in the state files is wrong; the targets it concerns keep their last good state.",
    ),
    Event("source.recovered", "info", ("problems",), "The state files are right again."),
    Event(
        "source.fetched", "info", ("url", "ref", "commit", "before", "seconds"), "Another commit of the repository is in force."
    ),
    Event(
        "source.refused",
        "error",
        ("url", "ref", "commit", "kept", "error", "hint"),
        "The newest commit is not used; the last good one stays in force.",
    ),
    Event("source.unavailable", "error", ("error", "retry_in"), "The repository cannot be fetched; trying again."),
    Event("source.available", "info", ("seconds",), "The repository can be fetched again."),
    Event("watch.armed", "info", ("directories",), "File changes are noticed in these directories."),
    Event("watch.polling", "warning", ("error", "directories", "seconds"), "The system's watches ran out; polling instead."),
    Event(
        "place.changed",
        "warning",
        (*_TARGET, "was", "now"),
        "The names of a target lead to another place than before; everything there is judged as new.",
    ),
    Event("pass.started", "debug", (*_TARGET, "trigger", "deep"), "A pass over one target begins."),
    Event(
        "pass.finished",
        "info",
        (
            *_TARGET, "trigger", "ok", "applied", "failed", "conflict", "stale", "refused", "drifted", "pending", "parked",
            "seconds", "next",
        ),
        "A pass over one target is done.",
    ),
    Event("pass.unchanged", "debug", (*_TARGET, "seconds"), "A scheduled pass over one target found nothing to do."),
    Event(
        "pass.failed",
        "error",
        (*_TARGET, "trigger", "error", "retryable", "retry_in", "exception"),
        "A pass over one target ended early; it is tried again.",
    ),
    Event(
        "drift.detected",
        "warning",
        (*_ENTRY, "class", "action", "before", "after", "origin"),
        "The store differs from what was applied, and kvsync did not do it; before and after are fingerprints.",
    ),
    Event(
        "change.applied",
        "info",
        (*_ENTRY, "action", "class", "reasons", "run", "etag", "before", "after", "origin"),
        "One entry was written or deleted.",
    ),
    Event("change.failed", "error", (*_ENTRY, "action", "class", "run", "outcome", "error"), "One entry could not be written."),
    Event(
        "change.refused",
        "warning",
        (*_ENTRY, "action", "class", "run", "outcome", "reason"),
        "A difference that kvsync does not act on.",
    ),
    Event("entry.contended", "warning", (*_ENTRY, "times", "retry_in"), "Another writer keeps changing an entry back."),
    Event("entry.quarantined", "warning", (*_ENTRY, "error", "retry_in"), "The store refuses an entry; it waits."),
    Event("entry.released", "info", (*_ENTRY, "by"), "An operator let a deferred entry be tried again at once."),
    Event(
        "ledger.lost",
        "warning",
        (*_TARGET, "reason"),
        "The ledger that the store keeps is gone, damaged, older, copied or not signed; this machine's own is used, and written"
        " there by the next apply.",
    ),
    Event("ledger.written", "debug", (*_TARGET, "entries", "bytes"), "The ledger that the store keeps says what is so."),
    Event("target.parked", "warning", (*_TARGET, "digest", "reasons"), "A plan waits for approval: kvsync approve DIGEST."),
    Event("target.released", "info", (*_TARGET, "digest"), "A parked plan was approved, or is no longer wanted."),
    Event(
        "deletes.waiting",
        "warning",
        (*_TARGET, "count", "until"),
        "Deletes wait for run.max_deletes_per_hour. Said once until none of the target waits any more.",
    ),
    Event("target.paused", "warning", _TARGET, "A person paused a target: it is planned and not applied."),
    Event("target.resumed", "info", _TARGET, "A paused target is applied again."),
    Event("target.approved", "info", (*_TARGET, "digest", "by"), "A person released a parked plan: by command, or over HTTP."),
    Event("pause.begun", "info", (*_TARGET, "reason", "by"), "A person asked to apply nothing to a target, or to a store."),
    Event("pause.ended", "info", (*_TARGET, "by"), "A person ended a pause."),
    Event("target.added", "info", _TARGET, "The files name a target that they did not name before."),
    Event("target.removed", "info", _TARGET, "No file names the target any more; what it holds is left alone."),
    Event("window.closed", "info", ("window", "until"), "Applying is denied from now on; plans are still made."),
    Event("window.opened", "info", ("until",), "Applying is allowed again."),
    Event(
        "lease.acquired",
        "info",
        ("lease", "identity", "previous"),
        "This replica leads from now on, and makes a pass over everything.",
    ),
    Event("lease.standby", "info", ("lease", "identity", "leader"), "Another replica leads; this one only plans."),
    Event("lease.lost", "warning", ("lease", "identity", "reason", "seconds"), "This replica leads no more: it only plans."),
    Event("lease.released", "info", ("lease", "identity"), "This replica leaves, and another one may lead at once."),
    Event("lease.error", "error", ("lease", "error", "leads", "exception"), "The lease could not be asked for; trying again."),
    Event("store.unavailable", "error", ("store", "error", "retry_in"), "A store cannot be reached or refuses the credential."),
    Event("store.recovered", "info", ("store", "seconds"), "A store answers again."),
    Event("http.listening", "info", ("url", "loopback", "token"), "Status, metrics and hooks are served at this address."),
    Event("http.unavailable", "error", ("listen", "error"), "A changed address cannot be used; the old one is kept."),
    Event("http.denied", "warning", ("remote", "method", "path", "reason"), "A request was refused: host, token or signature."),
    Event("http.failed", "error", ("method", "path", "exception"), "A request met a mistake in kvsync."),
    Event("hook.received", "debug", ("sender", "delivery", "result"), "A request to the hook, and what came of it."),
    Event("notice.sent", "info", ("channel", "notices", "attempts"), "A message about targets was taken by its receiver."),
    Event(
        "notice.failed",
        "warning",
        ("channel", "notices", "error", "retry_in", "exception"),
        "A message could not be sent; it is tried again, with what is so by then. Said once until one is taken again.",
    ),
    Event("run.unfinished", "warning", ("run", "intents"), "An earlier run was killed; what it left is looked at again."),
)  # fmt: skip

EVENTS: Final = {event.name: event for event in _ALL}
"""All events by name."""


def events_table() -> str:
    """All events as a Markdown table, in the order of their life."""
    rows = (f"| `{event.name}` | {event.level} | {_names(event.fields)} | {event.meaning} |" for event in _ALL)
    return "\n".join(("| event | level | fields | meaning |", "|---|---|---|---|", *rows)) + "\n"


def _names(fields: tuple[str, ...]) -> str:
    return ", ".join(f"`{field}`" for field in fields)
