"""Requests of whole commands that create and update, by store: `python -m tests.benchmarks writing`.

The emulators are processes of their own, and empty at first. The same files are applied twice, the second time with other
values.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.benchmarks.measure import NO_GOAL, Cost, Figure, by_call, run


@dataclass(frozen=True, slots=True)
class Case:
    """A store type with its options (names of the environment in them are filled in), the path and the token of the request
    that makes the namespace `web`, how many entries are written, the requests that creating and updating them may take, and why
    some of them are not saved."""

    type: str
    options: str
    namespace: tuple[str, str] | None
    entries: int
    creates: float
    updates: float = NO_GOAL
    why: str = ""


AGAIN: Final = "; the namespace is looked up again right before the writes, in case another one has its name by then"
"""Why a request is sent twice."""

CASES: Final = (
    Case(
        "cloudflare-kv",
        "account_id: {CLOUDFLARE_ACCOUNT_ID}, token: {{env: CLOUDFLARE_API_TOKEN}}",
        ("/accounts/{CLOUDFLARE_ACCOUNT_ID}/storage/kv/namespaces", "CLOUDFLARE_API_TOKEN"),
        *(10_000, 21, 130, AGAIN),
    ),
    Case(
        "apify",
        "token: {{env: APIFY_TOKEN}}",
        ("/v2/key-value-stores?name=web", "APIFY_TOKEN"),
        *(1_000, 1_004, 2_005, AGAIN),
    ),
    Case(
        "voximplant",
        "credentials: {{env: VOXIMPLANT_CREDENTIALS}}, application_id: 1, requests_per_second: 100000, ledger: local",
        None,
        *(300, 310),
    ),
)

CONFIG: Final = """\
version: 1
owner: bench
policy: {{prune: owned, guard: {{max_update_pct: 100}}}}
stores: {{far: {{type: {type}, endpoint: "{url}", {options}}}}}
"""


def measure(folder: Path) -> Iterator[Figure]:
    """Yield the requests of each store for creates and for updates."""
    for case in CASES:
        place = folder / case.type
        (place / "state").mkdir(parents=True)
        with _emulator(case.type) as ready:
            os.environ.update(ready["env"])
            options = case.options.format(**ready["env"])
            _make_namespace(case, ready)
            (place / "kvsync.yaml").write_text(CONFIG.format(type=case.type, url=ready["url"], options=options))
            for work, goal in (("creates", case.creates), ("updates", case.updates)):
                _write_files(place, case.entries, work)
                cost, stats = _applied(place, ready["url"])
                detail = f"{by_call(stats['routes'])}; {cost.cpu:.2f} s of CPU, {cost.wall:.2f} s, {cost.rss:.0f} MiB{case.why}"
                yield Figure(f"{case.type}, {case.entries:,} {work}, requests", stats["requests"], goal, "", detail)


def _make_namespace(case: Case, ready: Mapping[str, Any]) -> None:
    if case.namespace is not None:
        path, token = case.namespace
        headers = {"Authorization": f"Bearer {ready['env'][token]}", "Content-Type": "application/json"}
        address = ready["url"] + path.format(**ready["env"])
        with urllib.request.urlopen(urllib.request.Request(address, b'{"title": "web"}', headers)) as answer:
            answer.read()


def _applied(place: Path, url: str) -> tuple[Cost, Mapping[str, Any]]:
    _ask(url, "reset", {"only": ["stats"]})
    cost = run([sys.executable, "-m", "kvsync", "apply", "--yes"], place)
    stats: Mapping[str, Any] = _ask(url, "stats")
    return cost, stats


def _write_files(place: Path, entries: int, value: str) -> None:
    keys = "".join(f"  key-{number:06}: {value} {number}\n" for number in range(entries))
    (place / "state" / "web.yaml").write_text(f"store: far\nnamespace: web\nkeys:\n{keys}")


def _ask(url: str, path: str, body: Any = None) -> Any:
    """Ask the emulator about itself."""
    origin = "/".join(url.split("/")[:3])
    request = urllib.request.Request(f"{origin}/_emulator/{path}", None if body is None else json.dumps(body).encode())
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)


@contextmanager
def _emulator(kind: str) -> Iterator[Mapping[str, Any]]:
    command = [sys.executable, "-m", "kvsync", "emulate", kind]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            ready: Mapping[str, Any] = json.loads(process.stdout.readline())
            yield ready
        finally:
            process.terminate()
