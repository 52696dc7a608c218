"""Over HTTP: credentials that are shown to the server and to nobody else, and servers that do not answer."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path

import pytest

from kvsync.config.model import Credential, CredentialKind, GitCredentials
from kvsync.errors import SourceError
from tests.daemon.support import until
from tests.git.repos import WEB, Origin, checkout, command_lines, files, left_over
from tests.git.server import GitServer, serving
from tests.support.command import ROOT

TOKEN = "tok-0123456789abcdef"
SHOWN = GitCredentials("x-access-token", Credential(CredentialKind.FILE, "token"))


@pytest.fixture
def origin(tmp_path: Path) -> Origin:
    made = Origin(tmp_path / "origin")
    made.commit({"state/web.yaml": WEB})
    return made


@pytest.fixture
def server(tmp_path: Path, origin: Origin) -> Iterator[GitServer]:
    with serving(tmp_path, TOKEN) as running:
        yield running


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "home").mkdir()
    (tmp_path / "home/token").write_text(f"{TOKEN}\n")
    return tmp_path / "home"


async def test_a_token_lets_us_in(home: Path, server: GitServer, origin: Origin) -> None:
    """The token is shown as the password of basic authentication, with every request of a fetch."""
    one = checkout(home, server.url("origin/.git"), ref="main", credentials=SHOWN)
    assert (await one.fetch()).commit == origin.git("rev-parse", "HEAD")
    assert files(one) == {"state/web.yaml": WEB}
    assert set(server.seen) == {f"x-access-token:{TOKEN}"}
    one.close()


async def test_a_token_that_changes_is_read_again(home: Path, server: GitServer, origin: Origin) -> None:
    """A token that the server no longer takes is an error without the token in it; the new one in the file works at once."""
    one = checkout(home, server.url("origin/.git"), ref="main", credentials=SHOWN)
    await one.fetch()
    server.password = "tok-fedcba9876543210"
    newer = origin.commit({"a": "b"})
    with pytest.raises(SourceError, match="the credential was refused") as caught:
        await one.fetch()
    assert TOKEN not in str(caught.value)
    (home / "token").write_text(server.password)
    assert (await one.fetch()).commit == newer
    one.close()


async def test_a_reference_that_leads_nowhere(home: Path, server: GitServer) -> None:
    """A token that is not there is an error that names the reference."""
    (home / "token").unlink()
    one = checkout(home, server.url("origin/.git"), credentials=SHOWN)
    with pytest.raises(SourceError, match=r"source\.git\.credentials: the credential file token cannot be read"):
        await one.fetch()


async def test_the_token_is_nowhere_but_in_the_request(home: Path, server: GitServer) -> None:
    """While git runs the token is in no argument of any process, and afterwards in no file of the state directory."""
    one = checkout(home, server.url("origin/.git"), ref="main", credentials=SHOWN)
    server.held.clear()
    fetching = asyncio.ensure_future(one.fetch())
    await until(server.asked.is_set)
    arguments = command_lines()
    assert any(b"ls-remote" in line for line in arguments)
    server.held.set()
    await fetching
    secret, encoded = TOKEN.encode(), b64encode(f"x-access-token:{TOKEN}".encode()).rstrip(b"=")
    assert not [line for line in arguments if secret in line or encoded in line]
    kept = [path for path in (home / "state").rglob("*") if path.is_file()]
    assert not [path for path in kept if secret in path.read_bytes() or encoded in path.read_bytes()]
    one.close()


async def test_no_credential_goes_along_with_a_redirect(home: Path, server: GitServer, tmp_path: Path) -> None:
    """A server that sends us elsewhere is an error: nobody else is shown the token."""
    with serving(tmp_path) as other:
        server.location = other.url("").rstrip("/")
        one = checkout(home, server.url("origin/.git"), ref="main", credentials=SHOWN)
        with pytest.raises(SourceError, match="redirects to another address"):
            await one.fetch()
        assert other.seen == []


async def test_there_is_no_such_repository(home: Path, server: GitServer) -> None:
    """A wrong path is distinguished from a server that is not there."""
    one = checkout(home, server.url("missing.git"), credentials=SHOWN)
    with pytest.raises(SourceError, match="no such repository"):
        await one.fetch()
    gone = checkout(home, "http://127.0.0.1:1/x.git")
    with pytest.raises(SourceError, match="cannot be reached"):
        await gone.fetch()


async def test_a_server_that_does_not_answer(home: Path, server: GitServer) -> None:
    """A fetch ends at its time limit, and no process of it is left."""
    server.held.clear()
    one = checkout(home, server.url("origin/.git"), timeout=0.5, credentials=SHOWN)
    with pytest.raises(SourceError, match=r"took longer than 0\.5 s"):
        await one.fetch()
    assert not running(server)


async def test_a_fetch_that_is_given_up_leaves_no_process(home: Path, server: GitServer) -> None:
    """Cancelling a fetch, as leaving the daemon does, ends git and everything that it started."""
    server.held.clear()
    one = checkout(home, server.url("origin/.git"), credentials=SHOWN)
    fetching = asyncio.ensure_future(one.fetch())
    await until(server.asked.is_set)
    assert running(server)
    fetching.cancel()
    with pytest.raises(asyncio.CancelledError):
        await fetching
    assert not running(server)


def running(server: GitServer) -> list[bytes]:
    """The command lines of living processes that talk to the server."""
    address = server.url("").encode()
    return [line for line in command_lines() if address in line]


FETCH = """\
import asyncio, sys
from pathlib import Path
from tests.git.repos import checkout
print("begun", flush=True)
print(asyncio.run(checkout(Path(sys.argv[1]), sys.argv[2], ref="main").fetch()).commit)
"""


def fetch_in_a_process(home: Path, url: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", FETCH, str(home), url]
    return subprocess.Popen(command, env=os.environ | {"PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE, text=True)


def test_killed_in_the_middle_of_a_fetch(home: Path, origin: Origin, tmp_path: Path) -> None:
    """A process killed at any moment of a fetch leaves a clone from which the next one fetches, and no rest of its own."""
    origin.commit({f"state/{number}": os.urandom(20_000) for number in range(50)})
    newest = origin.git("rev-parse", "HEAD")
    with serving(tmp_path) as server:
        url = server.url("origin/.git")
        for delay in (0.0, 0.02, 0.05, 0.1, 0.2):
            process = fetch_in_a_process(home, url)
            assert process.stdout is not None
            process.stdout.readline()
            server.asked.clear()
            server.asked.wait(60)
            time.sleep(delay)  # a moment of the fetch, not a time to wait for
            process.send_signal(signal.SIGKILL)
            process.communicate()
        last = fetch_in_a_process(home, url)
        output, _ = last.communicate(timeout=60)
    assert output.split() == ["begun", newest]
    (clone,) = (home / "state/source").glob("*.git")
    subprocess.run(["git", "fsck", "--strict", "--no-dangling"], cwd=clone, check=True, capture_output=True)
    trees = [name for name in left_over(home) if name.startswith(newest[:12])]
    assert len(left_over(home)) == len(trees) <= 1  # that of the last process, which did not close it


def test_a_git_that_outlives_its_process_is_not_disturbed(home: Path, origin: Origin, tmp_path: Path) -> None:
    """The lock on the clone lasts until the git of a killed process has ended, too."""
    with serving(tmp_path) as server:
        server.held.clear()
        first = fetch_in_a_process(home, server.url("origin/.git"))
        assert server.asked.wait(60)
        first.send_signal(signal.SIGKILL)
        first.communicate()
        second = fetch_in_a_process(home, server.url("origin/.git"))
        threading.Timer(0.5, server.held.set).start()
        output, _ = second.communicate(timeout=60)
        assert output.split() == ["begun", origin.git("rev-parse", "HEAD")]


async def test_a_damaged_clone_is_made_again(home: Path, origin: Origin, server: GitServer) -> None:
    """A clone that the disk has spoilt is replaced by the next fetch that works; one that does not work leaves it."""
    one = checkout(home, server.url("origin/.git"), ref="main", credentials=SHOWN)
    await one.fetch()
    one.close()
    (clone,) = (home / "state/source").glob("*.git")
    damaged = [path for path in (clone / "objects").rglob("*") if path.is_file()]
    for path in damaged:
        path.chmod(0o644)
        path.write_bytes(b"")
    server.location = "http://127.0.0.1:1"
    again = checkout(home, server.url("origin/.git"), ref="main", credentials=SHOWN)
    with pytest.raises(SourceError):
        await again.fetch()
    assert clone.exists()
    server.location = None
    newest = origin.commit({"a": "b"})
    assert (await again.fetch()).commit == newest
    assert await again.why_unusable() is None
    again.close()
    assert left_over(home) == []


async def test_a_rewrite_is_refused_even_when_the_clone_is_lost(home: Path, origin: Origin, server: GitServer) -> None:
    """What was in force is remembered next to the clone, so that losing it does not open the door to another history."""
    one = checkout(home, server.url("origin/.git"), ref="main", credentials=SHOWN)
    await one.fetch()
    one.close()
    (clone,) = (home / "state/source").glob("*.git")
    shutil.rmtree(clone)
    origin.git("commit", "--quiet", "--amend", "--message=other")
    again = checkout(home, server.url("origin/.git"), ref="main", credentials=SHOWN)
    fetched = await again.fetch()
    assert fetched.refused is not None
    assert "rewritten" in fetched.refused.reason
    assert fetched.commit is None
