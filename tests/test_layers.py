"""Imports point one way, and nobody pays at start for what is not used."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import kvsync
from kvsync.stores.base import Store
from kvsync.stores.extensions import EXTENSIONS

ROOT = Path(kvsync.__file__).parent

LAYERS: tuple[frozenset[str], ...] = tuple(
    frozenset(layer.split())
    for layer in (
        "cli testing",
        "app emulators",
        "daemon status notify leader",
        "reconcile",
        "apply",
        "ledger state stores desired git",
        "http config",
        "yaml",
        "planning",
        "rendering",
        "model",
        "logs",
        "tracing util",
        "errors",
    )
)
"""The rooms from the top down. A room imports rooms of its own layer and of those below it."""

ROOT_MODULES = frozenset({"__init__", "__main__", "errors"})

HEAVY = (
    "aiohttp",
    "apscheduler",
    "cronsim",
    "hypothesis",
    "httpx",
    "httpx2",
    "httpx_aiohttp",
    "opentelemetry",
    "pytest",
    "rich",
    "watchfiles",
)
"""What takes long to import and is of use to few commands only."""


def imports_of(file: Path, *, everywhere: bool = True) -> Iterator[str]:
    """The modules that a file imports: all, or only those that importing the file itself imports."""
    for node in ast.walk(parsed(file)) if everywhere else _walked_at_import(parsed(file)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: imports name the whole package"
            yield node.module or ""
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@cache
def parsed(file: Path) -> ast.Module:
    """A module, which several tests look at."""
    return ast.parse(file.read_text())


def _walked_at_import(node: ast.AST) -> Iterator[ast.AST]:
    """What runs when a module is imported."""
    yield node
    for child in ast.iter_child_nodes(node):
        is_later = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef)
        is_for_types = isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test)
        if not (is_later or is_for_types):
            yield from _walked_at_import(child)


def parts() -> Iterator[tuple[str, Path]]:
    for file in sorted(ROOT.rglob("*.py")):
        relative = file.relative_to(ROOT)
        yield relative.parts[0].removesuffix(".py"), file


@cache
def known_parts() -> frozenset[str]:
    return frozenset(part for part, _ in parts())


def ours(names: Iterator[str]) -> set[str]:
    """The parts among some modules."""
    return {name.split(".")[1] for name in names if name.startswith("kvsync.")} & known_parts()


def layer_of(part: str) -> int:
    """How many layers lie above a part."""
    return next(number for number, layer in enumerate(LAYERS) if part in layer)


@cache
def room_imports() -> Mapping[str, Mapping[str, str]]:
    """What each part imports of the others, with one line that shows it."""
    found: dict[str, dict[str, str]] = {}
    for part, file in parts():
        shown = {name: f"{file.relative_to(ROOT)} imports {name}" for name in ours(imports_of(file)) - {part}}
        found.setdefault(part, {}).update(shown)
    return found


def test_every_part_has_its_layer() -> None:
    """A new part is written down here with what it may know; few modules stand at the root of the package."""
    rooms = {part for part, file in parts() if file.parent != ROOT}
    assert rooms <= frozenset().union(*LAYERS)
    assert {part for part, file in parts() if file.parent == ROOT} == ROOT_MODULES


def test_imports_point_down() -> None:
    """No part knows the parts above it, not even inside a function or for its types."""
    wrong = {
        line
        for part, names in room_imports().items()
        if part not in ("__init__", "__main__")
        for name, line in names.items()
        if layer_of(name) < layer_of(part)
    }
    assert wrong == set()


def test_maps_of_packages_name_modules_that_exist() -> None:
    """Where the first text of a package lists its modules, one a line, there are such modules."""
    wrong = {
        f"{file.relative_to(ROOT)}: {name}"
        for _, file in parts()
        if file.name == "__init__.py"
        for name in re.findall(r"^([a-z_]+) {2,}\S", ast.get_docstring(parsed(file)) or "", re.MULTILINE)
        if not (file.parent / name).is_dir() and not (file.parent / f"{name}.py").exists()
    }
    assert wrong == set()


def test_no_rooms_import_each_other() -> None:
    """The graph of rooms has no cycle: neither of two, nor of more."""
    graph = {part: set(names) for part, names in room_imports().items() if part != "__init__"}
    list(TopologicalSorter(graph).static_order())  # raises CycleError


def test_emulators_stand_alone() -> None:
    """Emulators know only the wire and helpers that know nothing of kvsync; the command alone imports them."""
    assert set(room_imports()["emulators"]) <= {"errors", "util"}
    users = {line for names in room_imports().values() for name, line in names.items() if name == "emulators"}
    assert users == {"cli/commands/emulate.py imports emulators"}


COMMANDS_KNOW = {"app", "errors", "logs", "model", "rendering", "util"}


def test_commands_know_the_application_alone() -> None:
    """The command line imports the application layer, values, rendering and helpers; what a command does with stores, files,
    Git or the state directory is an operation of the application. Only `emulate` starts emulators."""
    assert set(room_imports()["cli"]) == COMMANDS_KNOW | {"emulators"}


PURE_HELPERS = ("kvsync.util.escaping", "kvsync.util.patterns", "kvsync.util.values")
PURE = ("model", "planning", "rendering")


def test_the_middle_is_pure() -> None:
    """Values, planning and rendering import themselves, the errors, the escaping, cronsim and the standard library, and of
    that nothing that does I/O or tells the time."""
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
    packages = sys.stdlib_module_names | {"kvsync", "cronsim"}
    wrong = {
        f"{file.relative_to(ROOT)} imports {name}"
        for part, file in parts()
        if part in PURE
        for name in imports_of(file)
        if name.partition(".")[0] in impure or name.partition(".")[0] not in packages
    }
    assert wrong == set()
    helpers = {name for _, file in parts() if _ in PURE for name in imports_of(file) if name.startswith("kvsync.util")}
    assert {name for name in helpers if not name.startswith(PURE_HELPERS)} <= {"kvsync.util"}


def test_httpx_has_one_home() -> None:
    """At most one module imports the HTTP client, so that another one can take its place."""
    clients = {"httpx", "httpx2", "httpx_aiohttp"}
    users = [file.name for _, file in parts() if clients & {name.partition(".")[0] for name in imports_of(file)}]
    assert len(users) <= 1


def test_no_module_imports_what_is_heavy_when_it_is_imported() -> None:
    """Heavy packages are imported where they are used, or by modules that are imported where they are used."""
    homes = {
        "kvsync.cli.progress",
        "kvsync.daemon",
        "kvsync.emulators",
        "kvsync.http",
        "kvsync.planning.cron",
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


UNUSED_BY_PLAN = (
    "click.shell_completion",
    "email.",
    "kvsync.app.fleet",
    "kvsync.apply.engine",
    "kvsync.apply.ports",
    "kvsync.daemon",
    "kvsync.desired.key_conflicts",
    "kvsync.git.source",
    "kvsync.http",
    "kvsync.leader",
    "kvsync.rendering.json",
    "kvsync.rendering.markdown",
    "kvsync.state.emptied",
    "kvsync.state.journal",
    "kvsync.state.notices",
    "kvsync.state.passes",
    "kvsync.state.pauses",
    "kvsync.state.revisions",
    "kvsync.state.run",
    "kvsync.state.undo_requests",
    "kvsync.state.waves",
    "kvsync.stores.sqlite.writes",
    "kvsync.stores.traced",
    "kvsync.testing",
    "kvsync.util.bounded_process",
    "html",
    "yaml",
)
"""What a plan of an embedded store in text does not import: each costs every start of the command some milliseconds."""


UNUSED_BY_UNCHANGED_PLAN = (
    *UNUSED_BY_PLAN,
    "kvsync.desired.compile",
    "kvsync.desired.document",
    "kvsync.desired.entries",
    "kvsync.desired.fields",
    "kvsync.desired.values",
    "kvsync.model.feature_flags",
    "kvsync.rendering.change_text",
    "kvsync.rendering.difference",
    "kvsync.rendering.values",
    "kvsync.util.json_schema",
)
"""What a plan does not import besides if no file changed since the last one: nothing is compiled."""

UNUSED_BY_CLEAN_PLAN = (
    *UNUSED_BY_UNCHANGED_PLAN,
    "decimal",
    "kvsync.desired.packing",
    "kvsync.desired.rows",
    "kvsync.ledger",
    "kvsync.logs.events",
    "kvsync.model.snapshot",
    "kvsync.planning.compare",
    "kvsync.planning.verdict",
    "kvsync.reconcile.observer",
    "kvsync.reconcile.pass_state",
    "kvsync.reconcile.target_pass",
    "kvsync.state.ledger",
    "kvsync.stores.pacing",
    "kvsync.stores.sqlite.rows",
    "msgspec",
    "typing_extensions",
)
"""What a plan of several targets does not import besides if the last one found nothing to do: no entry is read."""

MOST_MODULES = {"plan": 218, "status": 228, "validate": 222}
"""Modules of kvsync that a command imports at most if nothing changed. Each costs about a third of a millisecond."""


def test_the_version_costs_nothing(tmp_path: Path) -> None:
    """`kvsync --version` imports neither the workspace nor any package but its own command line."""
    modules = loaded_by(tmp_path, "--version")
    assert "kvsync" in modules
    assert not {"kvsync.app", "asyncio", "sqlite3", "structlog", "yaml", *HEAVY} & modules


def test_help_does_not_pay_for_what_commands_do(tmp_path: Path) -> None:
    """`kvsync --help` imports every command, but nothing that only running one needs."""
    modules = loaded_by(tmp_path, "--help")
    assert "kvsync.cli.options" in modules
    assert not {"kvsync.app", "asyncio", "sqlite3", "ssl", "structlog", "msgspec", "yaml", *HEAVY} & modules


def test_a_plan_does_not_pay_for_the_daemon_or_the_network(tmp_path: Path) -> None:
    """`kvsync plan` on an embedded store imports no HTTP client, scheduler, watcher or terminal toolkit."""
    modules = loaded_by(_repository(tmp_path), "plan")
    assert "kvsync.app" in modules
    assert not set(HEAVY) & modules
    assert not {name for name in modules if name.startswith(UNUSED_BY_PLAN)}


def test_an_unchanged_plan_does_not_pay_for_compiling(tmp_path: Path) -> None:
    """A plan of files that were applied imports no decoder of state files and no code that writes."""
    folder = _repository(tmp_path)
    loaded_by(folder, "apply", "--yes")
    modules = loaded_by(folder, "plan")
    assert not {name for name in modules if name.startswith(UNUSED_BY_UNCHANGED_PLAN)}
    assert "kvsync.app" in modules


def test_commands_import_few_modules_if_nothing_changed(tmp_path: Path) -> None:
    """After a plan that found nothing to do, another one imports nothing that reads entries. The number of modules is bounded
    for the commands that people run all day."""
    folder = _repository(tmp_path)
    (folder / "state/shop.yaml").write_text("store: main\nnamespace: shop\nkeys: {a: 1}\n")
    loaded_by(folder, "apply", "--yes")
    loaded_by(folder, "plan")
    modules = {command: loaded_by(folder, command) for command in MOST_MODULES}
    assert not {name for name in modules["plan"] if name.startswith(UNUSED_BY_CLEAN_PLAN)}
    counts = {command: sum(name.startswith("kvsync") for name in names) for command, names in modules.items()}
    assert {command: count for command, count in counts.items() if count > MOST_MODULES[command]} == {}


def test_validating_does_not_pay_for_leases(tmp_path: Path) -> None:
    """`kvsync validate` imports no client of a lease, nor what such a client needs for temporary files."""
    modules = loaded_by(_repository(tmp_path), "validate")
    assert "kvsync.app.validation" in modules
    assert not {
        name for name in modules if name.startswith(("kvsync.http", "kvsync.leader", "random", "shutil", "tempfile"))
    }


def test_a_class_name_has_one_meaning() -> None:
    """Outside of stores and emulators, where the same parts come back for each service, no two classes have one name."""
    homes: dict[str, list[str]] = {}
    for part, file in parts():
        if part in ("stores", "emulators"):
            continue
        for node in ast.walk(parsed(file)):
            if isinstance(node, ast.ClassDef):
                homes.setdefault(node.name, []).append(str(file.relative_to(ROOT)))
    assert {name: files for name, files in homes.items() if len(files) > 1} == {}


MOST_METHODS = 10


def test_the_interface_of_a_store_is_small() -> None:
    """A store has at most ten public methods, none of them a stub; what only some stores can do is an extension."""
    names = {name for name, value in vars(Store).items() if callable(value) and not name.startswith("_")}
    assert len(names) <= MOST_METHODS, sorted(names)
    assert Store.__abstractmethods__ == {"observe", "read", "write", "namespaces"}
    extras = {name for extension in EXTENSIONS for name in {*vars(extension), *extension.__annotations__}}
    assert not {name for name in extras if not name.startswith("_")} & set(dir(Store))
    assert "NotImplementedError" not in (ROOT / "stores/base.py").read_text()


USUAL_LINES = 900


def test_stores_stay_small() -> None:
    """A store fits in 900 lines, or in as many as the page on the architecture says, with the reason."""
    page = (ROOT.parent / "docs/architecture.md").read_text().partition("## How large a store is")[2]
    limits = {
        name: int(most.replace(",", "")) for name, most in re.findall(r"^\| `(\w+)` \| ([\d,]+) \|", page, re.MULTILINE)
    }
    packages = {file.parent for _, file in parts() if file.parent.parent == ROOT / "stores"}
    sizes = {one.name: sum(len(file.read_text().splitlines()) for file in one.glob("*.py")) for one in packages}
    assert {name for name, size in sizes.items() if size > USUAL_LINES} == limits.keys()
    assert {name: size for name, size in sizes.items() if size > limits.get(name, USUAL_LINES)} == {}


MOST_PARAMETERS = 6

NAMED_ONLY = {"open_workspace", "memory_store"}
"""Public functions all of whose parameters but the first are given by name, so that their number confuses nobody."""


def test_functions_take_few_parameters() -> None:
    """A function has at most six parameters; what goes together is one frozen value."""
    functions = [
        (f"{file.relative_to(ROOT)}: {node.name}", node)
        for _, file in parts()
        for node in ast.walk(parsed(file))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name not in NAMED_ONLY
    ]
    assert [name for name, node in functions if len(_parameters(node.args)) > MOST_PARAMETERS] == []


def _parameters(arguments: ast.arguments) -> list[str]:
    every = (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)
    return [one.arg for one in every if one.arg not in ("self", "cls")]
