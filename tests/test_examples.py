"""The examples work as they are, through the real command line."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.cli.runner import run_command
from tests.support.etcd import running_etcd
from tests.support.openbao import ROOT_TOKEN, running_bao
from tests.support.program import shared_program

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"

QUICKSTART = {"local/shop": 6, "local/web": 18}

SHARED = {
    "config/email": 74,
    "config/logging": 13,
    "config/pricing": 61,
    "config/ratelimits": 15,
    "config/shipping": 56,
    "edge/redirects": 54,
    "edge/support": 33,
}
GITOPS: dict[str, dict[str, int]] = {
    "dev": SHARED
    | {
        "config/checkout": 48,
        "config/flags": 28,
        "config/schedules": 10,
        "config/search": 46,
        "edge/flags": 28,
        "edge/storefront": 116,
    },
    "prod": SHARED
    | {
        "config/checkout": 47,
        "config/flags": 25,
        "config/schedules": 12,
        "config/search": 45,
        "edge/flags": 25,
        "edge/storefront": 124,
    },
}


def kvsync(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the real command in a folder."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("KVSYNC_")}
    environment |= {"PYTHONPATH": str(EXAMPLES.parent), "API_TOKEN": "known to CI"}
    environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"  # sops is there
    environment["SOPS_AGE_KEY_FILE"] = str(EXAMPLES / "secrets" / "demo-key.txt")
    return run_command(arguments, folder, environment)


def plan(folder: Path, *arguments: str) -> dict[str, Any]:
    """The plan as JSON."""
    done = kvsync(folder, *arguments, "plan", "-o", "json")
    assert done.returncode == 0, done.stderr
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def changes(document: Mapping[str, Any], action: str) -> dict[str, int]:
    """How many changes of a kind each target has."""
    return {
        f"{target['store']}/{target['namespace']}": sum(change["action"] == action for change in target["changes"])
        for target in document["targets"]
    }


@pytest.fixture
def example(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A copy of the example that the test is parametrised with."""
    copy = tmp_path / "copy"
    shutil.copytree(EXAMPLES / request.param, copy, ignore=shutil.ignore_patterns(".kvsync"))
    return copy


@pytest.mark.parametrize("example", sorted(path.name for path in EXAMPLES.iterdir()), indirect=True)
def test_every_example_validates(example: Path) -> None:
    """Every example is free of problems, in all its environments."""
    done = kvsync(example, "validate")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("example", ["quickstart"], indirect=True)
def test_quickstart_applies_and_then_nothing_is_left(example: Path) -> None:
    """Applying the quickstart creates all its entries, and the next plan is empty."""
    document = plan(example)
    assert changes(document, "create") == QUICKSTART
    keys = {change["key"] for target in document["targets"] for change in target["changes"]}
    assert {"greeting", "banner/autumn.html", "banner/delivery.html", "teas/assam"} <= keys
    assert kvsync(example, "apply", "--yes").returncode == 0
    again = kvsync(example, "plan", "--exit-code")
    assert again.returncode == 0, again.stdout


@pytest.mark.parametrize("environment", ["dev", "prod"])
@pytest.mark.parametrize("example", ["gitops"], indirect=True)
def test_gitops_plans_each_environment(example: Path, environment: str) -> None:
    """Both environments plan exactly the entries that their files and overlays ask for, and nothing stands in the way."""
    document = plan(example, "--env", environment)
    assert changes(document, "create") == GITOPS[environment]
    assert document["summary"]["refused"] == 0
    assert not any(target["parked"] for target in document["targets"])


@pytest.mark.parametrize("example", ["gitops"], indirect=True)
def test_gitops_moves_from_one_environment_to_the_other(example: Path) -> None:
    """After dev is applied, the plan for prod holds what their overlays differ in, and dev itself has nothing left to do."""
    assert kvsync(example, "--env", "dev", "apply", "--yes").returncode == 0
    assert kvsync(example, "--env", "dev", "plan", "--exit-code").returncode == 0
    summary = plan(example, "--env", "prod")["summary"]
    assert summary["unchanged"] > 500
    assert summary["delete"] == sum(GITOPS["dev"].values()) + summary["create"] - sum(GITOPS["prod"].values())


def test_no_example_holds_a_secret_or_a_leftover() -> None:
    """Examples are text that people wrote, small real images, and nothing that a run left behind."""
    suffixes = {path.suffix for path in EXAMPLES.rglob("*") if path.is_file() and ".kvsync" not in path.parts}
    assert suffixes == {"", ".html", ".ico", ".md", ".png", ".py", ".txt", ".yaml", ".yml"}


@pytest.mark.parametrize("example", ["etcd"], indirect=True)
def test_etcd_applies_and_then_nothing_is_left(example: Path, tmp_path: Path) -> None:
    """The etcd example works with an etcd as it is installed: everything is created, and the next plan is empty."""
    with running_etcd(tmp_path) as url:
        configuration = example / "kvsync.yaml"
        configuration.write_text(configuration.read_text().replace("http://127.0.0.1:2379", url))
        assert changes(plan(example), "create") == {"core/shop": 3, "labelled/themes": 3}
        assert kvsync(example, "apply", "--yes").returncode == 0
        again = kvsync(example, "plan", "--exit-code")
        assert again.returncode == 0, again.stdout


@pytest.mark.parametrize("example", ["vault"], indirect=True)
def test_vault_applies_and_then_nothing_is_left(example: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The Vault example works with a server in development mode: everything is created, and the next plan is empty."""
    monkeypatch.setenv("VAULT_TOKEN", ROOT_TOKEN)
    with running_bao(tmp_path) as server:
        configuration = example / "kvsync.yaml"
        configuration.write_text(configuration.read_text().replace("http://127.0.0.1:8200", server.url))
        assert changes(plan(example), "create") == {"vault/shop": 3}
        assert kvsync(example, "apply", "--yes").returncode == 0
        assert server.get("shop/database") == {"user": "shop", "password": "known to CI"}
        again = kvsync(example, "plan", "--exit-code")
        assert again.returncode == 0, again.stdout


@pytest.mark.system
def test_the_tour_works_with_every_store(tmp_path: Path) -> None:
    """The tour tells its story with each store, its emulator or server: every command ends as it says."""
    shared_program().write(tmp_path)
    path = f"{tmp_path}:{Path(sys.executable).parent}:{os.environ['PATH']}"  # etcd and bao are next to this Python
    done = subprocess.run(
        [sys.executable, EXAMPLES / "tour/tour.py", "all"],
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "left out" not in done.stdout
    assert done.stdout.count("Drift: 1 drifted.") == done.stdout.count("\n=== ") == 7
