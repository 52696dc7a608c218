"""The official clients for Python and Node, unchanged; both speak HTTPS only."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from voximplant.apiclient import VoximplantAPI, VoximplantException  # type: ignore[import-untyped]  # ships no types

from kvsync.emulators.server import Running
from tests.emulators.conftest import vox_emulator
from tests.emulators.npm import SCRIPTS, installed
from tests.emulators.vox_api import VoxApi


@pytest.fixture(scope="module")
def shared_secure() -> Iterator[Running]:
    """One emulator with TLS; `secure` empties it before every test."""
    with vox_emulator(tls=True) as server:
        yield server


@pytest.fixture
def secure(shared_secure: Running) -> Running:
    """An empty emulator with TLS."""
    with VoxApi(shared_secure) as http:
        http.control("POST", "reset")
    return shared_secure


@pytest.fixture
def sdk(secure: Running, monkeypatch: pytest.MonkeyPatch) -> VoximplantAPI:
    """The Python client, with what it needs in its environment."""
    for name, value in secure.env.items():
        monkeypatch.setenv(name, value)
    return VoximplantAPI(endpoint=secure.env["VOXIMPLANT_API_HOST"])


def test_one_key(sdk: VoximplantAPI) -> None:
    """An item is set, got and deleted; what is missing is an exception with the API's code."""
    item = sdk.set_key_value_item("test:1", "é & =", 1, ttl=60)["result"]
    assert (item["key"], item["value"]) == ("test:1", "é & =")
    assert abs(item["expires_at"] - time.time() - 60) < 30
    assert sdk.get_key_value_item("test:1", 1)["result"] == item
    assert sdk.del_key_value_item("test:1", application_id=1)["result"] == 1
    with pytest.raises(VoximplantException) as missing:
        sdk.get_key_value_item("test:1", 1)
    assert (missing.value.code, missing.value.message) == (341, "Record is not found by ID")


def test_lists(sdk: VoximplantAPI) -> None:
    """Items and keys are listed page after page, those of one application alone."""
    end = int(time.time()) + 600
    for number in range(12):
        sdk.set_key_value_item(f"n:{number:02}", str(number), 1, expires_at=end)
    sdk.set_key_value_item("n:other", "v", 2)
    items = [item for start in (0, 5, 10) for item in sdk.get_key_value_items("n", 1, count=5, offset=start)["result"]]
    assert items == [{"key": f"n:{number:02}", "value": str(number), "expires_at": end} for number in range(12)]
    assert sdk.get_key_value_keys(1, key="n", count=1)["result"] == [{"key": "n:00", "expires_at": end}]
    assert len(sdk.get_key_value_keys(1)["result"]) == 10
    names = {found["application_id"]: found["application_name"] for found in sdk.get_applications()["result"]}
    assert [item["key"] for item in sdk.get_key_value_keys(2, application_name=names[2])["result"]] == ["n:other"]


def test_applications(sdk: VoximplantAPI) -> None:
    """Applications are added, renamed and deleted."""
    added = sdk.add_application("third")["application_id"]
    sdk.set_application_info(application_id=added, application_name="renamed")
    (found,) = sdk.get_applications(application_name="renamed")["result"]
    assert found["application_id"] == added
    sdk.del_application(application_id=added)
    assert len(sdk.get_applications()["result"]) == 2


def test_refusals(sdk: VoximplantAPI, secure: Running) -> None:
    """The client understands the service's refusals, and the page of a gateway by its status."""
    with VoxApi(secure) as http:
        for spec, code in (("", 116), ("454:1", 454), ("429:1", 340), ("503:1", 503)):
            http.control("PUT", "faults", {"spec": spec})
            with pytest.raises(VoximplantException) as refused:
                sdk.get_key_value_keys(9)
            assert refused.value.code == code


def test_the_node_client(secure: Running, tmp_path: Path) -> None:
    """The client for Node sets, gets and deletes, in forms that come in chunks; it says nothing of a list's content."""
    packages = installed("voximplant.json", "the client for Node")
    (tmp_path / "node_modules").symlink_to(packages)
    shutil.copy(SCRIPTS / "voximplant.mjs", tmp_path)
    env = {**os.environ, **secure.env}
    done = subprocess.run(
        ["node", "voximplant.mjs"], env=env, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    written, read, removed, missing, applications = json.loads(done.stdout)
    assert written == read
    assert (read["result"]["key"], read["result"]["value"]) == ("a:ключ", "é & =\r\n--boundary")
    assert (removed, missing["error"]["code"]) == ({"result": 1}, 341)
    assert [found["applicationId"] for found in applications["result"]] == [1, 2]
