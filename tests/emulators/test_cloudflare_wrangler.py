"""wrangler, the vendor's own command line, as it is."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from kvsync.emulators.server import Running
from tests.emulators.kv_api import KvApi, ok
from tests.emulators.npm import installed

Wrangler = Callable[..., str]


@pytest.fixture(scope="module")
def packages() -> Path:
    """The folder `node_modules` with wrangler in it."""
    return installed("wrangler.json", "wrangler")


@pytest.fixture
def wrangler(cloudflare: Running, packages: Path, tmp_path: Path) -> Wrangler:
    """The current wrangler."""
    return command_line(cloudflare, packages, tmp_path)


def command_line(server: Running, packages: Path, folder: Path) -> Wrangler:
    """Runs `wrangler kv …`, or another group of its commands, against the emulator, and gives what it prints; fails with its
    complaint if it fails. With `no_account`, its environment says nothing of an account."""
    quiet = {
        "WRANGLER_SEND_METRICS": "false",
        "WRANGLER_HIDE_BANNER": "true",
        "WRANGLER_LOG_SANITIZE": "true",
        "NO_COLOR": "1",
        "CI": "1",
    }
    env = {**os.environ, **server.env, **quiet, "HOME": str(folder), "XDG_CONFIG_HOME": str(folder)}
    program = packages / "wrangler/wrangler-dist/cli.js"

    def run(*arguments: str, group: Sequence[str] = ("kv",), no_account: bool = False) -> str:
        command = ["node", "--no-warnings", str(program), *group, *arguments]
        done = subprocess.run(
            command,
            env={name: value for name, value in env.items() if not (no_account and name == "CLOUDFLARE_ACCOUNT_ID")},
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
            stdin=subprocess.DEVNULL,
        )
        assert done.returncode == 0, done.stderr or done.stdout
        return done.stdout

    return run


def at_once(*commands: Callable[[], str]) -> list[str]:
    """Run commands that do not depend on each other next to each other; wrangler is slow to start."""
    with ThreadPoolExecutor(len(commands)) as pool:
        return list(pool.map(lambda command: command(), commands))


@pytest.mark.system
def test_wrangler(wrangler: Wrangler, cloudflare: Running, tmp_path: Path) -> None:
    """wrangler makes a namespace, and puts, gets, lists and deletes keys in it, one and many."""
    wrangler("namespace", "create", "shop")
    with KvApi(cloudflare) as kv:
        (namespace,) = ok(kv.get(kv.all))
        assert namespace["title"] == "shop"
        kv.use(namespace["id"])
        where = ("--namespace-id", namespace["id"], "--remote")
        pairs: list[dict[str, Any]] = [{"key": f"bulk/{number:04}", "value": str(number)} for number in range(1_500)]
        pairs.append({"key": "binary", "value": "AP8=", "base64": True})
        (tmp_path / "pairs.json").write_text(json.dumps(pairs), encoding="utf-8")
        (tmp_path / "keys.json").write_text(json.dumps(["bulk/0000", "none"]), encoding="utf-8")
        at_once(
            lambda: wrangler("bulk", "put", str(tmp_path / "pairs.json"), *where),
            lambda: wrangler("key", "put", "a/b c%2F", "é", "--metadata", '{"a": 1}', "--ttl", "3600", *where),
        )
        assert kv.read("a/b c%2F", withMetadata=True)["a/b c%2F"]["metadata"] == {"a": 1}
        listed, got, many = at_once(
            lambda: wrangler("key", "list", *where),
            lambda: wrangler("key", "get", "a/b c%2F", "--text", *where),
            lambda: wrangler("bulk", "get", str(tmp_path / "keys.json"), *where),
        )
        names = [key["name"] for key in json.loads(listed)]
        assert names == sorted(["a/b c%2F", *(pair["key"] for pair in pairs)])
        assert got.rstrip("\n") == "é"
        assert json.JSONDecoder().raw_decode(many)[0] == {"bulk/0000": "0", "none": None}
        at_once(
            lambda: wrangler("bulk", "delete", str(tmp_path / "keys.json"), "--force", *where),
            lambda: wrangler("key", "delete", "binary", *where),
        )
        assert len(kv.keys()) == 1_500
        stats = kv.control("GET", "stats")["routes"]
        assert stats[f"DELETE {kv.all.replace(kv.account, '{account_id}')}/{{namespace_id}}/bulk"] == 1


@pytest.mark.system
def test_previous_wrangler(cloudflare: Running, tmp_path: Path) -> None:
    """wrangler 3, which has other titles and options, makes a namespace, and puts, gets, lists and deletes a key in it."""
    wrangler = command_line(cloudflare, installed("previous-wrangler.json", "wrangler 3"), tmp_path)
    wrangler("namespace", "create", "shop")
    with KvApi(cloudflare) as kv:
        (namespace,) = ok(kv.get(kv.all))
        assert namespace["title"] == "worker-shop"
        where = ("--namespace-id", namespace["id"])
        wrangler("key", "put", "a/b", "1", *where)
        assert wrangler("key", "get", "a/b", "--text", *where).strip() == "1"
        assert json.loads(wrangler("key", "list", *where)) == [{"name": "a/b"}]
        wrangler("key", "delete", "a/b", *where)
        kv.use(namespace["id"])
        assert kv.keys() == []


@pytest.mark.system
def test_wrangler_finds_its_account(wrangler: Wrangler, cloudflare: Running) -> None:
    """Without an account id, wrangler finds the one account of its token, works in it, and says whose it is."""
    account = cloudflare.env["CLOUDFLARE_ACCOUNT_ID"]
    listed, shown = at_once(
        lambda: wrangler("namespace", "list", no_account=True),
        lambda: wrangler("whoami", group=(), no_account=True),
    )
    assert json.loads(listed[listed.index("[") :]) == []
    assert "kvsync-emulator" in shown
    assert account in shown or account[:4] in shown
