"""Hostile repositories: nothing of the host is read, others go on, everything ends."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.cli.conftest import environment
from tests.cli.runner import Runner
from tests.hostile.repositories import BAD, CANARY, CONFIG, GOOD, Hostile, hostile, lay_out

COMMANDS = ("validate", "plan --full --target local", "apply --yes --target local", "run --once")
HOSTILE = hostile()


class HostileSetup:
    """A folder with a repository, and the commands in it."""

    def __init__(self, root: Path, runner: Runner) -> None:
        self.root, self._runner = root, runner
        self.said = ""

    def run(self, command: str, **env: str) -> int:
        """Run a command; what it says is kept. Returns its exit code."""
        code, out, err = self._runner.run(command.split(), self.root, environment(env))
        assert "Traceback" not in err, err
        self.said += out + err
        return code

    def held(self) -> dict[str, bytes]:
        """What the store holds, by namespace and key."""
        with closing(sqlite3.connect(self.root.parent / "store.db")) as database:
            return {
                f"{space}/{key}": value
                for space, key, value in database.execute("SELECT namespace, key, value FROM entries")
            }

    def leaks(self) -> list[str]:
        """The files of kvsync's, and what it said, in which there is something of the host."""
        kept = [*(self.root / ".kvsync").rglob("*"), *self.root.parent.glob("store.db*")]
        found = [str(path) for path in kept if path.is_file() and CANARY.encode() in path.read_bytes()]
        return found + ([self.said] if CANARY in self.said else [])


@pytest.fixture
def place(tmp_path: Path, runner: Runner) -> HostileSetup:
    """The folder with the good target, which was applied."""
    lay_out(tmp_path / "repo")
    place = HostileSetup(tmp_path / "repo", runner)
    assert place.run("apply --yes --target local") == 0
    place.said = ""
    return place


SLOW = {"pattern with many depths"}
# A third of them wherever tests run.
SOME = [
    pytest.param(name, marks=[pytest.mark.system] if number % 3 or name in SLOW else [])
    for number, name in enumerate(HOSTILE)
]


@pytest.mark.parametrize("name", SOME)
def test_a_hostile_repository(place: HostileSetup, name: str) -> None:
    """Whatever is tried, by every command: the reason is reported, nothing of the host is read or shown, and the other target
    goes on, except where nobody can know which targets are meant."""
    one: Hostile = HOSTILE[name]
    key = (place.root / ".kvsync" / "key").read_bytes()
    one.build(place.root)
    (place.root / "state" / "good.yaml").write_text(GOOD.replace("fine", "changed"))
    for command in COMMANDS:
        code = place.run(command, CANARY_IN_ENVIRONMENT=CANARY)
        assert code == 78 or (command == "run --once" and code == 1), (command, code, place.said)
    assert one.says in place.said
    assert place.leaks() == []
    held = place.held()
    assert key not in held.values()
    assert held == {"good/ok": b"fine" if one.holds_all else b"changed"}
    if one.holds_all:
        assert "zbad.yaml" in place.said


def test_the_environment_of_another_process_is_not_a_value(place: HostileSetup) -> None:
    """Also where the repository lies in the root of the file system."""
    (place.root / "state" / "zbad.yaml").write_text(
        f"{BAD}keys: {{a: {{file: ../../../../../../../../proc/self/environ}}}}\n"
    )
    assert place.run("apply --yes --target local", CANARY_IN_ENVIRONMENT=CANARY) == 78
    assert place.leaks() == []


# -- a repository that kvsync fetches ---------------------------------------------------------------------------------


def git(folder: Path, *arguments: str) -> None:
    import subprocess

    identity = ("-c", "user.name=a", "-c", "user.email=a@b", "-c", "init.defaultBranch=main")
    subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True)


@pytest.fixture
def origin(place: HostileSetup) -> Path:
    """A repository that is fetched, next to a configuration that says so."""
    origin = place.root.parent / "origin"
    (origin / "state").mkdir(parents=True)
    (origin / "state" / "good.yaml").write_text(GOOD)
    (origin / "state" / "x").write_text("inside")
    git(origin, "init")
    return origin


def fetch(place: HostileSetup, origin: Path, more: str = "") -> None:
    git(origin, "add", "-A")
    git(origin, "commit", "-q", "-m", "x")
    source = f"source: {{git: {{url: 'file://{origin}', ref: main{more}}}}}\n"
    (place.root / "kvsync.yaml").write_text(CONFIG + source)


@pytest.mark.parametrize("target", ["x", "../../../../../../../../etc/passwd", "/proc/self/environ"])
@pytest.mark.parametrize("symlinks", [False, True])
def test_links_in_a_repository_that_is_fetched(place: HostileSetup, origin: Path, target: str, symlinks: bool) -> None:
    """They are an error where they are used, which names the option; with it they are followed as far as they stay inside."""
    (origin / "state" / "link").symlink_to(target)
    (origin / "state" / "zbad.yaml").write_text(f"{BAD}keys: {{a: {{file: link}}}}\n")
    (origin / "unused").symlink_to("/")
    fetch(place, origin, ", symlinks: true" if symlinks else "")
    works = symlinks and target == "x"
    for command in COMMANDS:
        place.run(command, CANARY_IN_ENVIRONMENT=CANARY)
    said = "outside the folder" if symlinks else "set source.git.symlinks: true"
    assert (said in place.said) is not works
    assert place.held() == {"good/ok": b"fine"} | ({"bad/a": b"inside"} if works else {})
    assert place.leaks() == []


@pytest.mark.parametrize(
    ("link", "target", "keys"),
    [
        ("data/..data", "..evil", "keys: {a: {file: ../data/secret}}\n"),
        ("state/deep", "../data", "keys: {a: 1}\n"),
        ("state/zlink.yaml", "good.yaml", "keys: {a: 1}\n"),
        ("l", "data", "keys: {}\nfiles: [{path: ../l}]\n"),
    ],
)
def test_other_uses_of_links(place: HostileSetup, origin: Path, link: str, target: str, keys: str) -> None:
    """As a mount, as a folder that a pattern meets, as a state file, and as the folder of values."""
    (origin / "data").mkdir()
    (origin / "data" / "f").touch()
    (origin / "data" / "..evil").symlink_to(place.root.parent / "outside")
    (origin / link).symlink_to(target)
    (origin / "state" / "zbad.yaml").write_text(BAD + keys)
    fetch(place, origin)
    codes = {command: place.run(command) for command in COMMANDS}
    assert set(codes.values()) <= {78, 1}
    assert "bad/a" not in place.held()
    assert ("source.git.symlinks" in place.said) is ("..data" not in link)
    assert place.leaks() == []


# -- a state directory that came with the repository ------------------------------------------------------------------

ALL = (*COMMANDS, "drift", "status", "history", "approve 12345678", "pause local", "resume local", "undo 1 --yes")


@pytest.mark.parametrize("trick", ["link", "tracked", "file", "owner"])
def test_a_state_directory_that_came_with_the_repository(place: HostileSetup, tmp_path: Path, trick: str) -> None:
    """No command believes it, writes into it, or touches a store."""
    root, state = place.root, place.root / ".kvsync"
    (root / "state" / "good.yaml").write_text(GOOD.replace("fine", "changed"))
    if trick == "link":
        state.rename(tmp_path / "elsewhere")
        state.symlink_to(tmp_path / "elsewhere")
    elif trick == "tracked":
        git(root, "add", "-f", ".kvsync/state.db")
    elif trick == "file":
        state.rename(tmp_path / "elsewhere")
        state.write_text("")
    elif os.geteuid() == 0:
        os.chown(state, 65532, 65532)
    else:
        pytest.skip("only root can give a folder away")
    for command in ALL:
        assert place.run(command) == 78, command
    assert place.held() == {"good/ok": b"fine"}
    assert place.said.count(f"state directory {state}: ") == len(ALL)
