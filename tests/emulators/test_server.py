"""The server around an emulator: process, TLS, memory across restarts, options."""

from __future__ import annotations

import json
import re
import signal
import ssl
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from kvsync.emulators import TYPES
from kvsync.emulators.server import Running
from kvsync.errors import UsageError
from tests.cli.runner import run_command
from tests.emulators.conftest import TYPE, Http, azure_emulator, process
from tests.support.emulator import emulator


def test_the_process_says_when_it_is_ready_and_stops_on_sigterm() -> None:
    """One line of JSON tells address and environment; SIGTERM ends the process with 0, and nothing else is printed."""
    with process("--anonymous") as (child, ready):
        assert (ready["event"], ready["type"]) == ("emulator.ready", "azure-appconfig")
        connection_string = ready["env"]["AZURE_APPCONFIG_CONNECTION_STRING"]
        assert connection_string.startswith(f"Endpoint={ready['url']};Id=")
        assert httpx.get(f"{ready['url']}/kv?api-version=1.0").json() == {"items": []}
        httpx.put(f"{ready['url']}/_emulator/faults", json="drop:1").raise_for_status()
        with pytest.raises(httpx.ReadError):
            httpx.get(f"{ready['url']}/kv?api-version=1.0")
        child.send_signal(signal.SIGTERM)
        output, log = child.communicate(timeout=60)
        assert (child.returncode, output, log) == (0, "", "")


ENVIRONMENT = {
    "azure-appconfig": ("", {"AZURE_APPCONFIG_CONNECTION_STRING"}),
    "cloudflare-kv": ("/client/v4", {"CLOUDFLARE_API_TOKEN", "CLOUDFLARE_ACCOUNT_ID", "CLOUDFLARE_API_BASE_URL"}),
    "apify": ("", {"APIFY_TOKEN", "APIFY_CLIENT_BASE_URL"}),
    "voximplant": ("", {"VOXIMPLANT_CREDENTIALS", "VOXIMPLANT_API_URL", "VOXIMPLANT_APPLICATION_ID"}),
}


def test_every_type_is_held_to_its_environment() -> None:
    """The types named here are all that can be emulated."""
    assert ENVIRONMENT.keys() == set(TYPES)


@pytest.mark.parametrize("type_", ENVIRONMENT)
def test_what_clients_read_is_in_the_ready_line(type_: str) -> None:
    """`url` is the root of the API, `env` has each variable that clients of that type read, and a base URL in it is `url`."""
    path, names = ENVIRONMENT[type_]
    with process(type_=type_) as (child, ready):
        assert (ready["event"], ready["type"]) == ("emulator.ready", type_)
        assert re.fullmatch(rf"http://127\.0\.0\.1:\d+{path}", ready["url"])
        assert names <= ready["env"].keys()
        urls = {value for name, value in ready["env"].items() if name in names and name.endswith("_URL")}
        assert urls <= {ready["url"]}
        child.send_signal(signal.SIGTERM)
        assert child.wait(60) == 0


def test_a_killed_process_loses_nothing_it_answered(tmp_path: Path) -> None:
    """With `--data`, entries, revisions, locks and sync tokens survive SIGKILL; a second process on the folder is refused."""
    arguments = ("--anonymous", "--data", str(tmp_path / "data"))
    with process(*arguments) as (child, ready):
        url = f"{ready['url']}/kv/k?api-version=1.0"
        for value in ("1", "2"):
            before = httpx.put(url, json={"value": value})
        locked = httpx.put(url.replace("/kv/", "/locks/")).json()
        with process(*arguments) as (second, refused):
            assert second.wait(60) == 64
            assert "another emulator" in refused["error"]
        child.kill()
        child.wait(60)
    with process(*arguments) as (_, ready):
        found = httpx.get(f"{ready['url']}/kv/k?api-version=1.0")
        assert found.json() == locked
        assert int(found.headers["Sync-Token"].partition("sn=")[2]) > int(
            before.headers["Sync-Token"].partition("sn=")[2]
        )
        revisions = httpx.get(f"{ready['url']}/revisions?api-version=1.0").json()["items"]
        assert [(item["value"], item["locked"]) for item in revisions] == [("2", True), ("2", False), ("1", False)]


def test_snapshots_and_resets_outlive_a_restart(tmp_path: Path) -> None:
    """Snapshots come back with their content, and what was reset does not."""
    with azure_emulator(anonymous=True, data=tmp_path) as server, Http(server) as http:
        http.set("k", "v")
        http.put("/snapshots/s", json={"filters": [{"key": "*"}]}).raise_for_status()
    with azure_emulator(anonymous=True, data=tmp_path) as server, Http(server) as http:
        assert http.get("/kv?snapshot=s").json()["items"][0]["value"] == "v"
        http.control("POST", "reset")
    with azure_emulator(anonymous=True, data=tmp_path) as server, Http(server) as http:
        assert http.get("/snapshots/s").status_code == 404
        assert http.keys() == []


def test_forgotten_revisions_stay_forgotten(tmp_path: Path) -> None:
    """What retention has ended is gone from the disk, too."""
    with azure_emulator(anonymous=True, data=tmp_path) as server, Http(server) as http:
        http.set("k", "1")
        http.set("k", "2")
        http.control("PUT", "clock", {"advance": "31d"})
        assert len(http.get("/revisions").json()["items"]) == 1
    with azure_emulator(anonymous=True, data=tmp_path) as server, Http(server) as http:
        assert len(http.get("/revisions").json()["items"]) == 1


def test_tls() -> None:
    """With TLS the environment names the certificate to trust; with it clients connect, without it they refuse."""
    with azure_emulator(anonymous=True, tls=True) as server:
        assert server.url.startswith("https://127.0.0.1:")
        ca = server.env["SSL_CERT_FILE"]
        assert ca == server.env["REQUESTS_CA_BUNDLE"] == server.env["NODE_EXTRA_CA_CERTS"]
        with Http(server, verify=ssl.create_default_context(cafile=ca)) as http:
            http.set("k", "over TLS")
            made = http.put("/snapshots/s", json={"filters": [{"key": "*"}]})
            assert made.headers["Operation-Location"].startswith(server.url)
            http.control("PUT", "faults", "drop-after-write:1")
            with pytest.raises(httpx.TransportError):
                http.set("k", "dropped")
        with (
            Http(server, verify=ssl.create_default_context()) as http,
            pytest.raises(httpx.ConnectError, match="CERTIFICATE"),
        ):
            http.get("/kv")
    assert not Path(ca).exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"host": "0.0.0.0"}, "loopback only"),
        ({"host": "example.org"}, "loopback only"),
        ({"fault": "429"}, "429 needs a share"),
        ({"switches": {"tier": "gold"}}, "switch tier is one of none, free"),
        ({"switches": {"colour": "red"}}, "no switch 'colour'; it has: tier"),
        ({"switches": {"provisioning": "soon"}}, "not a duration"),
    ],
)
def test_wrong_options_are_explained(options: dict[str, Any], message: str) -> None:
    """An emulator that cannot be started as requested says why."""
    with pytest.raises(UsageError, match=message), azure_emulator(**options):
        pass


def test_the_command_line_explains_too() -> None:
    """Wrong options end the process with 64 and one line; a port that is taken with 1."""
    for arguments in (("--switch", "tier"), ("--host", "0.0.0.0"), ("--fault", "x:1")):
        run_command(["emulate", TYPE, *arguments], Path.cwd(), code=64)
    with azure_emulator() as server:
        port = server.url.rpartition(":")[2]
        taken = run_command(["emulate", TYPE, "--port", port], Path.cwd(), code=1)
    assert "cannot listen on 127.0.0.1" in taken.stderr
    assert "Address already in use" in taken.stderr


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    """A folder that cannot be made is named, with the reason."""
    (tmp_path / "file").write_text("")
    refused = run_command(["emulate", TYPE, "--data", str(tmp_path / "file" / "data")], tmp_path, code=64)
    assert f"{tmp_path}/file/data cannot be made: Not a directory" in refused.stderr


def test_what_is_not_installed_is_named() -> None:
    """Where the extra packages are missing, the command says how to get them."""
    hide = "import sys; sys.modules['aiohttp'] = None; sys.argv[1:] = ['emulate', 'azure-appconfig']"
    code = f"{hide}; import kvsync.__main__ as command; command.main()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "pip install 'kvsync[emulate]'" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_unknown_type_names_the_known_ones() -> None:
    """A type without an emulator is a usage error."""
    assert TYPE in run_command(["emulate", "redis"], Path.cwd(), code=64).stderr


def test_tiers_have_quotas() -> None:
    """The free tier has 1,000 requests until midnight UTC; the standard tier 60 writes a second."""
    with azure_emulator(anonymous=True, switches={"tier": "free"}) as server, Http(server) as http:
        http.control("PUT", "clock", {"now": "2026-01-01T23:59:58Z", "frozen": True})
        statuses = [http.head("/kv").status_code for _ in range(1_001)]
        refused = http.get("/kv")
        assert statuses == [200] * 1_000 + [429]
        assert (refused.json()["policy"], refused.headers["retry-after-ms"]) == ("Total Requests", "2000")
        http.control("PUT", "clock", {"advance": "2s"})
        assert http.get("/kv").status_code == 200
    with azure_emulator(anonymous=True, switches={"tier": "standard"}) as server, Http(server) as http:
        http.control("PUT", "clock", {"now": "2026-01-01T00:00:00Z", "frozen": True})
        assert [http.put("/kv/k", json={}).status_code for _ in range(61)] == [200] * 60 + [429]
        assert http.get("/kv/k").status_code == 200


def test_storage_is_a_quota_that_waiting_does_not_cure() -> None:
    """A free store that is full refuses writes with the policy Storage until something is deleted."""
    with azure_emulator(anonymous=True, switches={"tier": "free"}) as server, Http(server) as http:
        value = "x" * 10_000
        statuses = (http.put(f"/kv/k{number:04}", json={"value": value}) for number in range(1_000))
        refused = next(answer for answer in statuses if answer.status_code != 200)
        assert refused.json()["policy"] == "Storage"


def test_the_ready_line_is_one_line(azure: Running) -> None:
    """What is printed can be read as one JSON document."""
    assert json.loads(azure.ready_line())["url"] == azure.url
    assert "\n" not in azure.ready_line()


FOREIGN = (
    "evil.example",
    "evil.example:8080",
    "127.0.0.1.evil.example",
    "0.0.0.0:8080",
    "10.0.0.7",
    "[2001:db8::1]:80",
    "",
    "a b",
)
OURS = ("localhost", "LOCALHOST:1", "localhost.:80", "127.0.0.1", "127.9.9.9:80", "[::1]:8080", "store.localhost")


@pytest.mark.parametrize("type_", ENVIRONMENT)
def test_another_name_is_refused(type_: str) -> None:
    """A page in a browser that has its own name lead here, or sends requests here, gets no answer: neither from the store's API
    nor from what controls the emulator."""
    with emulator(type_) as server, httpx.Client(verify=False, trust_env=False) as http:
        origin = server.url.partition("://")[2].partition("/")[0]
        for path in (f"http://{origin}/_emulator/stats", server.url + "/"):
            for host in FOREIGN:
                assert http.get(path, headers={"Host": host}).status_code == 421, host
            for page in ("https://evil.example", "null", "http://localhost.evil.example", "file://"):
                assert http.post(path, headers={"Origin": page}).status_code == 403, page
        before = http.get(f"http://{origin}/_emulator/stats").json()
        assert before["requests"] == 0


def test_this_machine_and_allowed_names_are_answered() -> None:
    """Every name of this machine is answered, and so is one that was allowed, also as the origin of a page."""
    with process("--allow-host", "Stand-In.test") as (_, ready), httpx.Client(verify=False, trust_env=False) as http:
        url = f"{ready['url']}/_emulator/stats"
        for host in (*OURS, "stand-in.test", "stand-in.test:8080"):
            assert http.get(url, headers={"Host": host}).status_code == 200, host
        for page in ("http://localhost:3000", "https://stand-in.test"):
            assert http.get(url, headers={"Origin": page}).status_code == 200, page
