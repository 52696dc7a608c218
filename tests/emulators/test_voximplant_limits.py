"""How often one may ask; the service's ways to fail; what outlives a restart."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from kvsync.emulators.model import Options
from kvsync.emulators.server import Running
from kvsync.errors import UsageError
from tests.emulators.conftest import VOX, process, vox_emulator, vox_with
from tests.emulators.vox_api import DELETE, GET, KEYS, NOON, SET, VoxApi, error


def test_the_rate() -> None:
    """Switch `rate`: more requests than that in a second are 340, in virtual time; what is refused does not count."""
    with vox_with(rate="3") as vox:
        vox.stop_at(NOON)
        assert [vox.call(KEYS) for _ in range(3)] == [[], [], []]
        assert error(vox.ask(KEYS)) == (200, 340, "Rate limit exceed")
        vox.stop_at(NOON + 1)
        assert vox.call(KEYS) == []
        vox.control("POST", "reset", {"only": ["data"]})
        assert [vox.call(KEYS) for _ in range(3)] == [[], [], []]
    with vox_with(rate="1/10s") as vox:
        vox.stop_at(NOON)
        assert vox.call(KEYS) == []
        vox.stop_at(NOON + 9)
        assert vox.code(KEYS) == 340


@pytest.mark.parametrize("code", [484, 515])
def test_probable_resends(code: int) -> None:
    """Switch `resend`: an equal Set within that time is refused, another value, TTL or key is not; the first one counts."""
    with vox_with(resend="10s", resend_code=str(code)) as vox:
        vox.stop_at(NOON)
        vox.set("k", ttl=60)
        assert vox.code(SET, key="k", value="v", ttl=60) == code
        vox.set("k", ttl=70)
        vox.set("k", "other", ttl=60)
        vox.set("l", ttl=60)
        vox.set("k", ttl=60, application_id=2)
        vox.stop_at(NOON + 10)
        vox.set("k", ttl=60)


def test_without_the_switch_resends_are_done(vox: VoxApi) -> None:
    """Without `resend` an equal Set is done again."""
    vox.set("k", ttl=60)
    vox.set("k", ttl=60)


@pytest.mark.parametrize(("status", "code"), [(200, 340), (400, 101), (401, 100), (403, 104), (429, 340), (500, 2)])
def test_failures_in_the_envelope(vox: VoxApi, status: int, code: int) -> None:
    """Faults that the API itself tells come in its envelope, also the one that hides under 200; nothing was done."""
    vox.control("PUT", "faults", {"spec": f"{status}:1"})
    assert error(vox.ask(SET, key="k", value="v"))[:2] == (status, code)
    vox.control("PUT", "faults", "")
    assert vox.keys() == []


@pytest.mark.parametrize("code", [416, 454, 455, 456, 484, 515])
def test_faults_that_are_codes(vox: VoxApi, code: int) -> None:
    """A fault whose number is a code of the API is that code, under 200."""
    vox.control("PUT", "faults", {"spec": f"{code}:1"})
    assert error(vox.ask(SET, key="k", value="v"))[:2] == (200, code)


@pytest.mark.parametrize("code", [1, 4, 5, 127, 131, 135, 137, 162, 281, 314, 499])
def test_any_code_under_200(code: int) -> None:
    """Switch `refusal` chooses which code of the API the fault 200 has."""
    with vox_with(refusal=str(code)) as vox:
        vox.control("PUT", "faults", {"spec": "200:1"})
        assert error(vox.ask(KEYS))[:2] == (200, code)


@pytest.mark.parametrize("status", [404, 502, 503, 504, 520])
def test_pages_of_the_gateway(vox: VoxApi, status: int) -> None:
    """Other statuses are pages for people, without an envelope; nothing was done."""
    vox.control("PUT", "faults", {"spec": f"{status}:1"})
    answer = vox.ask(SET, key="k", value="v")
    assert (answer.status_code, answer.headers["Content-Type"]) == (status, "text/html")
    assert str(status) in answer.text
    vox.control("PUT", "faults", "")
    assert vox.keys() == []


def test_lost_answers(vox: VoxApi) -> None:
    """A write whose answer is lost, or is another one, was done; reads are not hit, though all are POST."""
    vox.control("PUT", "faults", {"spec": "drop-after-write:1"})
    with pytest.raises(httpx.TransportError):
        vox.set("a")
    vox.control("PUT", "faults", {"spec": "484-after-write:1"})
    assert vox.code(SET, key="b", value="v") == 484
    assert sorted(vox.keys()) == ["a", "b"]
    assert vox.code(DELETE, key="a") == 484
    assert vox.keys() == ["b"]


def test_foreign_writers(vox: VoxApi) -> None:
    """`foreign-write` changes a key just before it is written or deleted; what cannot be written is left alone."""
    vox.control("PUT", "faults", {"spec": "foreign-write:1"})
    assert vox.set("k", "ours")["value"] == "written by another program (1)"
    assert vox.value("k") == "ours"
    assert vox.call(DELETE, key="new") == 1
    assert vox.code(SET, key="a/b", value="v") == 496
    assert vox.code(SET, key="k", value="v", application_id=9) == 116
    assert vox.keys() == ["k"]
    vox.control("PUT", "faults", {"spec": "foreign-write:1,429-after-write:1"})
    assert vox.ask(SET, key="k", value="ours").status_code == 429


def test_statistics_by_method(vox: VoxApi) -> None:
    """Requests are counted by the method of the API, wherever it was named, and no value is in the log."""
    vox.set("k", "a value of ours")
    vox.post("/platform_api", data={"cmd": SET, "key": "k", "value": "another of ours", "application_id": 1})
    vox.get(f"/platform_api/{GET}?key=k&application_id=1")
    assert vox.control("GET", "stats")["routes"] == {f"POST /platform_api/{SET}": 2, f"GET /platform_api/{GET}": 1}
    assert "ours" not in str(vox.control("GET", "log"))


def test_many_at_once(voximplant: Running) -> None:
    """What many clients write at once is all there, and of one key one value remains whole."""

    def write(number: int) -> None:
        with VoxApi(voximplant) as vox:
            for step in range(10):
                vox.set(f"n:{number}:{step}")
                vox.set("one", str(number) * 2_000)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(4)))
    with VoxApi(voximplant) as vox:
        assert set(vox.keys(key="n")) == {f"n:{number}:{step}" for number in range(4) for step in range(10)}
        assert vox.value("one") in [str(number) * 2_000 for number in range(4)]


def test_a_killed_process_loses_nothing_it_answered(tmp_path: Path) -> None:
    """With `--data`, items, ends, their order and the account survive SIGKILL, and what was deleted stays deleted."""
    folder = tmp_path / "data"
    with process("--data", str(folder), type_=VOX) as (child, ready):
        with VoxApi(Running(Options(VOX), ready["url"], ready["env"])) as vox:
            for key in ("z", "gone", "a"):
                vox.set(key, f"{key} ключ", ttl=600)
            vox.call(DELETE, key="gone")
            vox.call("AddApplication", application_name="third")
            vox.set("third", application_id=3)
            vox.call("DelApplication", application_id=2)
            before, headers = vox.all(), vox.headers["Authorization"]
        child.kill()
        child.wait(60)
    with vox_emulator(data=folder) as server, VoxApi(server, headers={"Authorization": headers}) as vox:
        assert server.env["VOXIMPLANT_CREDENTIALS"] == ready["env"]["VOXIMPLANT_CREDENTIALS"]
        assert (vox.all(), vox.value("z")) == (before, "z ключ")
        assert [entry["key"] for entry in vox.all(application_id=3)] == ["third"]
        assert [found["application_id"] for found in vox.call("GetApplications", application_id="")] == [1, 3]
        vox.set("b")
        assert vox.keys() == ["z", "a", "b"]
        vox.control("POST", "reset")
    with vox_emulator(data=folder) as server, VoxApi(server) as vox:
        assert (vox.all(), vox.all(application_id=2)) == ([], [])


def test_the_file_of_the_account(tmp_path: Path) -> None:
    """It is for its owner alone; without `--data` it goes with the emulator, and with it stays."""
    with vox_emulator() as server:
        file = Path(server.env["VOXIMPLANT_CREDENTIALS"])
        assert (file.stat().st_mode & 0o777, file.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    assert not file.parent.exists()
    with vox_emulator(data=tmp_path) as server:
        file = Path(server.env["VOXIMPLANT_CREDENTIALS"])
    assert file.stat().st_mode & 0o777 == 0o600
    assert sorted(found.name for found in tmp_path.iterdir()) == ["voximplant-credentials.json", "voximplant.db"]
    assert file.parent == tmp_path


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"key_id": "x", "private_key": "y"}'])
def test_a_broken_file_of_the_account(tmp_path: Path, text: str) -> None:
    """A file that holds no account is not overwritten, but said to be in the way."""
    file = tmp_path / "voximplant-credentials.json"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(UsageError, match="holds no service account; remove it"), vox_emulator(data=tmp_path):
        pass
    assert file.read_text(encoding="utf-8") == text


@pytest.mark.parametrize(
    ("switches", "message"),
    [
        ({"rate": "many"}, "switch rate needs a number"),
        ({"rate": "5/soon"}, "not a duration"),
        ({"refusal": "999"}, "a code of the API, not 999"),
        ({"resend": "soon"}, "not a duration"),
        ({"match": "some"}, "switch match is one of prefix, namespace"),
        ({"colour": "red"}, "no switch 'colour'; it has: rate, resend"),
    ],
)
def test_wrong_switches_are_explained(switches: dict[str, Any], message: str) -> None:
    """An emulator that cannot be started as requested says why."""
    with pytest.raises(UsageError, match=message), vox_emulator(switches=switches):
        pass
