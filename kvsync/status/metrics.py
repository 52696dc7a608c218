"""Prometheus metrics of the status snapshot. Labels contain names of stores and targets, never keys or values."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector, CollectorRegistry
from prometheus_client.utils import floatToGoString

from kvsync.model.change import DRIFT_CLASSES
from kvsync.status.snapshot import StatusSnapshot, StoreView, TargetView
from kvsync.util.escaping import escape_label

_LEVEL: Final = 3
"""Of compression: metrics repeat themselves, and the highest level makes them a fifth smaller for ten times the work."""

_RESPELLED: Final = ("escaping=dots", "escaping=values")
"""Spellings of names that a client can ask for, and that differ from the names."""

_CLASSES: Final = tuple(sorted(cause.value for cause in DRIFT_CLASSES))

Sample = tuple[tuple[str, ...], float]
"""The values of the labels, and the number."""


@dataclass(frozen=True, slots=True)
class Series:
    """One metric: its name without the `_total` of a counter, what it counts, its labels, and where the numbers come from."""

    name: str
    kind: str
    help: str
    labels: tuple[str, ...]
    samples: Callable[[StatusSnapshot], Iterable[Sample]]

    @property
    def shown_name(self) -> str:
        """The name as it is scraped."""
        return f"{self.name}_total" if self.kind == "counter" else self.name

    def family(self, snapshot: StatusSnapshot) -> Metric:
        """The metric with its samples from a snapshot."""
        make = CounterMetricFamily if self.kind == "counter" else GaugeMetricFamily
        family = make(self.name, self.help, labels=self.labels)
        for labels, number in self.samples(snapshot):
            family.add_metric([*map(escape_label, labels)], number)
        return family

    def text(self, snapshot: StatusSnapshot, escaped: Mapping[str, str], *, is_open: bool) -> str:
        """The same as text: in the format of OpenMetrics, or in that of Prometheus."""
        described = self.name if is_open else self.shown_name
        order = sorted(range(len(self.labels)), key=self.labels.__getitem__)
        names = ",".join(f'{self.labels[index]}="%s"' for index in order)
        line = f"{self.shown_name}{{{names}}} %s\n" if names else f"{self.shown_name} %s\n"
        lines = [
            line % (*[escaped[labels[index]] for index in order], floatToGoString(number))  # type: ignore[no-untyped-call]
            for labels, number in self.samples(snapshot)
        ]
        return f"# HELP {described} {self.help}\n# TYPE {described} {self.kind}\n{''.join(lines)}"


@dataclass(frozen=True, slots=True)
class MetricsText:
    """The answer to a scrape."""

    body: bytes
    headers: Mapping[str, str]


def exposition(snapshot: StatusSnapshot, accept: str = "", encodings: str = "") -> MetricsText:
    """The snapshot in the format and the encoding that the headers `Accept` and `Accept-Encoding` ask for."""
    encode, content_type = choose_encoder(accept)
    headers = {"Content-Type": content_type, "Vary": "Accept, Accept-Encoding"}
    body = _encoded(snapshot, encode, content_type)
    if not _takes_gzip(encodings):
        return MetricsText(body, headers)
    return MetricsText(gzip.compress(body, _LEVEL), headers | {"Content-Encoding": "gzip"})


def _encoded(snapshot: StatusSnapshot, encode: Callable[[Collector], bytes], content_type: str) -> bytes:
    """All metrics. The library works out names and labels again for each sample; with thousands of targets that is nearly all
    of the cost of a scrape, so only the histogram, and names in other spellings than usual, are left to it."""
    if any(spelling in content_type for spelling in _RESPELLED):
        return encode(_registry(_Families(snapshot, SERIES)))
    is_open, escaped = content_type.startswith("application/openmetrics-text"), _EscapedLabels()
    text = "".join(series.text(snapshot, escaped, is_open=is_open) for series in SERIES)
    return text.encode() + encode(_registry(_Families(snapshot, ())))


def _registry(families: Collector) -> CollectorRegistry:
    registry = CollectorRegistry(auto_describe=False)
    registry.register(families)
    return registry


class _EscapedLabels(dict[str, str]):
    """The values of labels as they are written between quotes, worked out once for each value."""

    def __missing__(self, text: str) -> str:
        shown = escape_label(text).replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")
        self[text] = shown
        return shown


def metrics_table() -> str:
    """All metrics as a Markdown table."""
    rows = [f"| `{one.shown_name}` | {one.kind} | {_names(one.labels)} | {one.help} |" for one in SERIES]
    rows.append(f"| `{_DURATION[0]}` | histogram | {_names(_STORE)} | {_DURATION[1]} |")
    return "\n".join(("| metric | type | labels | meaning |", "| --- | --- | --- | --- |", *rows))


class _Families(Collector):
    """What a registry asks."""

    def __init__(self, snapshot: StatusSnapshot, series: Iterable[Series]) -> None:
        self._snapshot, self._series = snapshot, series

    def collect(self) -> Iterator[Metric]:
        """These metrics of the snapshot, and the histogram."""
        for series in self._series:
            yield series.family(self._snapshot)
        durations = HistogramMetricFamily(*_DURATION, labels=_STORE)
        for store in self._snapshot.stores:
            if store.durations is not None:
                buckets = [(_bound(bound), count) for bound, count in store.durations.buckets]
                durations.add_metric([escape_label(store.name)], buckets, store.durations.sum)
        yield durations


# -- where the numbers come from --------------------------------------------------------------------------------------

_TARGET: Final = ("store", "namespace")
_STORE: Final = ("store",)
_DURATION: Final = ("kvsync_pass_duration_seconds", "Duration of passes, over all targets of a store.")


def _process(number: Callable[[StatusSnapshot], float | None]) -> Callable[[StatusSnapshot], Iterable[Sample]]:
    """One number of the process, left out when there is none."""

    def samples(snapshot: StatusSnapshot) -> Iterator[Sample]:
        if (found := number(snapshot)) is not None:
            yield (), found

    return samples


def _target(number: Callable[[TargetView], float | None]) -> Callable[[StatusSnapshot], Iterable[Sample]]:
    """One number of each target, left out where there is none."""

    def samples(snapshot: StatusSnapshot) -> Iterator[Sample]:
        for view in snapshot.own_targets:
            if (found := number(view)) is not None:
                yield (view.target.store, view.target.namespace), found

    return samples


def _compared(number: Callable[[TargetView], float]) -> Callable[[StatusSnapshot], Iterable[Sample]]:
    """One number of each target whose store was compared since the daemon started; of others it is not known."""
    return _target(lambda view: number(view) if view.is_known else None)


def _targets(numbers: Callable[[TargetView], Iterable[Sample]]) -> Callable[[StatusSnapshot], Iterable[Sample]]:
    """Several numbers of each target, with labels of their own."""

    def samples(snapshot: StatusSnapshot) -> Iterator[Sample]:
        for view in snapshot.own_targets:
            for labels, number in numbers(view):
                yield (view.target.store, view.target.namespace, *labels), number

    return samples


def _drift(view: TargetView) -> Iterable[Sample]:
    """Drift by class, unless no pass ever compared the store."""
    is_known = view.is_known or bool(view.drift)
    return [((cause,), view.drift.get(cause, 0)) for cause in _CLASSES] if is_known else []


def _store(number: Callable[[StoreView], float | None]) -> Callable[[StatusSnapshot], Iterable[Sample]]:
    """One number of each store, left out where there is none."""

    def samples(snapshot: StatusSnapshot) -> Iterator[Sample]:
        for store in snapshot.stores:
            if (found := number(store)) is not None:
                yield (store.name,), found

    return samples


def _requests(snapshot: StatusSnapshot) -> Iterator[Sample]:
    for store in snapshot.stores:
        for status, count in sorted(store.requests.items()):
            yield (store.name, status), count


def _fleet(snapshot: StatusSnapshot) -> Iterator[Sample]:
    if snapshot.replicas is not None:
        for state, count in snapshot.states().items():
            yield (state.value,), count


def _counts(counts: Callable[[StatusSnapshot], Mapping[str, int]]) -> Callable[[StatusSnapshot], Iterable[Sample]]:
    return lambda snapshot: (((word,), count) for word, count in sorted(counts(snapshot).items()))


SERIES: Final = (
    Series("kvsync_build_info", "gauge", "Version of kvsync; always 1.", ("version",),
           lambda snapshot: [((snapshot.process.version,), 1)]),
    Series("kvsync_source_info", "gauge", "Commit of the files; always 1.", ("commit",),
           lambda snapshot: [((snapshot.process.commit,), 1)] if snapshot.process.commit else []),
    Series("kvsync_start_time_seconds", "gauge", "Time when the daemon started.", (),
           _process(lambda snapshot: snapshot.process.started_at)),
    Series("kvsync_ready", "gauge", "1 once the first pass of every target has finished, as long as passes keep finishing.", (),
           _process(lambda snapshot: snapshot.process.ready)),
    Series("kvsync_leader", "gauge", "1 while this process may write (leader).", (),
           _process(lambda snapshot: snapshot.process.leader)),
    Series("kvsync_backlog_passes", "gauge", "Passes that are due, but wait for others to finish.", (),
           _process(lambda snapshot: snapshot.process.backlog)),
    Series("kvsync_fleet_replicas", "gauge", "Replicas that share the state; reported by one of them.", (),
           _process(lambda snapshot: snapshot.replicas)),
    Series("kvsync_fleet_targets", "gauge", "Targets of all replicas, by state; reported by one of them.", ("state",), _fleet),
    Series("kvsync_observing", "gauge", "1 if the daemon only observes and never writes.", (),
           _process(lambda snapshot: snapshot.process.mode == "observe")),
    Series("kvsync_window_denied", "gauge", "1 while a maintenance window blocks applying.", (),
           _process(lambda snapshot: snapshot.process.window is not None)),
    Series("kvsync_next_beat_timestamp_seconds", "gauge", "Time of the next scheduled pass over all targets.", (),
           _process(lambda snapshot: snapshot.process.next_beat)),
    Series("kvsync_files_read_timestamp_seconds", "gauge", "Time when the files were last read.", (),
           _process(lambda snapshot: snapshot.process.files_at)),
    Series("kvsync_files_problems", "gauge", "Problems in the files.", (), _process(lambda snapshot: len(snapshot.problems))),
    Series("kvsync_triggers", "counter", "Triggers of passes.", ("trigger",), _counts(lambda snapshot: snapshot.triggers)),
    Series("kvsync_hook_requests", "counter", "Webhook requests, by result.", ("result",),
           _counts(lambda snapshot: snapshot.hooks)),
    Series("kvsync_target_state", "gauge", "State of a target: its current state is 1, other states are absent.",
           (*_TARGET, "state"), _targets(lambda view: [((view.state.value,), 1)])),
    Series("kvsync_target_last_attempt_timestamp_seconds", "gauge", "Time when the last pass ended.", _TARGET,
           _target(lambda view: view.attempted_at)),
    Series("kvsync_target_last_success_timestamp_seconds", "gauge", "Time when the last pass without an error ended.", _TARGET,
           _target(lambda view: view.succeeded_at)),
    Series("kvsync_target_last_heard_seconds", "gauge",
           "Seconds since the store last responded to a pass; not affected when the wall clock is set.", _TARGET,
           _target(lambda view: view.unheard)),
    Series("kvsync_target_next_pass_timestamp_seconds", "gauge",
           "Time of the next automatic pass: a retry, a renewal, or the end of a wait.", _TARGET,
           _target(lambda view: view.next_at)),
    Series("kvsync_target_resting_until_timestamp_seconds", "gauge",
           "Time until which the store asks kvsync to send nothing (Retry-After of a minute or more).", _TARGET,
           _target(lambda view: view.resting_until)),
    Series("kvsync_target_last_pass_duration_seconds", "gauge", "Duration of the last pass.", _TARGET,
           _target(lambda view: view.seconds)),
    Series("kvsync_target_passes", "counter", "Passes since the daemon started.", _TARGET, _target(lambda view: view.passes)),
    Series("kvsync_target_failing", "gauge", "1 if the last pass failed or some of its changes could not be applied.", _TARGET,
           _target(lambda view: view.state == "failing")),
    Series("kvsync_target_held", "gauge", "1 while problems in the files keep the target at its last good state.", _TARGET,
           _target(lambda view: bool(view.problems))),
    Series("kvsync_target_parked", "gauge", "1 while the plan waits for approval.", _TARGET,
           _target(lambda view: view.state == "parked" or (view.parked is not None and view.parked.approved_at is None))),
    Series("kvsync_target_paused", "gauge", "1 while the target or its store is paused.", _TARGET,
           _target(lambda view: view.pause is not None)),
    Series("kvsync_target_pending_entries", "gauge", "Changes that the last pass planned but did not apply.", _TARGET,
           _target(lambda view: view.pending)),
    Series("kvsync_target_drifted_entries", "gauge", "Drift that the last pass found, by class, whether healed or not.",
           (*_TARGET, "class"), _targets(_drift)),
    Series("kvsync_target_unhealed_entries", "gauge", "Drift that the last pass did not heal.", _TARGET,
           _compared(lambda view: sum(view.unhealed.values()))),
    Series("kvsync_target_unchanged_entries", "gauge", "Entries that match the files.", _TARGET,
           _compared(lambda view: view.unchanged)),
    Series("kvsync_target_foreign_entries", "gauge", "Entries that are neither desired nor owned by kvsync.", _TARGET,
           _compared(lambda view: view.foreign)),
    Series("kvsync_target_quarantined_entries", "gauge", "Entries deferred because the store refused them.", _TARGET,
           _target(lambda view: view.quarantined)),
    Series("kvsync_target_contended_entries", "gauge", "Entries deferred because another writer keeps changing them.", _TARGET,
           _target(lambda view: view.contended)),
    Series("kvsync_target_undone_entries", "gauge", "Entries that an operator undid and that stay undone.", _TARGET,
           _target(lambda view: view.undone)),
    Series("kvsync_target_nearest_expiry_timestamp_seconds", "gauge", "Time when the next entry expires.", _TARGET,
           _target(lambda view: view.nearest_end.at if view.nearest_end is not None else None)),
    Series("kvsync_changes", "counter", "Changes since the daemon started, by action and outcome.",
           (*_TARGET, "action", "outcome"), _targets(lambda view: sorted(view.totals.items()))),
    Series("kvsync_store_available", "gauge", "0 while the store cannot be reached or refuses the credential.", _STORE,
           _store(lambda store: store.error is None)),
    Series("kvsync_store_requests", "counter",
           "Requests by HTTP status, name of the failure, or none for stores without HTTP.",
           (*_STORE, "status"), _requests),
    Series("kvsync_store_sent_bytes", "counter", "Bytes sent.", _STORE, _store(lambda store: store.bytes_sent)),
    Series("kvsync_store_received_bytes", "counter", "Bytes received.", _STORE, _store(lambda store: store.bytes_received)),
    Series("kvsync_store_quota_remaining_requests", "gauge", "Remaining requests, if the store has a quota.", _STORE,
           _store(lambda store: store.quota_left)),
)  # fmt: skip
"""Every metric but the histogram, in the order in which they are shown."""


def _names(labels: Iterable[str]) -> str:
    return ", ".join(f"`{label}`" for label in labels)


def _bound(bound: float) -> str:
    return "+Inf" if bound == float("inf") else repr(bound)


def _takes_gzip(encodings: str) -> bool:
    """True when a client takes gzip: named, and not with a weight of zero."""
    for part in encodings.lower().split(","):
        name, _, weight = part.partition(";")
        if name.strip() in ("gzip", "*"):
            return weight.replace(" ", "") not in ("q=0", "q=0.0", "q=0.00", "q=0.000")
    return False
