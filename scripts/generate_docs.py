"""Write the tables in README.md and docs/ that the code knows best, and share/ (see `make docs`). A test keeps them equal.

A generated part stands between two comments: `<!-- generated: NAME [ARGUMENT] -->` and `<!-- end generated -->`.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from importlib import import_module
from pathlib import Path

import click
import man_pages
import public_api

from kvsync.config import authors, fields, git, lease, limits, notify, policy, run, schemas, sops, stores, waves
from kvsync.desired import fields as tables
from kvsync.desired.feature_fields import FEATURE_FIELDS
from kvsync.logs import events_table
from kvsync.model.capabilities import Capabilities
from kvsync.model.codes import AREAS, CodeDescription
from kvsync.status.metrics import metrics_table
from kvsync.stores.registry import BUILTIN, InstalledStoreTypes, store_class
from kvsync.testing.conformance import StoreConformance, Suite, SuiteStep
from kvsync.yaml.fields import Field

ROOT = Path(__file__).resolve().parent.parent
PART = re.compile(r"(<!-- generated: ([a-z-]+)(?: ([a-z/-]+))? -->\n).*?(<!-- end generated -->)", re.DOTALL)

FIELD_TABLES: dict[str, tuple[Field, ...]] = {
    "config": fields.config_fields(InstalledStoreTypes()),
    "authors": authors.AUTHORS_FIELDS,
    "grant": authors.GRANT_FIELDS,
    "git": git.GIT_FIELDS,
    "git-credentials": git.CREDENTIAL_FIELDS,
    "git-verify": git.VERIFY_FIELDS,
    "schema": schemas.SCHEMA_FIELDS,
    "wave": waves.WAVE_FIELDS,
    "probe": waves.PROBE_FIELDS,
    "sops": sops.SOPS_FIELDS,
    "limits": limits.LIMIT_FIELDS,
    "journal": limits.JOURNAL_FIELDS,
    "run": run.RUN_FIELDS,
    "hook": run.HOOK_FIELDS,
    "window": run.WINDOW_FIELDS,
    "tracing": run.TRACING_FIELDS,
    "notify": notify.CHANNEL_FIELDS,
    "lease": lease.LEASE_FIELDS,
    "lease-etcd": lease.ETCD_LEASE_FIELDS,
    "lease-kubernetes": lease.KUBERNETES_LEASE_FIELDS,
    "policy": policy.POLICY_FIELDS,
    "drift": policy.DRIFT_FIELDS,
    "guard": policy.GUARD_FIELDS,
    "store": stores.COMMON_FIELDS,
    "document": tables.DOCUMENT_FIELDS,
    "entry": tuple(field for field in tables.LABELLED_FIELDS if field not in tables.FORM_FIELDS),
    "files": tables.FILES_FIELDS,
    "feature": FEATURE_FIELDS,
}


def documents() -> list[Path]:
    """The files that may hold generated parts."""
    return [ROOT / "README.md", ROOT / "tests/README.md", *sorted((ROOT / "docs").glob("*.md"))]


def render(text: str) -> str:
    """The text with every generated part as it should be now."""
    return PART.sub(lambda part: f"{part[1]}\n{_part(part[2], part[3] or '')}\n\n{part[4]}", text)


def _part(name: str, argument: str) -> str:
    makers: dict[str, Callable[[str], str]] = {
        "api": public_api.part,
        "conformance": lambda _: _conformance_table(),
        "fields": lambda which: _fields_table(FIELD_TABLES[which]),
        "options": lambda which: _fields_table(store_class(which).options),
        "command": _command,
        "commands": lambda _: _commands_table(),
        "codes": lambda _: _codes_reference(),
        "events": lambda _: events_table().strip(),
        "stores": lambda _: _stores_table(),
        "support": lambda _: _support_table(),
        "metrics": lambda _: metrics_table(),
        "table": _emulators_table,
    }
    return makers[name](argument)


def _emulators_table(module: str) -> str:
    """The table in the docstring of a module of the emulators."""
    text = import_module(f"kvsync.emulators.{module}").__doc__ or ""
    return "\n".join(line for line in text.splitlines() if line.startswith("|"))


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    lines = [list(head)]
    lines.append(["---"] * len(lines[0]))
    lines.extend([cell.replace("|", "\\|") for cell in row] for row in rows)
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _fields_table(table: Iterable[Field]) -> str:
    rows = ((f"`{field.name}`" + (" (required)" if field.required else ""), field.help) for field in table)
    return _table(("field", "meaning"), rows)


def _codes_reference() -> str:
    """Every error code by area, with its cause and remedy."""
    areas = (f"## {area}\n\n" + "\n\n".join(map(_code_section, found)) for area, found in AREAS.items())
    return "\n\n".join(areas)


def _code_section(one: CodeDescription) -> str:
    return f"### {one.code}\n\n{one.title}. {one.cause}\n\nWhat to do: {one.remedy}"


def _support_table() -> str:
    """The modules in tests/ that are no tests: the first sentence of each, and its public classes."""
    return _table(("module", "what it is for", "classes"), _support_modules())


def _support_modules() -> Iterator[tuple[str, str, str]]:
    for file in sorted((ROOT / "tests").rglob("*.py")):
        module, tree = file.relative_to(ROOT / "tests").with_suffix("").as_posix(), ast.parse(file.read_text("utf-8"))
        text = " ".join((ast.get_docstring(tree) or "").partition("\n\n")[0].split())
        classes = [node.name for node in tree.body if isinstance(node, ast.ClassDef) and not node.name.startswith("_")]
        if classes and text and not file.name.startswith("test_") and not module.startswith("benchmarks/"):
            yield f"`{module}`", re.split(r"(?<=\.) ", text)[0], ", ".join(f"`{name}`" for name in classes)


# -- stores -----------------------------------------------------------------------------------------------------------


def _stores_table() -> str:
    head = ("type", "namespace is", "labels", "TTL", "compare-and-set", "marks are kept in", "writes per request")
    return _table(head, (_store_row(store_class(name).capabilities) for name in sorted(BUILTIN)))


def _store_row(can: Capabilities) -> tuple[str, ...]:
    return (
        f"`{can.type}`",
        can.namespace,
        "yes" if can.labels else "by `key_format`",
        str(can.lifetimes),
        "yes" if can.compare_and_set else "no: check, write, verify",
        f"the {can.marks}",
        f"{can.batch:,}",
    )


def _conformance_table() -> str:
    """The steps of the conformance suite, and how many tests each has."""
    bases = [base for base in StoreConformance.__mro__ if issubclass(base, Suite)]
    steps = [test.step or base.step for base in bases for test in vars(base).values() if hasattr(test, "needs")]
    return _table(("step", "tests"), ((step, str(steps.count(step))) for step in SuiteStep))


# -- commands ---------------------------------------------------------------------------------------------------------


def commands() -> dict[str, click.Command]:
    """Every command of the command line by name, those in groups with the group's name before theirs."""
    from kvsync.cli import cli

    return dict(_walk(cli, ""))


def _walk(group: click.Group, prefix: str) -> Iterator[tuple[str, click.Command]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from _walk(command, f"{prefix}{name}/")
        elif not command.hidden:
            yield f"{prefix}{name}", command


def _commands_table() -> str:
    rows = ((f"[`kvsync {name}`](#{name})", command.get_short_help_str(200)) for name, command in commands().items())
    return _table(("command", "does"), rows)


def _command(name: str) -> str:
    from kvsync.cli import cli

    command = cli if name == "kvsync" else commands()[name]
    context = click.Context(command, info_name="kvsync" if name == "kvsync" else f"kvsync {name.replace('/', ' ')}")
    usage = command.get_usage(context).removeprefix("Usage: ")
    records = (parameter.get_help_record(context) for parameter in command.get_params(context))
    rows = [(f"`{record[0]}`", record[1]) for record in records if record and record[1] and "--help" not in record[0]]
    return f"```\n{usage}\n```" + (f"\n\n{_table(('option', 'meaning'), rows)}" if rows else "")


if __name__ == "__main__":
    rendered = {document: render(document.read_text(encoding="utf-8")) for document in documents()}
    wanted = rendered | man_pages.shared_files(commands())
    for file in {*wanted, *filter(Path.is_file, man_pages.SHARE.rglob("*"))} - wanted.keys():
        file.unlink()
    for file, text in wanted.items():
        if not file.exists() or file.read_text(encoding="utf-8") != text:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
            sys.stdout.write(f"{file.relative_to(ROOT)}\n")
