"""Credentials for the Git server, passed to one command by its environment, never by arguments or files."""

from __future__ import annotations

import os
import tempfile
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from kvsync.config.git import is_ssh
from kvsync.config.model import Credential, GitSource

_SSH: Final = (
    "ssh -F none -o BatchMode=yes -o StrictHostKeyChecking=yes -o ControlMaster=no -o ControlPath=none -o ForwardAgent=no "
    "-o ForwardX11=no -o PermitLocalCommand=no -o ConnectTimeout=20 -o ServerAliveInterval=10 -o ServerAliveCountMax=3"
)
"""git hands this to a shell, so that nothing that anybody wrote stands in it: ssh takes paths from its environment."""

_KNOWN_HOSTS: Final = " -o 'UserKnownHostsFile=${KVSYNC_KNOWN_HOSTS}' -o GlobalKnownHostsFile=/dev/null"
_KEY: Final = " -o 'IdentityFile=${KVSYNC_SSH_KEY}' -o IdentitiesOnly=yes -o IdentityAgent=none"


@contextmanager
def access(source: GitSource, root: Path, resolve: Callable[[Credential], str]) -> Iterator[dict[str, str]]:
    """The variables with which git may reach the repository, good while inside. The secret is read now, so that a new one
    counts from the next fetch on. `root` is the folder of the configuration. Raises AuthError when a reference leads
    nowhere."""
    if is_ssh(source.url):
        with _ssh(source, root, resolve) as variables:
            yield {"GIT_ALLOW_PROTOCOL": "ssh", **variables}
    else:
        protocol = source.url.partition(":")[0].lower()
        yield {"GIT_ALLOW_PROTOCOL": protocol, **_header(source, resolve)}


def _header(source: GitSource, resolve: Callable[[Credential], str]) -> dict[str, str]:
    shown = source.credentials
    if shown.password is None:
        return {}
    pair = f"{shown.username}:{resolve(shown.password)}".encode()
    return {
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": "http.extraHeader",
        "GIT_CONFIG_VALUE_0": f"Authorization: Basic {b64encode(pair).decode()}",
    }


@contextmanager
def _ssh(source: GitSource, root: Path, resolve: Callable[[Credential], str]) -> Iterator[dict[str, str]]:
    shown = source.credentials
    command, variables = _SSH, {"GIT_SSH_VARIANT": "ssh"}
    if shown.known_hosts is not None:
        command += _KNOWN_HOSTS
        variables["KVSYNC_KNOWN_HOSTS"] = str(root / Path(shown.known_hosts).expanduser())
    if shown.ssh_key is None:
        yield variables | {"GIT_SSH_COMMAND": command}
        return
    with _private_file(resolve(shown.ssh_key) + "\n") as key:
        yield variables | {"GIT_SSH_COMMAND": command + _KEY, "KVSYNC_SSH_KEY": key}


@contextmanager
def _private_file(text: str) -> Iterator[str]:
    """The path of a file with this text that only we can read, as ssh demands of a key: in memory, where that can be."""
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("kvsync-key", os.MFD_CLOEXEC)
        with os.fdopen(descriptor, "w") as file:
            os.fchmod(descriptor, 0o600)
            file.write(text)
            file.flush()
            yield f"/proc/{os.getpid()}/fd/{descriptor}"
    else:
        with tempfile.NamedTemporaryFile("w", prefix="kvsync-") as kept:
            kept.write(text)
            kept.flush()
            yield kept.name
