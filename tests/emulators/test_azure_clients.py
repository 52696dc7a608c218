"""Clients of the service in other languages, as they are: the JS SDK, and the Azure CLI."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from kvsync.emulators.server import Running
from tests.emulators.conftest import Http, azure_emulator
from tests.emulators.npm import SCRIPTS, installed


def run(*command: str, env: Mapping[str, str] | None = None, cwd: Path | None = None) -> str:
    """What a command prints; the test fails with its complaint if it fails."""
    environment = {**os.environ, **(env or {})}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, cwd=cwd, timeout=100)
    assert done.returncode == 0, done.stderr or done.stdout
    return done.stdout


@pytest.fixture(scope="module")
def packages() -> Path:
    """The folder `node_modules` with the SDK in it."""
    return installed("package.json", "the JS SDK")


def test_the_js_sdk(azure: Running, packages: Path, tmp_path: Path) -> None:
    """The official JS SDK does everything it offers against the emulator, unchanged."""
    (tmp_path / "node_modules").symlink_to(packages)
    shutil.copy(SCRIPTS / "azure.mjs", tmp_path)
    printed = run("node", "azure.mjs", env=azure.env, cwd=tmp_path)
    assert printed.count("ok ") == 8


@pytest.fixture
def cli(tmp_path: Path) -> Iterator[tuple[Running, Callable[..., str]]]:
    """An emulator, and `az appconfig` with these words, which answers with access keys."""
    if not shutil.which("az"):
        pytest.skip("az is not tried: install the Azure CLI (the package azure-cli) to have it tried")
    with azure_emulator(tls=True, anonymous=True) as server:
        env = server.env | {"AZURE_CONFIG_DIR": str(tmp_path / "az"), "AZURE_CORE_COLLECT_TELEMETRY": "no"}
        yield server, lambda *words: run("az", "appconfig", *words, env=env)


def test_the_azure_cli(cli: tuple[Running, Callable[..., str]], tmp_path: Path) -> None:
    """`az appconfig kv import` writes a file into the emulator, and `export` gives it back."""
    server, az = cli
    settings: dict[str, Any] = {"app/name": "shop", "app/timeout": "30"}
    (tmp_path / "in.json").write_text(json.dumps(settings), encoding="utf-8")
    common = ["--connection-string", server.env["AZURE_APPCONFIG_CONNECTION_STRING"], "--format", "json", "--yes"]
    az("kv", "import", "-s", "file", "--path", str(tmp_path / "in.json"), *common)
    az("kv", "export", "-d", "file", "--path", str(tmp_path / "out.json"), *common)
    with Http(server) as http:
        assert {item["key"]: item["value"] for item in http.get("/kv").json()["items"]} == settings
    assert json.loads((tmp_path / "out.json").read_text(encoding="utf-8")) == settings


@pytest.mark.system
def test_the_azure_cli_restores_a_snapshot_as_documented(cli: tuple[Running, Callable[..., str]]) -> None:
    """The commands in the docs give the entries of a snapshot back, with their labels."""
    server, az = cli
    secret = server.env["AZURE_APPCONFIG_CONNECTION_STRING"]
    signed_in = {"--name NAME": f"--connection-string {secret}", "--src-name NAME": f"--src-connection-string {secret}"}
    page = (SCRIPTS.parents[2] / "docs/azure-appconfig.md").read_text(encoding="utf-8")
    with Http(server) as http:
        before = [http.set("a", "1", label="prod"), http.set("b", "2")]
        filters = {"filters": [{"key": "*", "label": "*"}], "composition_type": "key_label"}
        assert http.put("/snapshots/before", json=filters).status_code == 201
        assert http.patch("/snapshots/before", json={"status": "archived"}).status_code == 200
        http.set("a", "9", label="prod")
        http.delete("/kv/b")
        for command in re.findall(r"^\$ az appconfig (.*SNAPSHOT.*)$", page, re.MULTILINE):
            for written, meant in signed_in.items():
                command = command.replace(written, meant)
            az(*command.replace("SNAPSHOT", "before").split(), *(["--yes"] if "import" in command else []))
        found = http.get("/kv").json()["items"]
    shown = ("key", "label", "value")
    assert [[item[name] for name in shown] for item in found] == [[item[name] for name in shown] for item in before]
