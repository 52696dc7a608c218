"""Clients of the service in other languages, as they are: the JS SDK, and the Azure CLI."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Mapping
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


def test_the_azure_cli(tmp_path: Path) -> None:
    """`az appconfig kv import` writes a file into the emulator, and `export` gives it back."""
    if not shutil.which("az"):
        pytest.skip("az is not tried: install the Azure CLI (the package azure-cli) to have it tried")
    settings: dict[str, Any] = {"app/name": "shop", "app/timeout": "30"}
    (tmp_path / "in.json").write_text(json.dumps(settings), encoding="utf-8")
    common = ["--format", "json", "--yes", "--auth-mode", "key"]
    with azure_emulator(tls=True, anonymous=True) as server:
        connection_string = server.env["AZURE_APPCONFIG_CONNECTION_STRING"]
        env = server.env | {"AZURE_CONFIG_DIR": str(tmp_path / "az"), "AZURE_CORE_COLLECT_TELEMETRY": "no"}
        az = ["az", "appconfig", "kv"]
        run(*az, "import", "--connection-string", connection_string, "-s", "file", "--path", str(tmp_path / "in.json"),
            *common, env=env)  # fmt: skip
        run(*az, "export", "--connection-string", connection_string, "-d", "file", "--path", str(tmp_path / "out.json"),
            *common, env=env)  # fmt: skip
        with Http(server) as http:
            assert {item["key"]: item["value"] for item in http.get("/kv").json()["items"]} == settings
    assert json.loads((tmp_path / "out.json").read_text(encoding="utf-8")) == settings
