"""The alert rules and the dashboard: they ask for metrics that exist, and the rules fire when they should and not otherwise."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from kvsync.status.metrics import SERIES, metrics_table
from tests.deploy.parts import ROOT

RULES = ROOT / "deploy/prometheus/alerts.yaml"
DASHBOARD = ROOT / "deploy/grafana/kvsync.json"

promtool = pytest.mark.skipif(shutil.which("promtool") is None, reason="needs promtool (Debian: prometheus)")

OF_PROMETHEUS = {"job", "instance", "le"}
"""Labels that are there although no metric of ours names them."""


def tool(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = ["promtool", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def rules() -> list[dict[str, Any]]:
    groups = yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


def dashboard() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    return found


def expressions() -> Iterator[str]:
    """Every expression of the dashboard, and the metrics that its variables are read from."""
    snapshot = dashboard()
    for panel in snapshot["panels"]:
        yield from (target["expr"] for target in panel.get("targets", ()))
    yield from (one["expr"] for one in snapshot["annotations"]["list"])
    for variable in snapshot["templating"]["list"]:
        if variable["type"] == "query":
            yield re.sub(r"^label_values\((.*), \w+\)$", r"\1", variable["definition"])


def metrics_of(expression: str) -> set[str]:
    found = re.findall(r"\bkvsync_[a-z_]+", expression)
    return {re.sub(r"(_duration_seconds)_(?:bucket|sum|count)$", r"\1", name) for name in found}


KNOWN = {line.split("`")[1] for line in metrics_table().splitlines() if line.startswith("| `")}


def test_every_metric_that_is_asked_for_exists() -> None:
    """Rules and dashboard name no metric that the daemon does not serve."""
    asked = [*(rule["expr"] for rule in rules()), *expressions()]
    assert {name for one in asked for name in metrics_of(one)} <= KNOWN
    assert all(metrics_of(one) or "up{" in one for one in asked)


def test_the_dashboard_forgets_nothing() -> None:
    """Every metric is on the dashboard, but for the few that say the same as another."""
    shown = {name for one in expressions() for name in metrics_of(one)}
    left_out = {
        "kvsync_files_read_timestamp_seconds",
        "kvsync_next_beat_timestamp_seconds",
        "kvsync_target_last_pass_duration_seconds",
        "kvsync_target_next_pass_timestamp_seconds",
        "kvsync_target_passes_total",
    }
    assert KNOWN - shown == left_out


def test_labels_exist() -> None:
    """What a legend shows, and what an expression groups by, are labels that one of its metrics has."""
    labels = {series.shown_name: set(series.labels) for series in SERIES} | {"kvsync_pass_duration_seconds": {"store"}}
    for panel in dashboard()["panels"]:
        for target in panel.get("targets", ()):
            used = set(re.findall(r"{{(\w+)}}", target.get("legendFormat", "")))
            for group in re.findall(r"\bby \(([^)]*)\)", target["expr"]):
                used |= {label.strip() for label in group.split(",")}
            used |= set(re.findall(r"(\w+)!?=~?\"", target["expr"]))
            has = set().union(*(labels[name] for name in metrics_of(target["expr"])))
            assert used <= has | OF_PROMETHEUS, f"{panel['title']}: {used - has}"


def test_panels_do_not_lie_on_each_other() -> None:
    """Panels have ids of their own, lie inside the 24 columns, and none covers another."""
    panels = dashboard()["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for place in (panel["gridPos"] for panel in panels):
        assert place["x"] + place["w"] <= 24
        cells = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert not cells & taken
        taken |= cells


def test_every_alert_says_what_to_do() -> None:
    """An alert has a severity, waits before it fires, and says what is wrong and what to do."""
    for rule in rules():
        assert rule["labels"]["severity"] in {"info", "warning", "critical"}
        assert {"alert", "expr", "for", "annotations"} <= rule.keys()
        assert {"summary", "description"} == rule["annotations"].keys()


@promtool
def test_prometheus_reads_the_rules_and_the_dashboard(tmp_path: Path) -> None:
    """Prometheus' own tool takes the rules, and every expression of the dashboard with its variables filled in."""
    checked = tool("check", "rules", RULES)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    filled = [re.sub(r"\$__rate_interval", "5m", re.sub(r"\$(?!__)\w+", ".*", one)) for one in expressions()]
    recorded = [{"record": f"dashboard:{number}", "expr": one} for number, one in enumerate(filled)]
    recording = tmp_path / "dashboard.yaml"
    recording.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": recorded}]}))
    checked = tool("check", "rules", recording)
    assert checked.returncode == 0, checked.stdout + checked.stderr


WEB = 'job="kvsync", instance="a", store="edge", namespace="web"'
EDGE = 'job="kvsync", instance="a", store="edge"'
LEADS = {'kvsync_leader{job="kvsync", instance="a"}': "1x2000"}
STANDBY = {'kvsync_leader{job="kvsync", instance="a"}': "0x2000", 'kvsync_leader{job="kvsync", instance="b"}': "1x2000"}
UP = {'up{job="kvsync", instance="a"}': "1x2000"}
LATE = f"kvsync_target_nearest_expiry_timestamp_seconds{{{WEB}}}"
OTHER = WEB.replace('"a"', '"b"')
LAST = "kvsync_target_last_attempt_timestamp_seconds"

CASES: dict[str, list[tuple[int, int, dict[str, str]]]] = {
    # by alert: after how many minutes, how many fire then, and the series, a sample a minute
    "KvsyncDown": [
        (10, 1, {'up{job="kvsync", instance="a"}': "1 0x20"}),
        (10, 1, {}),
        (4, 0, {'up{job="kvsync", instance="a"}': "0x20"}),
        (60, 0, UP),
    ],
    "KvsyncTargetStale": [
        (70, 1, {f"kvsync_target_last_success_timestamp_seconds{{{WEB}}}": "0x200"}),
        (70, 0, {f"kvsync_target_last_success_timestamp_seconds{{{WEB}}}": "0+60x200"}),
        (
            70,
            0,
            {
                f"kvsync_target_last_success_timestamp_seconds{{{WEB}}}": "0x200",
                f"kvsync_target_last_success_timestamp_seconds{{{OTHER}}}": "0+60x200",
            },
        ),
    ],
    "KvsyncTargetUnheard": [
        (70, 1, {f"kvsync_target_last_heard_seconds{{{WEB}}}": "0+60x200"}),
        (70, 0, {f"kvsync_target_last_heard_seconds{{{WEB}}}": "30x200"}),
        (
            70,
            0,
            {
                f"kvsync_target_last_heard_seconds{{{WEB}}}": "0+60x200",
                f"kvsync_target_last_heard_seconds{{{OTHER}}}": "30x200",
            },
        ),
    ],
    "KvsyncNotReady": [
        (40, 1, {'kvsync_ready{job="kvsync", instance="a"}': "0x200"}),
        (20, 0, {'kvsync_ready{job="kvsync", instance="a"}': "0x200"}),
        (40, 0, {'kvsync_ready{job="kvsync", instance="a"}': "1x200"}),
    ],
    "KvsyncLifetimeAboutToLapse": [
        (10, 1, {LATE: "3000x90", f'kvsync_target_state{{{WEB}, state="paused"}}': "1x90", **LEADS}),
        (10, 0, {LATE: "3000x90", f'kvsync_target_state{{{WEB}, state="in-sync"}}': "1x90", **LEADS}),
        (10, 0, {LATE: "90000x90", f'kvsync_target_state{{{WEB}, state="failing"}}': "1x90", **LEADS}),
    ],
    "KvsyncQuotaNearlySpent": [
        (10, 1, {f"kvsync_store_quota_remaining_requests{{{EDGE}}}": "12x60"}),
        (10, 0, {f"kvsync_store_quota_remaining_requests{{{EDGE}}}": "1200x60"}),
    ],
    "KvsyncNoLeader": [
        (
            3,
            1,
            {'kvsync_leader{job="kvsync", instance="a"}': "0x9", 'kvsync_leader{job="kvsync", instance="b"}': "0x9"},
        ),
        (3, 0, STANDBY),
        (3, 0, {'kvsync_leader{job="kvsync"}': "0x9", 'kvsync_observing{job="kvsync"}': "1x9"}),
    ],
    "KvsyncTwoWriters": [
        (
            3,
            1,
            {
                f"{LAST}{{{WEB}}}": "1x9",
                f"{LAST}{{{OTHER}}}": "1x9",
                **LEADS,
                'kvsync_leader{job="kvsync", instance="b"}': "1x9",
            },
        ),
        (3, 0, {f"{LAST}{{{WEB}}}": "1x9", f"{LAST}{{{OTHER}}}": "1x9", **STANDBY}),
        (
            3,
            0,
            {
                f"{LAST}{{{WEB}}}": "1x9",
                f"{LAST}{{{OTHER}}}": "1x9",
                **LEADS,
                'kvsync_leader{job="kvsync", instance="b"}': "0x9",
                'kvsync_observing{job="kvsync", instance="b"}': "1x9",
            },
        ),
        (
            3,
            0,
            {
                f"{LAST}{{{WEB}}}": "1x9",
                f"{LAST}{{{OTHER.replace('web', 'shop')}}}": "1x9",
                **LEADS,
                'kvsync_leader{job="kvsync", instance="b"}': "1x9",
            },
        ),
    ],
}
_PLAIN = {  # alerts that fire while one series of the leader is not as it should be: minutes, series, bad, good
    "KvsyncTargetFailing": (20, f"kvsync_target_failing{{{WEB}}}", 1, 0),
    "KvsyncTargetResting": (8, f"kvsync_target_resting_until_timestamp_seconds{{{WEB}}}", 86400, 60),
    "KvsyncStoreUnavailable": (8, f"kvsync_store_available{{{EDGE}}}", 0, 1),
    "KvsyncFilesInvalid": (15, 'kvsync_files_problems{job="kvsync", instance="a"}', 3, 0),
    "KvsyncDriftNotHealed": (40, f"kvsync_target_unhealed_entries{{{WEB}}}", 2, 0),
    "KvsyncPlanParked": (8, f"kvsync_target_parked{{{WEB}}}", 1, 0),
    "KvsyncEntryQuarantined": (15, f"kvsync_target_quarantined_entries{{{WEB}}}", 1, 0),
    "KvsyncEntryContended": (40, f"kvsync_target_contended_entries{{{WEB}}}", 1, 0),
    "KvsyncTargetPausedForLong": (1500, f"kvsync_target_paused{{{WEB}}}", 1, 0),
}
CASES |= {
    alert: [
        (minutes, 1, {series: f"{bad}x2000", **LEADS}),
        (minutes, 0, {series: f"{good}x2000", **LEADS}),
        (minutes, 0, {series: f"{bad}x2000", **STANDBY}),
        (minutes, 1, {series: f"{bad}x2000", 'kvsync_observing{job="kvsync", instance="a"}': "1x2000"}),
        (minutes - 2, 0, {series: f"{good}x{minutes // 2} {bad}x2000", **LEADS}),
    ]
    for alert, (minutes, series, bad, good) in _PLAIN.items()
}


def test_every_alert_has_cases() -> None:
    """No alert is untried: each has a case in which it fires, and one in which it does not."""
    assert CASES.keys() == {rule["alert"] for rule in rules()}
    assert all({count > 0 for _, count, _ in cases} == {True, False} for cases in CASES.values())


@pytest.mark.system
@promtool
@pytest.mark.parametrize("alert", sorted(CASES))
def test_alerts_fire_when_they_should(alert: str, tmp_path: Path) -> None:
    """Prometheus evaluates the rules over made-up series: the alert fires where it should, and not before or otherwise."""
    expression = f'count(ALERTS{{alertname="{alert}", alertstate="firing"}}) or vector(0)'
    tests = [
        {
            "interval": "1m",
            "input_series": [{"series": name, "values": values} for name, values in series.items()],
            "promql_expr_test": [
                {"expr": expression, "eval_time": f"{minutes}m", "exp_samples": [{"labels": "{}", "value": count}]}
            ],
        }
        for minutes, count, series in CASES[alert]
    ]
    file = tmp_path / "tests.yaml"
    file.write_text(yaml.safe_dump({"rule_files": [str(RULES)], "evaluation_interval": "1m", "tests": tests}))
    done = tool("test", "rules", file)
    assert done.returncode == 0, done.stdout + done.stderr
