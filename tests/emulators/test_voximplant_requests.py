"""Every shape that a request may have, who may ask, and which application is meant."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from random import Random
from typing import Any
from urllib.parse import urlencode

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import given
from hypothesis import strategies as st

from kvsync.emulators import build
from kvsync.emulators.clock import VirtualClock
from kvsync.emulators.model import Emulator, Options, Parts, Request
from kvsync.emulators.server import Running
from kvsync.emulators.storage import Storage
from tests.emulators.conftest import vox_emulator, vox_with
from tests.emulators.vox_api import GET, ITEMS, KEYS, SET, VoxApi, account, error, result, token

FORM = "application/x-www-form-urlencoded"


def multipart(fields: dict[str, str], boundary: str = "----b") -> tuple[str, bytes]:
    """Content type and body of a form, as the vendor's Node client sends it."""
    head = '--{}\r\nContent-Disposition: form-data; name="{}"\r\n\r\n{}\r\n'
    body = "".join(head.format(boundary, name, value) for name, value in fields.items()) + f"--{boundary}--\r\n"
    return f"multipart/form-data; boundary={boundary}", body.encode()


def requests(method: str, fields: dict[str, str]) -> Iterator[Request]:
    """One call in all shapes that there are."""
    query, command = urlencode(fields), {"cmd": method}
    with_command = urlencode(fields | command)
    kind, form = multipart(fields | command)
    for slash in ("", "/"):
        yield Request("GET", f"/platform_api/{method}{slash}?{query}", {})
        yield Request("POST", f"/platform_api/{method}{slash}?{query}", {})
        yield Request("POST", f"/platform_api/{method}{slash}", {"Content-Type": FORM}, query.encode())
        yield Request("GET", f"/platform_api{slash}?{with_command}", {})
        yield Request("POST", f"/platform_api{slash}", {"Content-Type": f"{FORM};charset=utf-8"}, with_command.encode())
        yield Request("POST", f"/platform_api{slash}", {"Content-Type": kind}, form)
        yield Request("POST", f"/platform_api{slash}?cmd={method}", {"Content-Type": FORM}, query.encode())


@pytest.fixture(scope="module")
def bare() -> Iterator[Emulator]:
    """An emulator without a server around it."""
    parts = Parts(Options("voximplant", anonymous=True), VirtualClock(), Storage(), Random(0))
    emulator = build("voximplant", parts)
    yield emulator
    emulator.close()


@given(value=st.text(st.characters(codec="utf-8"), min_size=1, max_size=80))
def test_all_shapes_mean_the_same(bare: Emulator, value: str) -> None:
    """A value arrives as it was meant, wherever method and parameters are."""
    written = {"key": "a:ключ", "value": value, "application_id": "1", "child_account_id": "7"}
    read = {"key": "a:ключ", "application_id": "1"}
    for writing, reading in zip(requests(SET, written), requests(GET, read), strict=True):
        bare.reset()
        assert b'"error"' not in bare.answer(writing).body
        assert json.loads(bare.answer(reading).body)["result"]["value"] == value
        assert (bare.route(writing), bare.writes(writing)) == (f"/platform_api/{SET}", True)
        assert (bare.route(reading), bare.writes(reading)) == (f"/platform_api/{GET}", False)


def test_chunked_bodies(vox: VoxApi) -> None:
    """A form that comes in chunks, without a length, is read like any other."""
    kind, body = multipart({"cmd": SET, "key": "k", "value": "v\r\n", "application_id": "1"})
    chunks = (body[start : start + 7] for start in range(0, len(body), 7))
    assert result(vox.post("/platform_api", content=chunks, headers={"Content-Type": kind}))["value"] == "v\r\n"


def test_parameters_are_merged(vox: VoxApi) -> None:
    """Query and body are read together, and of two parameters of one name that of the body counts."""
    vox.post(f"/platform_api/{SET}?key=k&application_id=2&value=query", data={"value": "body", "application_id": "1"})
    assert vox.value("k") == "body"


def test_body_parameters_off() -> None:
    """Without `body-parameters` a body counts only where it names the method, too."""
    with vox_with(body_parameters="off") as vox:
        assert vox.code(SET, key="k", value="v") == 485
        vox.post("/platform_api", data={"cmd": SET, "key": "k", "value": "v", "application_id": 1})
        assert result(vox.get(f"/platform_api/{GET}?key=k&application_id=1"))["value"] == "v"


def test_commands_and_paths_that_there_are_not(vox: VoxApi) -> None:
    """No method is 102, an unknown one 103, bytes that are not text 101; outside of the API only the gateway answers."""
    assert error(vox.post("/platform_api")) == (200, 102, "Missing 'cmd' parameter")
    assert error(vox.get("/platform_api/GetCats"))[1] == 103
    assert error(vox.post("/platform_api", content=b"cmd=%ff", headers={"Content-Type": FORM}))[1] == 101
    broken = {"Content-Type": "multipart/form-data"}
    assert error(vox.post("/platform_api", content=b"cmd", headers=broken))[1] == 101
    for path in ("/", "/platform_apis", "/platform_api/a/b"):
        answer = vox.get(path)
        assert (answer.status_code, answer.headers["Content-Type"]) == (404, "text/html")
    assert vox.put(f"/platform_api/{GET}").status_code == 405
    assert set(vox.control("GET", "stats")["routes"]) == {"GET other", "POST other", f"PUT /platform_api/{GET}"}


def other_key() -> str:
    """A private key that nobody knows."""
    encoding, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, plain).decode()


def test_tokens_that_do_not_open(vox: VoxApi, voximplant: Running) -> None:
    """Wrong signatures, keys, accounts and claims are 100; the three ways to have wrong times are distinguished."""
    now = int(time.time())
    wrong: list[tuple[str, int]] = [
        (token(voximplant, key=other_key()), 100),
        (token(voximplant, kid="other"), 100),
        (token(voximplant, iss="1"), 100),
        (token(voximplant, exp=None), 100),
        (token(voximplant, iat=None), 100),
        (token(voximplant, iat=now - 1, exp=now + 3600), 454),
        (token(voximplant, iat=now + 300, exp=now + 400), 455),
        (token(voximplant, iat=now - 400, exp=now - 300), 456),
        ("nonsense", 100),
    ]
    for text, code in wrong:
        assert error(vox.post(f"/platform_api/{KEYS}", headers={"Authorization": f"Bearer {text}"}))[:2] == (200, code)
    assert error(vox.get(f"/platform_api/{KEYS}", headers={"Authorization": "Basic eDp5"}))[1] == 100


def test_tokens_that_open(vox: VoxApi, voximplant: Running) -> None:
    """The account is named by a text or by a number, and a token may last an hour."""
    now, id_ = int(time.time()), account(voximplant)["account_id"]
    assert isinstance(id_, int)
    for claims in ({"iss": id_}, {"iss": str(id_)}, {"iat": now - 60, "exp": now + 3540}):
        vox.headers["Authorization"] = f"bearer {token(voximplant, **claims)}"
        assert vox.call(KEYS) == []


def test_a_wrong_clock(vox: VoxApi, voximplant: Running) -> None:
    """Tokens go by the server's own clock, which `skew` makes wrong, and not by virtual time."""
    vox.control("PUT", "clock", {"advance": "90d"})
    assert vox.call(KEYS) == []
    vox.control("PUT", "clock", {"skew": "-1m"})
    assert vox.code(KEYS) == 455
    vox.control("PUT", "clock", {"skew": "20m"})
    assert vox.code(KEYS) == 456


def test_the_older_credentials(voximplant: Running) -> None:
    """Account and API key as parameters open, by id, name or mail address; what is wrong with them is distinguished."""
    env = voximplant.env
    secret = {"api_key": env["VOXIMPLANT_API_KEY"]}
    named = {"account_id": env["VOXIMPLANT_ACCOUNT_ID"]}
    mail = {"account_email": account(voximplant)["account_email"]}
    with VoxApi(voximplant, authorized=False) as http:
        for who in (named, mail, {"account_name": "kvsync-emulator"}):
            assert http.call(KEYS, **secret, **who) == []
        assert http.call(KEYS, **named, session_id=secret["api_key"]) == []
        refused: list[tuple[dict[str, Any], int]] = [
            ({}, 100),
            (named, 100),
            (secret, 100),
            (secret | {"account_id": "1"}, 115),
            (secret | {"account_email": "else@example.com"}, 100),
            (named | {"api_key": "wrong"}, 100),
            (named | {"session_id": "wrong"}, 161),
        ]
        for parameters, code in refused:
            assert http.code(KEYS, **parameters) == code


def test_anonymous() -> None:
    """With `--anonymous` no credential is needed, but a wrong one is still wrong; `--token` chooses the API key."""
    with vox_emulator(anonymous=True, token="chosen") as server, VoxApi(server, authorized=False) as http:
        assert http.call(KEYS) == []
        assert http.code(KEYS, account_id=server.env["VOXIMPLANT_ACCOUNT_ID"], api_key="wrong") == 100
        assert http.call(KEYS, account_id=server.env["VOXIMPLANT_ACCOUNT_ID"], api_key="chosen") == []
        assert server.env["VOXIMPLANT_API_KEY"] == "chosen"


@pytest.mark.parametrize("forbidden", ["104", "100"])
def test_roles(forbidden: str) -> None:
    """A service account without a fitting role is refused; the older credentials have all rights."""
    switches = {"role": "supervisor", "forbidden": forbidden}
    with vox_emulator(switches=switches) as server, VoxApi(server) as vox:
        assert vox.code(KEYS) == int(forbidden)
        del vox.headers["Authorization"]
        env = server.env
        assert vox.call(KEYS, account_id=env["VOXIMPLANT_ACCOUNT_ID"], api_key=env["VOXIMPLANT_API_KEY"]) == []
    with vox_with(role="developer") as vox:
        assert vox.call(KEYS) == []


def test_applications(vox: VoxApi) -> None:
    """There are two, each with keys of its own, found by id or by name; the id counts."""
    vox.set("k", "1")
    vox.set("k", "2", application_id=2)
    vox.set("k", "3", application_id="", application_name="second")
    assert (vox.value("k"), vox.call(GET, key="k", application_id=2)["value"]) == ("1", "3")
    listed = vox.ask("GetApplications", application_id="").json()
    names = {found["application_id"]: found["application_name"] for found in listed["result"]}
    assert (listed["total_count"], listed["count"], set(names)) == (2, 2, {1, 2})
    assert vox.call(GET, key="k", application_id="", application_name=names[2])["value"] == "3"
    assert vox.call(GET, key="k", application_id=1, application_name=names[2])["value"] == "1"
    assert [found["application_id"] for found in vox.call("GetApplications", application_id=2)] == [2]
    assert vox.call("GetApplications", application_id="", application_name="fir", count=1)[0]["application_id"] == 1
    assert vox.code("GetApplications", offset=-1) == 101


def test_applications_come_and_go(vox: VoxApi) -> None:
    """An application is added, renamed and deleted with what it holds; its name may be used again, its id never is."""
    added = vox.ask("AddApplication", application_id="", application_name="third").json()
    assert (added["result"], added["application_id"]) == (1, 3)
    assert added["application_name"].startswith("third.")
    vox.set("k", "3", application_id=3)
    assert vox.call("SetApplicationInfo", application_id=3, application_name="renamed") == 1
    assert vox.call(GET, key="k", application_id="", application_name="renamed")["value"] == "3"
    assert vox.code(GET, key="k", application_id="", application_name="third") == 107
    for method, parameters in (
        ("AddApplication", {"application_name": "renamed"}),
        ("AddApplication", {"application_name": "No Name"}),
        ("SetApplicationInfo", {"required_application_name": "second", "application_name": "renamed"}),
    ):
        assert vox.code(method, application_id="", **parameters) == 107
    assert vox.call("DelApplication", application_id="", application_name="renamed") == 1
    assert vox.code(GET, key="k", application_id=3) == 116
    assert vox.ask("AddApplication", application_name="renamed").json()["application_id"] == 4
    assert vox.call(KEYS, application_id=4) == []
    vox.control("POST", "reset")
    assert [found["application_id"] for found in vox.call("GetApplications", application_id="")] == [1, 2]


def test_wrong_applications(vox: VoxApi) -> None:
    """A missing one is 485, a wrong id 116, a wrong name 107."""
    for id_, name, code in (("", "", 485), ("x", "", 116), ("-1", "", 116), ("3", "", 116), ("", "third", 107)):
        assert vox.code(ITEMS, key="k", application_id=id_, application_name=name) == code


def test_what_is_open_about_applications() -> None:
    """Switches: names of applications are ignored, and an unknown id has another code."""
    with vox_with(application_name="ignored", unknown_application="558") as vox:
        assert vox.code(KEYS, application_id="", application_name="first") == 485
        assert error(vox.ask(KEYS, application_id=3)) == (200, 558, "Application is not found.")


def test_refusals_with_a_status() -> None:
    """Switch `error-status=matching`: the envelope stays, and the HTTP status says the same as the code."""
    with vox_with(error_status="matching") as vox:
        assert error(vox.ask(GET, key="k"))[:2] == (404, 341)
        assert error(vox.ask(GET))[:2] == (400, 485)
        vox.headers["Authorization"] = "Bearer nonsense"
        assert error(vox.ask(GET))[:2] == (401, 100)
