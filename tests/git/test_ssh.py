"""Over SSH: a key that is only in memory, and servers whose keys are known."""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from kvsync.config.model import Credential, CredentialKind, GitCredentials
from kvsync.errors import SourceError
from tests.daemon.support import BOUND
from tests.git.repos import WEB, Origin, checkout, files

SSHD = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin:/usr/local/sbin")

pytestmark = pytest.mark.skipif(
    SSHD is None or os.geteuid() != 0, reason="needs sshd (apt-get install openssh-server) and root"
)

SHOWN = GitCredentials(ssh_key=Credential(CredentialKind.FILE, "id"), known_hosts="known_hosts")


def key(file: Path) -> str:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", file], check=True)
    return file.with_suffix(".pub").read_text()


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "home").mkdir()
    return tmp_path / "home"


@pytest.fixture
def origin(tmp_path: Path) -> Origin:
    made = Origin(tmp_path / "origin")
    made.commit({"state/web.yaml": WEB})
    return made


@pytest.fixture
def url(tmp_path: Path, home: Path, origin: Origin) -> Iterator[str]:
    """The address of the origin at an SSH server that lets the key `id` in."""
    (tmp_path / "authorized").write_text(key(home / "id"))
    (home / "id").chmod(0o644)  # as Kubernetes mounts it: ssh itself would refuse the file
    host = key(tmp_path / "host")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (home / "known_hosts").write_text(f"[127.0.0.1]:{port} {host}")
    settings = tmp_path / "sshd_config"
    settings.write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {tmp_path}/host\nAuthorizedKeysFile {tmp_path}/authorized\n"
        f"PidFile none\nStrictModes no\nUsePAM no\nPasswordAuthentication no\nPermitRootLogin yes\n"
    )
    Path("/run/sshd").mkdir(exist_ok=True)
    server = subprocess.Popen([str(SSHD), "-D", "-e", "-f", settings], stderr=subprocess.DEVNULL)
    try:
        ends = time.monotonic() + BOUND
        while not answers(port) and time.monotonic() < ends:
            time.sleep(0.01)
        yield f"ssh://{getpass.getuser()}@127.0.0.1:{port}{origin.path}"
    finally:
        server.terminate()
        server.wait()


def answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.parametrize("memory", [True, False], ids=["memory", "file"])
async def test_a_key_lets_us_in(home: Path, url: str, memory: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """The key is used whatever the mode of its file, and no copy of it is left; also without files in memory."""
    if not memory:
        monkeypatch.delattr(os, "memfd_create")
    one = checkout(home, url, ref="main", credentials=SHOWN)
    await one.fetch()
    assert files(one) == {"state/web.yaml": WEB}
    secret = (home / "id").read_bytes().splitlines()[1]
    assert not [path for path in (home / "state").rglob("*") if path.is_file() and secret in path.read_bytes()]
    one.close()


async def test_a_server_with_another_key(home: Path, url: str, tmp_path: Path) -> None:
    """A server whose key is not in the file is not believed."""
    (home / "known_hosts").write_text(f"127.0.0.1 {key(tmp_path / 'other')}")
    one = checkout(home, url, ref="main", credentials=SHOWN)
    with pytest.raises(SourceError, match="unknown host key of the SSH server"):
        await one.fetch()


async def test_a_key_that_is_not_let_in(home: Path, url: str, tmp_path: Path) -> None:
    """A key that the server does not know is an error about the credential; a new one in the file works at once."""
    good = (home / "id").read_text()
    key(tmp_path / "wrong")
    (home / "id").write_text((tmp_path / "wrong").read_text())
    one = checkout(home, url, ref="main", credentials=SHOWN)
    with pytest.raises(SourceError, match="the credential was refused"):
        await one.fetch()
    (home / "id").write_text(good)
    assert (await one.fetch()).commit
    one.close()
