"""Registry of log events: name, level, fields and meaning. Names are stable, because alerts depend on them."""

from __future__ import annotations

from typing import Final

from kvsync.util.values import dataclass


@dataclass(frozen=True, slots=True)
class Event:
    """One kind of event. `fields` are those it may carry, besides timestamp, level and event."""

    name: str
    level: str
    fields: tuple[str, ...]
    meaning: str


_TARGET: Final = ("store", "namespace")
_ENTRY: Final = (*_TARGET, "key", "label")

_ALL: Final = (
    Event("daemon.started", "info", ("pid", "version", "observe"), "The daemon started."),
    Event("daemon.ready", "info", ("targets", "seconds"), "The first pass of every target has finished."),
    Event("daemon.stopping", "info", ("reason", "running"), "The daemon is stopping, and finishes the requests in flight."),
    Event("daemon.stopped", "info", ("seconds", "unfinished"), "The daemon stopped."),
    Event(
        "state.lost",
        "warning",
        ("path", "lost"),
        "`state.db` is missing from a directory that was in use; history, pauses, approvals and local ledgers start empty.",
    ),
    Event(
        "state.older",
        "warning",
        ("path", "missing", "lost"),
        "`state.db` lacks transactions that kvsync made, because an older copy was put in its place, or the machine lost"
        " power.",
    ),
    Event(
        "state.restored",
        "warning",
        ("file",),
        "A file of the state directory was missing; the daemon wrote it again from memory.",
    ),
    Event("config.reloaded", "info", (), "A changed configuration was loaded."),
    Event(
        "config.invalid",
        "error",
        ("problems", "error", "code", "exception"),
        "A changed configuration is invalid, and was not loaded.",
    ),
    Event("source.loaded", "info", ("targets", "changed", "seconds"), "The state files were read."),
    Event(
        "source.invalid",
        "error",
        ("file", "line", "column", "error", "hint", "code", "exception"),
        "The state files have a problem; the targets they name keep their last good state.",
    ),
    Event("source.recovered", "info", ("problems",), "The problems in the state files are fixed."),
    Event(
        "source.fetched", "info", ("url", "ref", "commit", "before", "seconds"), "A different commit is now in use."
    ),
    Event(
        "source.refused",
        "error",
        ("url", "ref", "commit", "kept", "error", "hint", "code"),
        "The newest commit was rejected; the last good one stays in use.",
    ),
    Event("source.unavailable", "error", ("error", "code", "retry_in"), "The repository cannot be fetched; kvsync retries."),
    Event("source.available", "info", ("seconds",), "The repository can be fetched again."),
    Event("watch.armed", "info", ("directories",), "kvsync watches these directories for changes."),
    Event("watch.polling", "warning", ("error", "directories", "seconds"), "No more file watches are available; kvsync polls."),
    Event(
        "store.unwatched",
        "warning",
        ("store", "error", "code", "exception"),
        "The watch on a store failed; kvsync tries again, and scheduled passes find changes in the meantime.",
    ),
    Event(
        "place.changed",
        "warning",
        (*_TARGET, "was", "now"),
        "A target resolves to a different place than before; every entry there is treated as new.",
    ),
    Event("pass.started", "debug", (*_TARGET, "trigger", "deep"), "A pass over one target started."),
    Event(
        "pass.finished",
        "info",
        (
            *_TARGET, "trigger", "ok", "applied", "failed", "unknown", "conflict", "stale", "refused", "drifted", "pending",
            "parked", "seconds", "next",
        ),
        "A pass over one target finished.",
    ),
    Event("pass.unchanged", "debug", (*_TARGET, "seconds"), "A scheduled pass over one target found nothing to do."),
    Event(
        "pass.failed",
        "error",
        (*_TARGET, "trigger", "error", "code", "retryable", "retry_in", "failures", "exception"),
        "A pass over one target failed; kvsync retries it. A persistent failure is logged again after 15 minutes, then at"
        " growing intervals, with the number of failures since; in between, only different errors are logged, eight at"
        " most. While a store is down, this applies to all of its targets together.",
    ),
    Event(
        "drift.detected",
        "warning",
        (*_ENTRY, "class", "action", "before", "after", "origin"),
        "The store differs from what kvsync last applied, because of another writer; before and after are fingerprints.",
    ),
    Event(
        "change.applied",
        "info",
        (*_ENTRY, "action", "class", "reasons", "run", "etag", "before", "after", "origin"),
        "One entry was written or deleted.",
    ),
    Event(
        "change.failed",
        "error",
        (*_ENTRY, "action", "class", "run", "outcome", "error", "code"),
        "One entry could not be written.",
    ),
    Event(
        "change.refused",
        "warning",
        (*_ENTRY, "action", "class", "run", "outcome", "reason", "code"),
        "A difference that kvsync only reports. The daemon logs it once, and again if it changes.",
    ),
    Event("namespace.deleted", "info", (*_TARGET, "place"), "kvsync deleted a namespace that it had emptied."),
    Event("entry.contended", "warning", (*_ENTRY, "times", "retry_in"), "Another writer keeps changing an entry back."),
    Event("entry.quarantined", "warning", (*_ENTRY, "error", "retry_in"), "The store refused an entry; kvsync retries later."),
    Event("entry.released", "info", (*_ENTRY, "by"), "An operator requested a retry of a deferred entry."),
    Event(
        "ledger.lost",
        "warning",
        (*_TARGET, "reason"),
        "The ledger in the store is missing, damaged, older, copied or not signed; kvsync uses the local ledger, and the"
        " next apply writes it to the store.",
    ),
    Event("ledger.written", "debug", (*_TARGET, "entries", "bytes"), "kvsync wrote the ledger to the store."),
    Event(
        "target.parked",
        "warning",
        (*_TARGET, "digest", "reasons", "code"),
        "A plan waits for approval: kvsync approve DIGEST.",
    ),
    Event("target.released", "info", (*_TARGET, "digest"), "A parked plan was approved, or no longer applies."),
    Event(
        "deletes.waiting",
        "warning",
        (*_TARGET, "count", "until", "code"),
        "Deletes wait for run.max_deletes_per_hour. Logged once, until no delete of the target waits any more.",
    ),
    Event(
        "wave.waiting",
        "info",
        (*_TARGET, "reason", "until"),
        "A target waits for an earlier wave. Logged once for each reason.",
    ),
    Event("target.paused", "warning", _TARGET, "A target is paused: it is planned, but not applied."),
    Event("target.resumed", "info", _TARGET, "The pause of a target ended."),
    Event("target.approved", "info", (*_TARGET, "digest", "by"), "An operator approved a parked plan."),
    Event(
        "status.unrecorded",
        "error",
        ("error", "code"),
        "Results of passes cannot be recorded in the state, so `kvsync status` shows older ones. Logged once, until they"
        " can be recorded again.",
    ),
    Event(
        "undo.finished",
        "info",
        (*_TARGET, "choice", "run", "outcomes", "error"),
        "An undo that an operator requested was carried out for a target.",
    ),
    Event(
        "undo.failed",
        "error",
        (*_TARGET, "error", "code"),
        "A requested undo could not be carried out; it stays requested.",
    ),
    Event("pause.begun", "info", (*_TARGET, "reason", "by"), "An operator paused a target or a store."),
    Event("pause.ended", "info", (*_TARGET, "by"), "An operator ended a pause."),
    Event("target.added", "info", _TARGET, "A target was added to the files."),
    Event("target.removed", "info", _TARGET, "A target was removed from the files; its entries are left unchanged."),
    Event("window.closed", "info", ("window", "until"), "A maintenance window blocks applying; plans are still made."),
    Event("window.opened", "info", ("until",), "The maintenance window ended; applying is allowed again."),
    Event(
        "lease.acquired",
        "info",
        ("lease", "identity", "previous"),
        "This replica became the leader, and makes a pass over all targets.",
    ),
    Event("lease.standby", "info", ("lease", "identity", "leader"), "Another replica is the leader; this one only plans."),
    Event("lease.lost", "warning", ("lease", "identity", "reason", "seconds"), "This replica lost the lease; it only plans."),
    Event("lease.released", "info", ("lease", "identity"), "This replica released the lease on shutdown."),
    Event(
        "lease.conflict",
        "warning",
        ("lease", "problem"),
        "Another leader has a different owner, number of shares or lease than this replica.",
    ),
    Event(
        "division.unknown",
        "warning",
        ("lease", "error", "code"),
        "The leases of other leaders cannot be read, so kvsync would not notice if they divided the targets differently.",
    ),
    Event("revisions.denied", "warning", ("error", "code"), "kvsync cannot read which revisions were applied, so it would"
                                                            " not notice if its files were older."),
    Event("fleet.joined", "info", ("replica",), "This replica joined the fleet that shares the state."),
    Event("fleet.taken", "info", ("replica", "targets", "held"), "This replica took targets that no running replica held."),
    Event(
        "fleet.shed",
        "info",
        ("replica", "targets", "held"),
        "This replica gives up targets, because others have less to do.",
    ),
    Event("fleet.lost", "warning", ("replica", "reason"), "The lease of this replica ended; others take its targets."),
    Event("fleet.left", "info", ("replica",), "This replica left the fleet; others take its targets at once."),
    Event("fleet.error", "error", ("replica", "error", "code", "writes", "exception"), "The shared state does not respond."),
    Event("fleet.available", "info", ("replica",), "The shared state responds again."),
    Event(
        "lease.error",
        "error",
        ("lease", "error", "code", "leads", "exception"),
        "The lease could not be read; kvsync retries.",
    ),
    Event(
        "store.unavailable",
        "error",
        ("store", "error", "code", "retry_in"),
        "A store is unreachable, or refuses the credential.",
    ),
    Event(
        "store.down",
        "error",
        ("store", "error", "code", "retry_in", "failures", "seconds"),
        "A store is still down. Logged after 15 minutes, then at growing intervals, with the number of failed passes since the"
        " previous event, and the duration.",
    ),
    Event(
        "store.crashed",
        "error",
        (*_TARGET, "error", "code", "exception"),
        "An unexpected exception ended the work on one target; this is a bug in kvsync or in the store type.",
    ),
    Event("store.recovered", "info", ("store", "seconds"), "A store responds again."),
    Event("http.listening", "info", ("url", "loopback", "token"), "Status page, metrics and webhooks are served here."),
    Event(
        "http.unavailable",
        "error",
        ("listen", "error", "code"),
        "A changed address cannot be used; the old one stays in use.",
    ),
    Event("http.denied", "warning", ("remote", "method", "path", "reason"), "A request was refused because of its host,"
                                                                            " token or signature."),
    Event("http.failed", "error", ("method", "path", "exception"), "A request failed because of an error in kvsync."),
    Event("hook.received", "debug", ("sender", "delivery", "result"), "A webhook request, and its result."),
    Event("notice.sent", "info", ("channel", "notices", "attempts"), "A notification was delivered."),
    Event(
        "notice.failed",
        "warning",
        ("channel", "notices", "error", "code", "retry_in", "exception"),
        "A notification could not be sent; kvsync retries with current facts. Logged once, until a notification is"
        " delivered.",
    ),
    Event(
        "log.dropped",
        "warning",
        ("lines",),
        "Log events were dropped because nothing read the log, or not fast enough. The daemon continues.",
    ),
    Event("run.unfinished", "warning", ("run", "intents"), "An earlier run was interrupted; kvsync checks its changes."),
)  # fmt: skip

EVENTS: Final = {event.name: event for event in _ALL}
"""All events by name."""


def events_table() -> str:
    """All events as a Markdown table, in the order of their life."""
    rows = (f"| `{event.name}` | {event.level} | {_names(event.fields)} | {event.meaning} |" for event in _ALL)
    return "\n".join(("| event | level | fields | meaning |", "|---|---|---|---|", *rows)) + "\n"


def _names(fields: tuple[str, ...]) -> str:
    return ", ".join(f"`{field}`" for field in fields)
