"""Verifies a dump: reads the files back, and reports the entries that would differ from the store."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final

from kvsync.app.dump.writer import DumpEntry
from kvsync.config.authority import Authority, Authors
from kvsync.config.model import Config
from kvsync.desired import Source
from kvsync.errors import Problem
from kvsync.model.entry import Entry, Identity, Target
from kvsync.yaml.nodes import Mapping as MappingNode
from kvsync.yaml.nodes import Node, Scalar
from kvsync.yaml.parse import parse_all
from kvsync.yaml.parsed import ParseLimits

if TYPE_CHECKING:
    from kvsync.app import Workspace

_SAME_END: Final = 1  # second: files say whole ones


def faults(
    workspace: Workspace,
    target: Target,
    files: Mapping[str, bytes],
    entries: Sequence[DumpEntry],
    names: Mapping[Identity, str],
) -> dict[Identity, str]:
    """Why entries cannot be in the files, by identity; `names` are the variables that hold sensitive values. Where nobody
    can say which entry is at fault, all of them are."""
    with TemporaryDirectory(prefix="kvsync-dump-") as folder:
        for name, data in files.items():
            file = Path(folder, name)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(data)
        environ = {names[one.identity]: _text(one) for one in entries if one.identity in names}
        config = _config(workspace.config, Path(folder), target)
        source = Source(config, {target.store: workspace.stores[target.store]}, None, environ)
        loaded = source.load()
        source.close()
    if loaded.problems:
        return _named_in_problem(loaded.problems, files, entries, workspace.config)
    found = loaded.targets[target].entries
    checked = ((one.identity, _difference(one, found.get(one.identity), workspace, target)) for one in entries)
    return {identity: reason for identity, reason in checked if reason is not None}


def _config(config: Config, folder: Path, target: Target) -> Config:
    return replace(
        config,
        root=folder,
        file=folder / "kvsync.yaml",
        state=("**/*.yaml",),
        environments=(),
        environment=None,
        stores={target.store: config.stores[target.store]},
        source=None,
        schemas=tuple(replace(rule, schema=str(config.root / rule.schema)) for rule in config.schemas),
        authority=Authority(Authors(env=("*",))),
    )


def _text(entry: DumpEntry) -> str:
    return entry.content.value.decode(errors="surrogateescape")


def _difference(dumped: DumpEntry, entry: Entry | None, workspace: Workspace, target: Target) -> str | None:
    """What would not be as it is in the store, None when all would."""
    if entry is None:
        return "the state file that was written does not define it"
    longest = workspace.stores[target.store].capabilities.longest
    if entry.fingerprint != dumped.fingerprint:
        return "a state file cannot represent its content exactly"
    if (entry.ttl or longest) != (dumped.ttl or longest) and (dumped.ttl or dumped.expires_at is None):
        return "a state file cannot represent its lifetime exactly"
    if (
        dumped.ttl is None
        and dumped.expires_at is not None
        and abs((entry.expires_at or 0) - dumped.expires_at) > _SAME_END
    ):
        return "a state file cannot represent its expiry time exactly"
    return None


def _named_in_problem(
    problems: Sequence[Problem], files: Mapping[str, bytes], entries: Sequence[DumpEntry], config: Config
) -> dict[Identity, str]:
    places = {name: list(_places(data, config)) for name, data in files.items() if name.endswith(".yaml")}
    known = {one.identity for one in entries}
    blamed: dict[Identity, str] = {}
    for problem in problems:
        identity = None
        if problem.origin is not None:
            lines = places.get(problem.origin.file, [])
            index = bisect_right(lines, problem.origin.line, key=lambda item: item[0]) - 1
            identity = lines[index][1] if index >= 0 else None
        for one in _meant(identity, known):
            blamed.setdefault(one, _reason(problem, one))
    return blamed or dict.fromkeys(known, problems[0].message)


def _meant(identity: Identity | None, known: set[Identity]) -> Iterator[Identity]:
    """The entries that a place in the file is about: one, or all of a key."""
    if identity in known:
        yield identity
    elif identity is not None:
        yield from (one for one in known if one.key == identity.key)


def _reason(problem: Problem, identity: Identity) -> str:
    """The message without the place of the entry, which it is shown with."""
    message = problem.message.removeprefix(f"keys.{identity.key}: ").removeprefix(f"keys.{identity.key}.")
    _, found, rest = message.partition(f": {identity}: ")
    return rest if found else message


def _places(data: bytes, config: Config) -> Iterator[tuple[int, Identity]]:
    """Where each entry begins in a state file, by line; what is written is one entry in a line, or more."""
    limits = config.limits
    parsed = parse_all(data, "", ParseLimits(limits.state_file, limits.nesting, limits.aliases, limits.problems))
    for document in parsed.documents:
        for key, node in _members(document, "keys"):
            yield key.line, Identity(key.text)
            yield from ((label.line, Identity(key.text, label.text)) for label, _ in _members(node, "labels"))


def _members(node: Node, name: str) -> Iterator[tuple[Scalar, Node]]:
    member = node.items.get(name) if isinstance(node, MappingNode) else None
    if member is not None and isinstance(member[1], MappingNode):
        yield from member[1].items.values()
