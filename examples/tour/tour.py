"""A tour of kvsync with any store: plan, apply, edit, drift, a mistake, and a plan that waits for approval.

    python3 tour.py                 # with SQLite
    python3 tour.py cloudflare-kv   # with the emulator of a remote store, or with a server that is installed
    python3 tour.py all             # with every store, one after the other

It needs `kvsync` in the PATH, and works in a temporary copy of this folder.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

HERE = Path(__file__).resolve().parent
SQLITE = "{type: sqlite, path: store.db}"
EMULATED = {
    "azure-appconfig": "{type: azure-appconfig, connection_string: {env: AZURE_APPCONFIG_CONNECTION_STRING}}",
    "cloudflare-kv": '{type: cloudflare-kv, endpoint: "URL", account_id: 6b7673796e6300000000000000000000, '
    "token: {env: CLOUDFLARE_API_TOKEN}, create_namespaces: true}",
    "apify": '{type: apify, endpoint: "URL", token: {env: APIFY_TOKEN}, create_namespaces: true}',
    "voximplant": '{type: voximplant, endpoint: "URL", credentials: {env: VOXIMPLANT_CREDENTIALS}, application_id: 1}',
}
SERVERS = {
    "etcd": ("etcd",),
    "vault-kv": ("vault", "bao"),
}
STORES = ("sqlite", *EMULATED, *SERVERS)
TOKEN = "tour"
PATIENCE = 60
"""Seconds that a server may take to start."""


def main(wanted: str) -> int:
    """Give the tour with one store, or with all of them. Returns an exit code."""
    if wanted not in (*STORES, "all"):
        print(f"unknown store {wanted}; choose one of {', '.join(STORES)}, or all", file=sys.stderr)
        return 64
    for name in STORES if wanted == "all" else (wanted,):
        print(f"\n=== {name} ===")
        with tempfile.TemporaryDirectory(prefix="kvsync-tour-") as folder, store(name, Path(folder)) as found:
            if found is None:
                print(f"skipped: install {' or '.join(SERVERS[name])} to run it")
                continue
            Tour(Path(folder) / "repository", *found).tell()
    return 0


class Tour:
    """The story, in a repository with one store."""

    def __init__(self, folder: Path, settings: str, environment: Mapping[str, str]) -> None:
        self._folder, self._environment = folder, {**os.environ, **environment}
        shutil.copytree(HERE, folder, ignore=shutil.ignore_patterns("*.py", "*.md"))
        self._config, self._state = folder / "kvsync.yaml", folder / "state/web.yaml"
        self._config.write_text(self._config.read_text().replace(SQLITE, settings))

    def tell(self) -> None:
        """Tell it. Raises SystemExit if a command does not end as it should."""
        text = self._state.read_text()
        self._run("The store is empty. This is what kvsync would write:", "plan")
        self._run("Write it:", "apply", "--yes")
        self._run("The second plan is empty:", "plan", "--exit-code")
        self._write("You change the files", changed := text.replace("Welcome", "Good morning"))
        self._run("kvsync shows the old and the new value, and writes only that entry:", "apply", "--yes")
        self._change_by_hand(text.replace("Welcome", "Changed by hand"))
        self._run("Another program changes the store. kvsync calls that drift:", "drift", code=2)
        self._run("The next apply restores the value from the files:", "apply", "--yes")
        self._write("You make a mistake", changed + "  greeting: twice\n")
        self._run("kvsync names the line, and leaves the store as it is:", "apply", "--yes", code=78)
        self._write("You remove everything", "store: shop\nnamespace: web\nkeys: {}\n")
        self._run("A plan that deletes everything waits for your approval:", "apply", "--yes", code=4)

    def _write(self, what: str, text: str) -> None:
        print(f"\n-- {what} (state/web.yaml).")
        self._state.write_text(text)

    def _run(self, why: str, *arguments: str, code: int = 0) -> None:
        print(f"\n{why}\n$ kvsync {' '.join(arguments)}", flush=True)
        self._kvsync(self._folder, arguments, code)

    def _kvsync(self, folder: Path, arguments: Sequence[str], code: int, *, silent: bool = False) -> None:
        output = subprocess.DEVNULL if silent else None
        done = subprocess.run(["kvsync", *arguments], cwd=folder, env=self._environment, stdout=output, check=False)
        if done.returncode != code:
            raise SystemExit(f"kvsync {arguments[0]} exited with {done.returncode} instead of {code}")

    def _change_by_hand(self, text: str) -> None:
        """Change the store as another program would: here that is a kvsync that knows nothing of the first one."""
        other = self._folder.with_name("other")
        (other / "state").mkdir(parents=True)
        settings = self._config.read_text().replace("prune: owned", "prune: owned, adopt: always")
        (other / "kvsync.yaml").write_text(settings.replace("path: store.db", f"path: {self._folder}/store.db"))
        (other / "state/web.yaml").write_text(text)
        self._kvsync(other, ["apply", "--yes"], 0, silent=True)


@contextmanager
def store(name: str, folder: Path) -> Iterator[tuple[str, Mapping[str, str]] | None]:
    """The settings of a store that runs, and the environment that they need; None if its server is not installed."""
    if name == "sqlite":
        yield SQLITE, {}
        return
    command = ["kvsync", "emulate", name] if name in EMULATED else server_command(name, folder)
    if command is None:
        yield None
        return
    with (folder / "server.log").open("wb") as log:
        server = subprocess.Popen(command, stdout=subprocess.PIPE if name in EMULATED else log, stderr=log)
    try:
        yield emulated(name, server) if name in EMULATED else served(name, command)
    finally:
        server.terminate()
        server.wait()


def emulated(name: str, server: subprocess.Popen[bytes]) -> tuple[str, Mapping[str, str]]:
    """The settings for an emulator, once it is ready."""
    assert server.stdout is not None
    ready = json.loads(server.stdout.readline())
    return EMULATED[name].replace("URL", ready["url"]), ready["env"]


def served(name: str, command: Sequence[str]) -> tuple[str, Mapping[str, str]]:
    """The settings for a server, once it answers."""
    address = next(one.partition("=")[2] for one in command if "listen-client-urls" in one or "listen-address" in one)
    url = f"http://{address.removeprefix('http://')}"
    if name == "etcd":
        wait_for(f"{url}/health")
        return f'{{type: etcd, endpoints: ["{url}"]}}', {}
    wait_for(f"{url}/v1/secret/config")
    return f'{{type: vault-kv, address: "{url}", token: {{env: VAULT_TOKEN}}}}', {"VAULT_TOKEN": TOKEN}


def wait_for(url: str) -> None:
    """Wait until an address answers with success. Raises SystemExit if that takes too long."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        request = urllib.request.Request(url, headers={"X-Vault-Token": TOKEN})
        with suppress(OSError), urllib.request.urlopen(request, timeout=5):
            return
        time.sleep(0.1)
    raise SystemExit(f"{url} does not respond")


def server_command(name: str, folder: Path) -> list[str] | None:
    """The command that starts the server of a store; None if it is not installed."""
    program = next(filter(None, map(shutil.which, SERVERS[name])), None)
    if program is None:
        return None
    if name == "vault-kv":
        address = f"-dev-listen-address=127.0.0.1:{free_port()}"
        return [program, "server", "-dev", "-dev-no-store-token", address, f"-dev-root-token-id={TOKEN}"]
    clients, peers = (f"http://127.0.0.1:{free_port()}" for _ in range(2))
    return [
        program,
        f"--data-dir={folder / 'etcd'}",
        *(f"--{flag}={clients}" for flag in ("listen-client-urls", "advertise-client-urls")),
        *(f"--{flag}={peers}" for flag in ("listen-peer-urls", "initial-advertise-peer-urls")),
        f"--initial-cluster=default={peers}",
    ]


def free_port() -> int:
    """A port of this machine that nothing uses at the moment."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


if __name__ == "__main__":
    sys.exit(main(sys.argv[1] if len(sys.argv) > 1 else "sqlite"))
