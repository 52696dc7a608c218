"""Hostile servers: every command ends, nothing secret is shown or kept, and other targets go on."""

from __future__ import annotations

import json
import os
import sqlite3
from base64 import b64encode
from contextlib import closing
from itertools import cycle, product
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.cli.conftest import environment
from tests.cli.runner import Runner
from tests.hostile.servers import CANARY, FORMS, MOST_BYTES, MOST_REQUESTS, TOKEN, Hostile, Server, hostile, serving
from tests.support.hostile_text import is_harmless

SECONDS = 60
"""After which a command that does not end is ended, and its test fails."""

LATE = "no response from 127.0.0.1:"
"""On a busy machine, the time of every call may be over before the server reads it."""

CONFIG = """\
version: 1
owner: tester
stores:
  local: {type: sqlite, path: ../store.db}
  remote: {timeout: 200ms, endpoint: "URL", STORE}
policy: {prune: owned}
authors: {env: [SECRET]}
limits: {listing_pages: 100, answer: 16MiB}
"""
STORES = {
    "azure-appconfig": "type: azure-appconfig, connection_string: {env: CONNECTION}",
    "cloudflare-kv": "type: cloudflare-kv, account_id: abc, token: {env: STORE_TOKEN}, create_namespaces: true",
    "apify": "type: apify, token: {env: STORE_TOKEN}, create_namespaces: true",
    "voximplant": "type: voximplant, credentials: {env: KEY_FILE}, application_id: 1",
}
COMMANDS = {
    "plan": "plan --full",
    "apply": "apply --yes",
    "doctor": "doctor",
    "drift": "drift",
    "dump": "dump remote --to dumped",
}
CODES = {0, 1, 2, 3, 4}
HOSTILE = hostile()

EVERYTHING = pytest.mark.skipif(
    "KVSYNC_ALL_HOSTILE_SERVERS" not in os.environ,
    reason="takes half an hour; KVSYNC_ALL_HOSTILE_SERVERS=1 makes it run",
)


def case(name: str, store: str, *more: str, is_quick: bool = True) -> Any:
    """A server, a store and perhaps a command."""
    return pytest.param(name, store, *more, marks=[pytest.mark.system] * (not is_quick))


# Every answer once, with one of the stores and one of the commands; a fifth of them wherever tests run.
_COMMANDS = cycle(["apply", "plan", "apply", "doctor", "drift", "dump", "apply"])
SAMPLE = [
    case(
        name,
        "azure-appconfig" if "pages that lead" in name else store,
        "plan" if "pages" in name else command,
        is_quick=number % 5 == 0,
    )
    for number, (name, store, command) in enumerate(zip(HOSTILE, cycle(STORES), _COMMANDS, strict=False))
]
ALL = [
    case(name, store)
    for name, store in product(HOSTILE, STORES)
    if store == "azure-appconfig" or "pages that lead" not in name  # only there pages have links
]


@pytest.fixture(scope="module")
def key_file() -> str:
    """The key of a service account."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return json.dumps({"account_id": 1, "key_id": "k", "private_key": key.decode()})


class HostileSetup:
    """A repository with a target in a hostile store and one in a file, and the commands in it."""

    def __init__(self, root: Path, runner: Runner, store: str, server: Server, key_file: str) -> None:
        self.root, self._runner, self._server = root, runner, server
        connection = f"Endpoint={server.url};Id=i;Secret={b64encode(TOKEN.encode()).decode()}"
        self._env = {"SECRET": CANARY, "STORE_TOKEN": TOKEN, "CONNECTION": connection, "KEY_FILE": key_file}
        # kvsync does not read the token where the store has another credential, and a server's page may show it then.
        self._secrets = [form for form in FORMS if store != "voximplant" or form != TOKEN]
        (root / "state").mkdir(parents=True)
        (root / "kvsync.yaml").write_text(CONFIG.replace("URL", server.url).replace("STORE", STORES[store], 1))
        (root / "state" / "good.yaml").write_text("store: local\nnamespace: good\nkeys: {ok: fine}\n")
        remote = "store: remote\nnamespace: web\nkeys: {plain: 'yes', secret: {env: SECRET}}\n"
        (root / "state" / "remote.yaml").write_text(remote)

    def check(self, command: str, one: Hostile) -> None:
        """Run a command, and check all that holds after every one of them."""
        arguments = ["--log-level", "debug", *COMMANDS[command].split()]
        before = self._server.requests
        if command == "doctor":  # which gives up after that time altogether
            config = self.root / "kvsync.yaml"
            config.write_text(config.read_text().replace("timeout: 200ms", "timeout: 3s"))
        code, out, err = self._runner.run(arguments, self.root, environment(self._env), SECONDS)
        said = out + err
        assert code in CODES, (code, said[-3000:])
        assert code != 0 or one.is_plausible or (command == "doctor" and one.finds_namespace), said[-3000:]
        assert "Traceback" not in said
        assert "bug in kvsync" not in said, said[-3000:]
        assert "mistake in kvsync" not in said, said[-3000:]
        assert [line for line in said.splitlines() if not is_harmless(line)] == []
        assert [form for form in self._secrets if form in said] == []
        asked = self._server.requests - before
        assert asked or LATE in said, said[-3000:]
        assert asked < MOST_REQUESTS
        assert self._server.sent < MOST_BYTES
        assert self.leaks() == []
        if command == "apply":
            assert self.held() == {"good/ok": b"fine"}

    def held(self) -> dict[str, bytes]:
        """What the store in a file holds, by namespace and key."""
        with closing(sqlite3.connect(self.root.parent / "store.db")) as database:
            rows = database.execute("SELECT namespace, key, value FROM entries")
            return {f"{space}/{key}": value for space, key, value in rows}

    def leaks(self) -> list[str]:
        """The files of the state directory, and of a dump, in which there is something secret."""
        files = [*(self.root / ".kvsync").rglob("*"), *(self.root / "dumped").rglob("*")]
        texts = [(file, file.read_bytes()) for file in files if file.is_file()]
        return [str(file) for file, text in texts if any(form.encode() in text for form in FORMS)]


@pytest.mark.parametrize(("name", "store", "command"), SAMPLE)
def test_a_hostile_server(tmp_path: Path, runner: Runner, key_file: str, name: str, store: str, command: str) -> None:
    """Whatever a server answers, the command ends with an error that tells so, in a bounded number of requests."""
    one = HOSTILE[name]
    with serving(one.answer) as server:
        place = HostileSetup(tmp_path / "repo", runner, store, server, key_file)
        place.check(command, one)


@pytest.mark.system
@EVERYTHING
@pytest.mark.parametrize(("name", "store"), ALL)
def test_every_store_and_command_with_a_hostile_server(
    tmp_path: Path, runner: Runner, key_file: str, name: str, store: str
) -> None:
    """The same for every store and command."""
    one = HOSTILE[name]
    with serving(one.answer) as server:
        place = HostileSetup(tmp_path / "repo", runner, store, server, key_file)
        for command in COMMANDS:
            place.check(command, one)
