"""Imports point one way, and nobody pays at start for what is not used."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import kvsync

ROOT = Path(kvsync.__file__).parent

BELOW: dict[str, frozenset[str]] = {
    "errors": frozenset(),
    "escaping": frozenset(),
    "clock": frozenset(),
    "together": frozenset(),
    "heap": frozenset(),
    "util": frozenset(),
    "tracing": frozenset({"errors"}),
    "fence": frozenset({"errors"}),
    "core": frozenset({"errors", "escaping"}),
    "secrets": frozenset({"errors", "escaping"}),
    "document": frozenset({"errors", "escaping", "core"}),
    "config": frozenset({"errors", "core", "document", "secrets", "stores"}),
    "http": frozenset(
        {"errors", "escaping", "clock", "fence", "heap", "secrets", "stores"}
    ),  # of the stores: what they count and find, no store
    "stores": frozenset(
        {
            "errors",
            "core",
            "document",
            "config",
            "clock",
            "fence",
            "together",
            "heap",
            "util",
            "http",
            "tracing",
        }
    ),
    "state": frozenset({"errors", "escaping", "core", "clock", "util"}),
    "sources": frozenset({"errors", "core", "document", "config", "heap", "util", "stores"}),
    "checkout": frozenset({"errors", "escaping", "config", "util"}),
    "apply": frozenset({"errors", "core", "clock", "fence", "secrets", "state", "stores"}),
    "logs": frozenset({"errors", "escaping", "secrets"}),
    "reconcile": frozenset(
        {"errors", "core", "clock", "fence", "together", "config", "stores", "state", "apply", "logs"}
    ),
    "lease": frozenset(
        {"errors", "clock", "stores", "state", "http", "logs"}
    ),  # of the stores: what they count and find, no store
    "daemon": frozenset({"errors", "core", "clock", "config", "state", "logs"}),
    "control": frozenset({"errors", "core", "state", "logs"}),
    "monitor": frozenset(
        {"errors", "escaping", "core", "clock", "config", "secrets", "state", "logs", "daemon", "control"}
    ),  # of the daemon: what it tells, and what it needs
    "notices": frozenset(
        {
            "errors",
            "escaping",
            "core",
            "clock",
            "config",
            "secrets",
            "state",
            "stores",
            "logs",
            "daemon",
            "http",
            "monitor",
        }
    ),  # of the stores: what they count; of the monitor: how a secret is read, and what it signs
    "emulators": frozenset({"errors", "escaping", "clock"}),
}
"""What each part may import beside itself and the standard library. Parts that are not named here stand at the top."""

TOP = frozenset(
    {
        "workspace",
        "reconciler",
        "serving",
        "leading",
        "narrate",
        "undoing",
        "dump",
        "explain",
        "schema",
        "revision",
        "cli",
        "testing",
        "emulators",
    }
)
"""What stands above all of those: nothing below imports it."""

HEAVY = ("aiohttp", "apscheduler", "hypothesis", "httpx", "opentelemetry", "pytest", "rich", "watchfiles")
"""What takes long to import and is of use to few commands only."""


def imports_of(file: Path, *, everywhere: bool = True) -> Iterator[str]:
    """The modules that a file imports: all, or only those that importing the file itself imports."""
    for node in _walk(ast.parse(file.read_text()), everywhere=everywhere):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: imports name the whole package"
            yield node.module or ""
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _walk(node: ast.AST, *, everywhere: bool) -> Iterator[ast.AST]:
    yield node
    for child in ast.iter_child_nodes(node):
        is_later = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef)
        is_for_types = isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test)
        if everywhere or not (is_later or is_for_types):
            yield from _walk(child, everywhere=everywhere)


def parts() -> Iterator[tuple[str, Path]]:
    for file in sorted(ROOT.rglob("*.py")):
        relative = file.relative_to(ROOT)
        yield relative.parts[0].removesuffix(".py"), file


def ours(names: Iterator[str]) -> set[str]:
    """The parts among some modules."""
    known = {part for part, _ in parts()}
    return {name.split(".")[1] for name in names if name.startswith("kvsync.")} & known


@pytest.mark.parametrize("part", sorted(BELOW))
def test_a_part_imports_only_what_lies_below_it(part: str) -> None:
    """No part knows the parts above it, not even inside a function or for its types."""
    allowed = BELOW[part] | {part}
    wrong = {
        f"{file.relative_to(ROOT)} imports {name}"
        for owner, file in parts()
        if owner == part
        for name in ours(imports_of(file)) - allowed
    }
    assert wrong == set()


def test_the_core_is_pure() -> None:
    """The core imports itself, the errors and the standard library, and of that nothing that does I/O or tells the time."""
    impure = {
        "asyncio",
        "logging",
        "os",
        "pathlib",
        "random",
        "socket",
        "sqlite3",
        "subprocess",
        "tempfile",
        "threading",
        "time",
    }
    wrong = {
        f"{file.name} imports {name}"
        for part, file in parts()
        if part == "core"
        for name in imports_of(file)
        if name.partition(".")[0] in impure or name.partition(".")[0] not in sys.stdlib_module_names | {"kvsync"}
    }
    assert wrong == set()


def test_every_part_has_its_place() -> None:
    """A new part is written down here, so that somebody has thought about what it may know."""
    assert {part for part, _ in parts()} - {"__init__", "__main__"} <= BELOW.keys() | TOP


def test_httpx_has_one_home() -> None:
    """At most one module imports the HTTP client, so that another one can take its place."""
    users = [file.name for _, file in parts() if any(name.partition(".")[0] == "httpx" for name in imports_of(file))]
    assert len(users) <= 1


def test_no_module_imports_what_is_heavy_when_it_is_imported() -> None:
    """Heavy packages are imported where they are used, or by modules that are imported where they are used."""
    homes = {
        "kvsync.cli.progress",
        "kvsync.daemon",
        "kvsync.emulators",
        "kvsync.http",
        "kvsync.status",
        "kvsync.testing",
    }
    wrong = {
        f"{file.relative_to(ROOT)} imports {name}"
        for _, file in parts()
        for name in imports_of(file, everywhere=False)
        if name.partition(".")[0] in HEAVY and not any(_module(file).startswith(home) for home in homes)
    }
    assert wrong == set()


def _module(file: Path) -> str:
    return "kvsync." + ".".join(file.relative_to(ROOT).with_suffix("").parts)


def loaded_by(folder: Path, *arguments: str) -> set[str]:
    """The modules that a command imports."""
    command = [sys.executable, "-X", "importtime", "-m", "kvsync", *arguments]
    environment = os.environ | {"PYTHONPATH": str(ROOT.parent)}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stderr.splitlines() if line.startswith("import time:")]
    return {line.rpartition("|")[2].strip() for line in lines}


def _repository(folder: Path) -> Path:
    (folder / "state").mkdir()
    (folder / "state/web.yaml").write_text("store: main\nnamespace: web\nkeys: {a: 1}\n")
    (folder / "kvsync.yaml").write_text(
        'version: 1\nowner: a\nstate: ["state/*.yaml"]\npolicy: {prune: owned}\nstores: {main: {type: sqlite, path: s.db}}\n'
    )
    return folder


def test_the_version_costs_nothing(tmp_path: Path) -> None:
    """`kvsync --version` imports neither the workspace nor any package but its own command line."""
    modules = loaded_by(tmp_path, "--version")
    assert "kvsync" in modules
    assert not {"kvsync.app", "asyncio", "sqlite3", "structlog", "yaml", *HEAVY} & modules


def test_a_plan_does_not_pay_for_the_daemon_or_the_network(tmp_path: Path) -> None:
    """`kvsync plan` on an embedded store imports no HTTP client, scheduler, watcher or terminal toolkit."""
    modules = loaded_by(_repository(tmp_path), "plan")
    assert "kvsync.app" in modules
    assert not set(HEAVY) & modules
    assert not {name for name in modules if name.startswith(("kvsync.daemon.loop", "kvsync.testing"))}
