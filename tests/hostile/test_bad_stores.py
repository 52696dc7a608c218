"""One store that cannot be used next to one that can: every command works on the good one, and names what is wrong with the bad
one."""

from __future__ import annotations

import asyncio
import re
import socket
import sqlite3
import ssl
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, field, replace
from itertools import cycle
from pathlib import Path
from typing import Final

import pytest
import trustme

from tests.cli.conftest import environment
from tests.cli.runner import Runner
from tests.hostile.servers import Answering, Request, always, serving
from tests.status.support import process, repository, want
from tests.support.etcd import free_port

SECONDS: Final = 60
"""After which a command that does not end is ended, and its test fails."""

LATE: Final = "within 0.2 s"
"""What the errors of all stores may say on a busy machine."""

CONFIG: Final = """\
version: 1
owner: tester
policy: {{prune: owned}}
stores:
  bad: {{{bad}}}
  good: {{type: sqlite, path: good.db}}
"""
CLOUDFLARE: Final = 'type: cloudflare-kv, account_id: abc, token: {env: TOKEN}, endpoint: "URL", timeout: 200ms'
ETCD: Final = 'type: etcd, endpoint: "URL", timeout: 200ms'
AZURE: Final = "type: azure-appconfig, connection_string: {env: CONNECTION}, timeout: 200ms"
SQLITE: Final = "type: sqlite, path: bad.db"
SECRETS: Final[Mapping[str, str | None]] = {"TOKEN": "token-4c1d7b90", "CONNECTION": "Endpoint=https://a.azconfig.io"}
AT: Final = r"127\.0\.0\.1:\d+"

PAGE: Final = ("<html>hi</html>", 200, {"Content-Type": "text/html"})
SQLITE_HEADER: Final = b"SQLite format 3\0"


@dataclass(frozen=True)
class BadStore:
    """A store by its configuration, what the environment and a file next to it hold, what the server at its `URL` answers, and
    what people read of it."""

    store: str
    said: str
    answer: Answering | None = None
    env: Mapping[str, str | None] = field(default_factory=dict)
    file: bytes = b""
    is_stranger: bool = False

    def is_explained(self, log: Iterable[Mapping[str, object]], name: str) -> bool:
        """True if an event of the store of this name says what is wrong."""
        return any(re.search(self.said, str(one.get("error"))) for one in log if one.get("store") == name)


def closed(store: str) -> str:
    """The store at a port where nothing listens."""
    return store.replace("URL", f"http://127.0.0.1:{free_port()}")


@contextmanager
def stranger() -> Iterator[str]:
    """The URL of a server whose certificate nobody trusts."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)

    def answer() -> None:
        with suppress(OSError):
            while True:
                connection, _ = listener.accept()
                with connection, suppress(OSError):
                    context.wrap_socket(connection, server_side=True).close()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        yield f"https://127.0.0.1:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


def silent(request: Request) -> Iterator[bytes]:
    """No answer until the test is over."""
    request.gone.wait()
    yield b""


REFUSED_TOKEN: Final = always('{"success": false, "errors": [{"code": 10000, "message": "Authentication error"}]}', 403)
UNREACHABLE: Final = "check the endpoint and the network"
BAD: Final[Mapping[str, Callable[[], BadStore]]] = {
    "a port where nothing listens": lambda: BadStore(
        closed(CLOUDFLARE), rf"no connection to {AT}: Connection refused; {UNREACHABLE}"
    ),
    "a name that does not exist": lambda: BadStore(
        ETCD.replace("URL", "https://nowhere.invalid:2379").replace("200ms", "5s"),  # that its resolver may take
        rf"no connection to nowhere.invalid:2379: .*; {UNREACHABLE}",
    ),
    "a token that is refused": lambda: BadStore(CLOUDFLARE, "token is not valid.*; give the token", REFUSED_TOKEN),
    "a token that is not set": lambda: BadStore(
        CLOUDFLARE, r"kvsync\.yaml:\d+:\d+: the environment variable TOKEN is not set; set it", env={"TOKEN": None}
    ),
    "a token that is not text": lambda: BadStore(
        CLOUDFLARE, "not valid in a token; copy it", env={"TOKEN": "a\udcffb"}
    ),
    "a CA file that is missing": lambda: BadStore(
        ETCD.replace("URL", "https://127.0.0.1:1") + ", tls: {ca: missing.pem}",
        r"at 127\.0\.0\.1:1: .*missing\.pem cannot be used: No such file or directory; name a PEM file",
    ),
    "a certificate of a stranger": lambda: BadStore(
        CLOUDFLARE.replace("200ms", "2s"), "certificate is not trusted: .*; correct the endpoint", is_stranger=True
    ),
    "a connection string that was cut": lambda: BadStore(
        AZURE, "no Id and no Secret in the connection string; copy it"
    ),
    "an answer of another form": lambda: BadStore(
        ETCD, "identifying the cluster failed: the response does not have the format.*; check", always('{"kvs": 3}')
    ),
    "a database that is damaged": lambda: BadStore(
        SQLITE, r"bad\.db is damaged or not a SQLite database.*restore a copy", file=SQLITE_HEADER + b"\x5a" * 8192
    ),
    "an answer of another type": lambda: BadStore(CLOUDFLARE, "the response is not a list.*; check", always("[1, 2]")),
    "a page": lambda: BadStore(CLOUDFLARE, f'status 200 from {AT}, text/html, begins with "<html>hi', always(*PAGE)),
    "an error of the server": lambda: BadStore(CLOUDFLARE, f"status 500 from {AT}", always("oops", 500)),
    "silence": lambda: BadStore(CLOUDFLARE, rf"no response from {AT} within 0\.2 s", silent),
    "a proxy that refuses": lambda: BadStore(
        ETCD.replace("URL", "https://192.0.2.1:2379"),
        rf"no connection to the proxy http://{AT} \(from HTTPS_PROXY\): Connection refused; check the proxy",
        env={"HTTPS_PROXY": f"http://127.0.0.1:{free_port()}"},
    ),
}

COMMANDS: Final = {
    "apply": "apply --yes",
    "run": "run --once",
    "plan": "plan",
    "drift": "drift",
    "doctor": "doctor",
    "list": "list",
    "status": "status",
    "dump": "dump good --to dumped",
}
FAILING: Final = ("apply", "run", "plan", "drift", "doctor")
"""Commands that need all stores, and have to say what is wrong with one."""

SAMPLE: Final = [
    pytest.param(name, command, marks=[pytest.mark.system] * (number % 3 > 0))
    for number, (name, command) in enumerate(zip(BAD, cycle(FAILING), strict=False))
]


class Mixed:
    """A repository with a target in a bad store and one in a good one, to which something was applied before."""

    def __init__(self, root: Path, runner: Runner, bad: BadStore, url: str) -> None:
        self.root, self._runner, self._bad = root, runner, bad
        environ = {**SECRETS, **bad.env}
        self._env = environment({name: value for name, value in environ.items() if value is not None})
        (root / "state").mkdir()
        self._wish("good", "{ok: fine}")
        (root / "kvsync.yaml").write_text(CONFIG.format(bad=bad.store.replace("URL", url)))
        assert self._run("apply --yes --target good/web")[0] == 0
        self._wish("good", "{ok: better}")
        self._wish("bad", "{x: y}")
        if bad.file:
            (root / "bad.db").write_bytes(bad.file)

    def check(self, command: str) -> None:
        """Run a command: it does what it can, and says what it cannot do and why."""
        code, said = self._run(COMMANDS[command])
        if command in FAILING and LATE in said and not self._is_explained(said):  # the machine is busy
            config = self.root / "kvsync.yaml"
            config.write_text(config.read_text().replace("200ms", "5s"))
            self._bad = replace(self._bad, said=self._bad.said.replace(r"0\.2 s", "5 s"))
            code, said = self._run(COMMANDS[command])
        assert "bug in kvsync" not in said, said
        assert "Traceback" not in said, said
        assert code == (1 if command in FAILING else 0), (code, said)
        if command in FAILING:
            assert self._is_explained(said), said
        if command == "plan":
            assert re.search(r"good/web \(sqlite\): 1 to update", said), said
        elif command == "doctor":
            assert "ok    store good: " in said, said
        elif command == "list":
            assert "good/web" in said, said
        elif command in ("apply", "run"):
            assert self._held() == {"ok": b"better"}

    def _is_explained(self, said: str) -> bool:
        return re.search(self._bad.said, said.replace("\n", " ")) is not None

    def _run(self, command: str) -> tuple[int, str]:
        code, out, err = self._runner.run(command.split(), self.root, self._env, SECONDS)
        return code, out + err

    def _wish(self, store: str, keys: str) -> None:
        (self.root / f"state/{store}.yaml").write_text(f"store: {store}\nnamespace: web\nkeys: {keys}\n")

    def _held(self) -> dict[str, bytes]:
        with closing(sqlite3.connect(self.root / "good.db")) as database:
            return dict(database.execute("SELECT key, value FROM entries"))


@contextmanager
def mixed(root: Path, runner: Runner, name: str) -> Iterator[Mixed]:
    """The repository, until the end of the block."""
    bad = BAD[name]()
    with ExitStack() as stack:
        url = stack.enter_context(stranger()) if bad.is_stranger else "http://127.0.0.1:1"
        yield Mixed(root, runner, bad, stack.enter_context(serving(bad.answer)).url if bad.answer else url)


@pytest.mark.parametrize(("name", "command"), SAMPLE)
def test_a_bad_store_stays_alone(tmp_path: Path, runner: Runner, name: str, command: str) -> None:
    """Each kind of bad store with one of the commands that need every store; a third of them wherever tests run."""
    with mixed(tmp_path, runner, name) as repository:
        repository.check(command)


@pytest.mark.system
@pytest.mark.parametrize("name", BAD)
def test_a_bad_store_stays_alone_with_every_command(tmp_path: Path, runner: Runner, name: str) -> None:
    """The same with all commands, those first that change nothing."""
    with mixed(tmp_path, runner, name) as repository:
        for command in reversed(COMMANDS):
            repository.check(command)


def renamed(bad: BadStore, name: str, url: str) -> BadStore:
    """The store under a name of its own next to others of its kind: with other variables, another account and another file."""
    store, said = bad.store.replace("URL", url).replace("id: abc", f"id: {name}").replace("200ms", "2s"), bad.said
    for variable in ("TOKEN", "CONNECTION"):
        store, said = (text.replace(variable, f"{variable}_{name}") for text in (store, said))
    said = said.replace(r"0\.2 s", "2 s").replace(r"bad\.db", rf"{name}\.db")
    env = {f"{variable}_{name}": value for variable, value in {**SECRETS, **bad.env}.items()}
    return replace(bad, store=store.replace("bad.db", f"{name}.db"), said=said, env=env)


@contextmanager
def all_kinds(root: Path) -> Iterator[tuple[Mapping[str, BadStore], dict[str, str]]]:
    """A repository with every kind of bad store next to a good one, the bad ones by name, and the environment."""
    kinds, environ = {}, {"NO_PROXY": "nowhere.invalid,127.0.0.1"}
    with ExitStack() as stack:
        for number, make in enumerate(BAD.values()):
            bad, name = make(), f"bad{number}"
            url = stack.enter_context(stranger()) if bad.is_stranger else "http://127.0.0.1:1"
            url = stack.enter_context(serving(bad.answer)).url if bad.answer else url
            kinds[name] = renamed(bad, name, url)
            proxies = {variable: value for variable, value in bad.env.items() if variable.endswith("_PROXY")}
            given = {**kinds[name].env, **proxies}
            environ |= {variable: value for variable, value in given.items() if value is not None}
            if bad.file:
                (root / f"{name}.db").write_bytes(bad.file)
        stores = {"good": "type: sqlite, path: good.db"} | {name: bad.store for name, bad in kinds.items()}
        repository(root, "run: {every: 1h}\n", ", ".join(f"{name}: {{{text}}}" for name, text in stores.items()))
        (root / "state/main-web.yaml").unlink()
        for name in stores:
            want(root, name, "web", key="1")
        yield kinds, environ


@pytest.mark.system
async def test_a_daemon_keeps_the_good_store_in_sync_next_to_all_bad_ones(tmp_path: Path) -> None:
    """It logs what is wrong with each of them, applies what changes in the good one, also while they are retried, and leaves
    when it is told to."""

    def held() -> bytes | None:
        with closing(sqlite3.connect(tmp_path / "good.db")) as database, suppress(sqlite3.Error):
            return next((value for (value,) in database.execute("SELECT value FROM entries")), None)
        return None

    with all_kinds(tmp_path) as (kinds, environ):
        async with process(tmp_path, **environ) as daemon:
            await daemon.logged("daemon.ready")
            for value in (b"2", b"3"):
                want(tmp_path, "good", "web", key=value.decode())
                while held() != value:  # noqa: ASYNC110 - it is another process
                    await asyncio.sleep(0.02)
            while unexplained := [name for name, bad in kinds.items() if not bad.is_explained(daemon.log, name)]:
                assert daemon.process.returncode is None, unexplained
                await asyncio.sleep(0.02)
            daemon.process.terminate()
            assert await daemon.over() == 0
    assert "bug in kvsync" not in daemon.raw
    assert "Traceback" not in daemon.raw
