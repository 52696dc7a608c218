"""The metrics: by the book, the same as documented, and no label that tells what is in a store."""

from __future__ import annotations

import gzip
import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.core import Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_families
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector, CollectorRegistry

from kvsync.model.entry import Target
from kvsync.status.metrics import SERIES, _Families, exposition
from kvsync.status.snapshot import StatusSnapshot, TargetView
from kvsync.util.escaping import escape_label
from tests.status.snapshots import HOSTILE, NOW, snapshot
from tests.support.command import ROOT

LABELS = {
    "action", "class", "commit", "le", "namespace", "outcome", "result", "state", "status", "store", "trigger", "version",
}  # fmt: skip


def parsed(text: bytes) -> list[Metric]:
    return list(text_string_to_metric_families(text.decode()))


def test_promtool_finds_nothing_to_mend() -> None:
    """Prometheus' own check of metrics has nothing to say about names, types, units and help texts."""
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed: apt-get install prometheus makes this test run")
    done = subprocess.run(
        [promtool, "check", "metrics"], input=exposition(snapshot()).body, capture_output=True, timeout=60
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_every_metric_is_documented_and_none_is_made_up() -> None:
    """The table in docs/monitoring.md has exactly the metrics that a full snapshot gives."""
    table = re.findall(r"^\| `(kvsync_\w+)` \| (\w+) \|", (ROOT / "docs/monitoring.md").read_text(), re.MULTILINE)
    given = {
        f"{family.name}_total" if family.type == "counter" else family.name: family.type
        for family in parsed(exposition(snapshot()).body)
        if family.samples
    }
    assert dict(table) == given
    assert len(given) == len(SERIES) + 1


def test_labels_never_tell_what_is_in_a_store() -> None:
    """There are labels for names of stores and namespaces and for kvsync's own words, and no others."""
    families = parsed(exposition(snapshot()).body)
    assert {label for family in families for sample in family.samples for label in sample.labels} == LABELS
    assert "greeting" not in exposition(snapshot()).body.decode()


def test_a_hostile_name_stays_a_name() -> None:
    """A namespace with quotes, backslashes and line ends is one label in both formats, everything invisible spelled out."""
    plain = parsed(exposition(snapshot()).body)
    accept = "application/openmetrics-text; version=1.0.0"
    opened = open_families(exposition(snapshot(), accept).body.decode())  # type: ignore[no-untyped-call]
    for families in (plain, opened):
        names = {sample.labels.get("namespace") for family in families for sample in family.samples}
        assert escape_label(HOSTILE) in names


ACCEPTED = [
    "",
    "text/plain",
    "text/plain; version=1.0.0",
    "application/openmetrics-text",
    "application/openmetrics-text; version=1.0.0",
    *(f"{kind}; version=1.0.0; escaping={how}" for kind in ("text/plain", "application/openmetrics-text")
      for how in ("underscores", "allow-utf-8", "dots", "values")),
]  # fmt: skip


@pytest.mark.parametrize("accept", ACCEPTED)
def test_the_text_is_that_of_the_library(accept: str) -> None:
    """Byte for byte, whatever format and spelling is asked for."""
    seen = snapshot()
    encode, content_type = choose_encoder(accept)
    registry = CollectorRegistry(auto_describe=False)
    registry.register(AllFamilies(seen))
    found = exposition(seen, accept)
    assert found.headers["Content-Type"] == content_type
    assert found.body == encode(registry)


class AllFamilies(Collector):
    """Every metric, as the library writes it; the histogram as a scrape has it."""

    def __init__(self, seen: StatusSnapshot) -> None:
        self._seen = seen

    def collect(self) -> Iterator[Metric]:
        yield from (series.family(self._seen) for series in SERIES)
        yield from list(_Families(self._seen, ()).collect())


def test_a_label_is_escaped_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many metrics a target has: that is nearly all of the cost of a scrape of thousands of targets."""
    calls: Counter[str] = Counter()

    def counted(text: str) -> str:
        calls[text] += 1
        return escape_label(text)

    monkeypatch.setattr("kvsync.status.metrics.escape_label", counted)
    exposition(snapshot(20))
    calls.pop("main", None)  # also in the histogram
    assert set(calls.values()) == {1}


@given(st.lists(st.text(), min_size=2, max_size=5, unique=True))
def test_different_names_have_different_labels(names: list[str]) -> None:
    """No two namespaces share a label: a scrape with the same series twice is refused as a whole."""
    assert len({escape_label(name) for name in names}) == len(names)


def test_the_numbers_are_those_of_the_snapshot() -> None:
    """Each sample is what the snapshot holds."""
    samples = {
        (
            sample.name,
            *(sample.labels.get(name) for name in ("store", "namespace", "class", "action", "outcome", "status")),
        ): (sample.value)
        for family in parsed(exposition(snapshot()).body)
        for sample in family.samples
    }
    one = ("main", "namespace-00001")
    assert samples["kvsync_target_last_attempt_timestamp_seconds", *one, None, None, None, None] == NOW
    assert samples["kvsync_target_last_success_timestamp_seconds", *one, None, None, None, None] == NOW - 60
    drifted = [
        samples["kvsync_target_drifted_entries", *one, cause, None, None, None] for cause in ("drifted", "conflict")
    ]
    assert drifted == [2, 0]
    assert samples["kvsync_changes_total", *one, None, "delete", "failed", None] == 1
    assert samples["kvsync_store_requests_total", "main", None, None, None, None, "429"] == 2
    assert samples["kvsync_store_quota_remaining_requests", "main", *[None] * 5] == 900
    assert samples["kvsync_target_nearest_expiry_timestamp_seconds", *one, None, None, None, None] == NOW + 3600
    assert samples["kvsync_pass_duration_seconds_count", "main", *[None] * 5] == 4
    assert samples["kvsync_pass_duration_seconds_sum", "main", *[None] * 5] == pytest.approx(1007.301)


def test_what_is_not_known_has_no_sample() -> None:
    """A target whose store was never reached has no numbers of its entries, least of all zeros."""
    shown = replace(snapshot(1), targets=(TargetView(Target("main", "web"), error="down", passes=1),))
    entries = re.compile("kvsync_target_(drifted|unhealed|unchanged|foreign)_entries")
    assert not [one for family in parsed(exposition(shown).body) for one in family.samples if entries.match(one.name)]


@pytest.mark.parametrize("encodings", ["gzip", "deflate, gzip;q=0.5", "*", "GZIP"])
def test_gzip_for_who_takes_it(encodings: str) -> None:
    """Who takes gzip gets it, and the same in it."""
    page = exposition(snapshot(), encodings=encodings)
    assert page.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(page.body) == exposition(snapshot()).body


@pytest.mark.parametrize("encodings", ["", "identity", "gzip;q=0", "gzip; q=0.0"])
def test_no_gzip_for_others(encodings: str) -> None:
    """Who does not name gzip, or refuses it, gets plain text."""
    assert "Content-Encoding" not in exposition(snapshot(), encodings=encodings).headers


def test_openmetrics_for_who_asks() -> None:
    """The format is negotiated by `Accept`."""
    assert exposition(snapshot()).headers["Content-Type"].startswith("text/plain; version=0.0.4")
    page = exposition(snapshot(), "application/openmetrics-text; version=1.0.0, text/plain;q=0.5")
    assert page.headers["Content-Type"].startswith("application/openmetrics-text")
    assert page.body.endswith(b"# EOF\n")
