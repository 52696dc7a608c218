"""A repository over SQLite with one target for each state that the status page can show."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

from tests.status.support import ENVIRON
from tests.support.command import Repository

CANARY = "canary-5f0b2c-value"
"""The value of a sensitive entry: nowhere to be seen."""

HOSTILE = "<script>document.title=1</script>"
"""A namespace, a key and a value that want to be a program."""

ENV = {**ENVIRON, "API_TOKEN": CANARY}
"""What its processes need."""

IMAGE = '<img src=x onerror="document.title=1">'

_CONFIG = """\
version: 1
owner: payments-gitops
environments: [prod, dev]
environment: prod
state: ["state/*.yaml"]
policy: {prune: owned, adopt: never}
authors: {env: [API_TOKEN]}
stores:
  main: {type: sqlite, path: store.db}
  broken: {type: sqlite, path: blocked}
run: {every: 1h, listen: '127.0.0.1:0', token: {env: TOKEN}, debounce: 20ms}
"""

_PAGE = "\n".join(f"  line {number} of the template" for number in range(1, 12))


def state(namespace: str, keys: str, more: str = "", store: str = "main") -> str:
    """The text of a state file."""
    return f"store: {store}\nnamespace: {namespace}\n{more}keys:\n{keys}"


def numbered(count: int, value: str = "x") -> str:
    """The lines of so many keys."""
    return "".join(f"  key-{number:02}: {value}\n" for number in range(count))


class AllStatesRepository(Repository):
    """Its targets are in all states that need no waiting."""

    def __init__(self, root: Path) -> None:
        super().__init__(root, _CONFIG)
        (root / "blocked").mkdir()  # where the store `broken` wants its file
        self.files(
            calm=state("calm", numbered(24)),
            web=state("web", "  greeting: Hello\n  logo: plain\n"),
            drift=state("drift", f"  a: 1\n  b: 2\n  page: |\n{_indented(_PAGE)}", "policy: {drift: report}\n"),
            parked=state("parked", numbered(12)),
            held=state("held", "  a: 1\n"),
            paused=state("paused", "  limits: {json: {rps: 10, burst: [1, 2], hosts: {a: on}}}\n"),
            secret=state("secret", "  token: {env: API_TOKEN}\n  other: 1\n"),
            lives=state("lives", "  promo: {value: x, ttl: 2h}\n  banner: {value: y, ttl: 7d}\n"),
            refused=state("refused", "  mine: 1\n"),
            hostile=state(f'"{HOSTILE}"', f"  '{HOSTILE}': '{HOSTILE}'\n", "policy: {drift: report}\n"),
        )
        self.run("apply", "--yes", env=ENV, code=0)
        self._change()

    def files(self, **texts: str) -> None:
        """Write state files."""
        for name, text in texts.items():
            (self.root / "state" / f"{name}.yaml").write_text(text)

    def _change(self) -> None:
        """Let everything happen."""
        self.by_hand(
            "UPDATE entries SET value = '3' WHERE namespace = 'drift' AND key = 'b'",
            "UPDATE entries SET value = replace(value, 'line 5', 'line five') WHERE key = 'page'",
            "DELETE FROM entries WHERE namespace = 'drift' AND key = 'a'",
            "UPDATE entries SET value = 'someone' WHERE namespace = 'secret'",
            "INSERT INTO entries (namespace, key, value) VALUES ('refused', 'theirs', 'by hand')",
            "INSERT INTO entries (namespace, key, value) VALUES ('calm', 'foreign', 'by hand')",
        )
        self._by_hand("UPDATE entries SET value = ? WHERE namespace = ?", [IMAGE, HOSTILE])
        self.run("pause", "main/paused", "--reason", f"until Monday {IMAGE}", code=0)
        self.files(
            parked=state("parked", numbered(6)),
            held=state("held", f"  a: 1\n  b: [2\n  '{IMAGE}': 3\n"),
            paused=state("paused", "  limits: {json: {rps: 20, burst: [1, 2, 3], hosts: {a: off}}}\n"),
            refused=state("refused", "  mine: 1\n  theirs: 2\n"),
            gone=state("edge", "  a: 1\n", store="broken"),
            secret=state("secret", "  token: {env: API_TOKEN}\n  other: 1\n", "policy: {drift: gate}\n"),
        )

    def _by_hand(self, statement: str, values: Iterable[str]) -> None:
        with closing(sqlite3.connect(self.root / "store.db")) as connection, connection:
            connection.execute(statement, list(values))


def _indented(text: str) -> str:
    return "".join(f"    {line}\n" for line in text.splitlines())
