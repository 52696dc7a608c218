"""The image, built for real and run for real: read-only, as nobody, without a shell."""

from __future__ import annotations

import sqlite3
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from kvsync import __version__
from tests.deploy import parts
from tests.deploy.image import KVSYNC, Container, Images

pytestmark = [pytest.mark.system, pytest.mark.timeout(600)]

CONFIG = """\
version: 1
owner: test
stores: {local: {type: sqlite, path: /var/lib/kvsync/store.db}}
policy: {prune: owned}
"""
STATE = "store: local\nnamespace: web\nkeys: {greeting: Hello}\n"


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory, debian: Path, wheels: Path) -> Iterator[Images]:
    """The image `localhost/kvsync`, on the bootstrapped Debian: the real base, python:slim, needs a registry."""
    parts.need(["buildah", "skopeo", "systemd-nspawn"])
    with parts.large(tmp_path_factory.mktemp("images")) as folder:
        found = Images(folder)
        try:
            found.build(found.base(debian), wheels, VERSION=__version__, REVISION="abc123")
            yield found
        finally:
            parts.run("umount", "--lazy", folder / "graph/overlay")  # buildah leaves it mounted


@pytest.fixture(scope="module")
def root(images: Images) -> Iterator[Path]:
    """The files of a container, out of which every shell has been taken."""
    with images.mounted("localhost/kvsync") as mounted:
        for shell in ("sh", "dash", "bash", "rbash"):
            (mounted / "usr/bin" / shell).unlink(missing_ok=True)
        yield mounted


@pytest.fixture
def container(images: Images, root: Path, tmp_path: Path) -> Container:
    environment = images.config("localhost/kvsync")["config"]["Env"]
    return Container.prepare(root, environment, tmp_path, {"kvsync.yaml": CONFIG, "state/web.yaml": STATE})


def greeting(container: Container) -> str:
    database = sqlite3.connect(container.state / "store.db", timeout=parts.PATIENCE)
    try:
        ((value,),) = database.execute("SELECT value FROM entries WHERE key = 'greeting'")
    finally:
        database.close()
    return bytes(value).decode() if isinstance(value, bytes) else str(value)


def test_the_image_says_what_it_is(images: Images) -> None:
    """User, entry point, stop signal, health check and labels are set, none of them by way of a shell."""
    config = images.config("localhost/kvsync")["config"]
    assert config["User"] == "65532:65532"
    assert (config["Entrypoint"], config["Cmd"]) == ([KVSYNC], ["run"])
    assert config["StopSignal"] == "SIGTERM"
    assert config["Healthcheck"]["Test"] == ["CMD", KVSYNC, "status", "--check"]
    labels = config["Labels"]
    assert labels["org.opencontainers.image.version"] == __version__
    assert labels["org.opencontainers.image.revision"] == "abc123"
    assert labels["org.opencontainers.image.licenses"] == "MIT"


def test_nothing_of_the_build_stays(root: Path) -> None:
    """No package lists, no pip next to kvsync, no source: only what runs."""
    assert not list((root / "var/lib/apt/lists").iterdir())
    assert not list((root / "var/cache/apt").iterdir())
    assert not list((root / "opt/kvsync").glob("lib/*/site-packages/pip"))
    assert not (root / "src").exists()
    assert list((root / "opt/kvsync").glob("lib/*/site-packages/kvsync/**/*.pyc"))  # nobody compiles at every start


def test_commands_work_as_nobody_on_a_read_only_root(container: Container) -> None:
    """Without a shell and with a root that cannot be written, the version is reported, the configuration checked, a pass
    made."""
    assert container.kvsync("--version").stdout.strip() == f"kvsync {__version__} (commit abc123)"
    assert container.kvsync("validate").returncode == 0
    done = container.kvsync("run", "--once")
    assert done.returncode == 0, done.stderr
    assert greeting(container) == "Hello"
    assert {path.stat().st_uid for path in container.state.iterdir()} == {65532}


def test_what_a_repository_needs_is_there(container: Container) -> None:
    """A repository can be the source: git and gpg run for the user of the image, and ssh knows who that is."""
    assert container.run("git", "--version").returncode == 0
    assert container.run("gpg", "--version").returncode == 0
    assert "No user exists" not in container.run("ssh", "-o", "BatchMode=yes", "nowhere.invalid").stderr


def test_the_daemon_is_healthy_and_leaves_on_sigterm(container: Container) -> None:
    """As process 1 it becomes healthy, and after SIGTERM it leaves on its own with 0; then the check fails."""
    with daemon(container) as (process, lines):
        assert any("daemon.ready" in line for line in lines)
        assert health(inside(process)).returncode == 0
        subprocess.run(["kill", "-TERM", str(inside(process))], check=True)
        assert any("daemon.stopped" in line for line in lines)
        assert process.wait(parts.PATIENCE) == 0
    assert container.kvsync("status", "--check").returncode == 1


@contextmanager
def daemon(container: Container) -> Iterator[tuple[subprocess.Popen[str], Iterator[str]]]:
    """A container that runs what the image runs by default, and the lines of its log."""
    command = [*container.command, KVSYNC, "run"]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    try:
        yield process, iter(process.stderr)
    finally:
        if process.poll() is None:
            subprocess.run(["kill", "-KILL", str(inside(process))], check=False)  # systemd-nspawn follows
        process.communicate()


def inside(nspawn: subprocess.Popen[str]) -> int:
    """The process of the container that is its process 1."""
    children = Path(f"/proc/{nspawn.pid}/task/{nspawn.pid}/children")
    deadline = time.monotonic() + parts.PATIENCE
    while time.monotonic() < deadline:
        for child in children.read_text().split():
            if "kvsync" in Path(f"/proc/{child}/cmdline").read_text():
                return int(child)
        time.sleep(0.05)
    raise AssertionError("nothing runs in the container")


def health(pid: int) -> subprocess.CompletedProcess[str]:
    """The health check of the image, in a running container, with its environment and user."""
    variables = [each for each in Path(f"/proc/{pid}/environ").read_text().split("\0") if "=" in each]
    user = ("--setuid", "65532", "--setgid", "65532")
    enter = ("nsenter", "-t", str(pid), "--all", *user, "/usr/bin/env", "-i", *variables)
    return parts.run(*enter, KVSYNC, "status", "--check")
