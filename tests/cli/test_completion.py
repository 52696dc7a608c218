"""Shell completion: the names that this machine knows, at once and without a word to anyone else."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from typing import NoReturn

import pytest
from click.shell_completion import BashComplete

from kvsync.cli.completing import MOST
from kvsync.cli.main import cli
from tests.cli.conftest import CONFIGURATION, WEB, Repo

Complete = Callable[..., list[str]]


@pytest.fixture
def complete(monkeypatch: pytest.MonkeyPatch, repo: Repo) -> Complete:
    """What a shell offers after these words; the last one is still being written. The network cannot be used."""

    def refuse(*_arguments: object) -> NoReturn:
        raise AssertionError("completion used the network")

    monkeypatch.chdir(repo.root)
    for name in [name for name in os.environ if name.startswith("KVSYNC_")]:
        monkeypatch.delenv(name)
    for call in ("connect", "connect_ex", "sendto"):
        monkeypatch.setattr(socket.socket, call, refuse)

    def complete(*words: str) -> list[str]:
        found = BashComplete(cli, {}, "kvsync", "_KVSYNC_COMPLETE").get_completions(list(words[:-1]), words[-1])
        return [item.value for item in found]

    return complete


def test_names_are_offered(applied: Repo, complete: Complete) -> None:
    """Targets of files and state, stores, keys, runs, plans that wait, environments and states."""
    applied.write("kvsync.yaml", f"{CONFIGURATION}environments: [dev, prod]\n")
    applied.write("state/shop.yaml", WEB.replace("web", "shop"))
    (applied.root / "state/web.yaml").write_text("store: local\nnamespace: web\nkeys: {}\n")
    applied.run("plan", code=4)
    assert complete("plan", "--target", "") == ["local/shop", "local/web", "local"]
    assert complete("pause", "local/s") == ["local/shop"]
    assert complete("set", "local/shop", "g") == ["greeting"]
    assert complete("set", "local/web", "g") == []
    assert complete("explain", "") == ["greeting", "limits", "timeout"]
    assert complete("undo", "20") == [applied.json("history")["runs"][0]["run"]]
    [parked] = applied.json("status")["parked"]
    assert complete("approve", "") == complete("apply", "--approve", "") == [parked["digest"].split(":")[1][:12]]
    assert complete("plan", "--env", "p") == complete("--env", "p") == ["prod"]
    assert complete("compare", "dev", "") == ["dev", "prod", "local", "local/shop", "local/web"]
    assert complete("status", "--state", "pa") == ["parked", "paused"]


def test_what_a_shell_could_misread_is_left_out_and_lists_are_bounded(repo: Repo, complete: Complete) -> None:
    """Thousands of keys are not dumped on a person, and one with a space or a control character is not split in two."""
    keys = "".join(f"  key-{number:04}: x\n" for number in range(MOST + 50))
    repo.write("state/web.yaml", f'{WEB}  "a b": x\n  "a\\u0007": x\n  plain: x\n{keys}')
    offered = complete("explain", "")
    assert (len(offered), offered[:2]) == (MOST, ["greeting", "key-0000"])
    assert complete("explain", "a") == []
    assert complete("explain", "p") == ["plain"]


@pytest.mark.parametrize(
    "more",
    [
        "state_dir: /proc/1/none\n",
        "stores: [broken\n",
        "source: {git: {url: 'https://git.example/repo'}}\n",
        "state: {postgresql: {dsn: {env: DSN}}}\n",
    ],
)
def test_nothing_is_asked_or_said_whatever_is_wrong(
    repo: Repo, complete: Complete, capfd: pytest.CaptureFixture[str], more: str
) -> None:
    """A state or configuration that cannot be read, a repository never fetched, a database: nothing is printed or created."""
    repo.write("kvsync.yaml", CONFIGURATION + more)
    for words in (("plan", "--target"), ("explain",), ("undo",), ("approve",), ("history", "--commit"), ("--env",)):
        complete(*words, "")
    assert capfd.readouterr() == ("", "")
    assert sorted(file.name for file in repo.root.iterdir()) == ["kvsync.yaml", "state"]
