"""Reads the entries to dump and distributes them to files."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from kvsync.app.dump.writer import DumpEntry, write
from kvsync.config.authority import Authority
from kvsync.model.entry import Actual, Identity, Target
from kvsync.planning.compare import key_matcher
from kvsync.reconcile.observer import Observer
from kvsync.util.escaping import escape_text

if TYPE_CHECKING:
    from kvsync.app import Workspace

_LARGE: Final = 64 * 1024
"""Bytes of a value from which on it gets a file of its own."""

_MOST_IN_A_FILE: Final = 4 * 1024 * 1024
"""Bytes of values after which another state file is begun: they are refused from 10 MiB on."""

_HEAD: Final = "# Entries of {target}, exported by kvsync dump.\n"
_SECRETS: Final = (
    "# Sensitive values are not in this file; set these variables for kvsync, and add them to authors.env in\n"
    "# kvsync.yaml: {names}\n"
)


@dataclass(frozen=True, slots=True)
class Dumped:
    """What a namespace comes to: files by relative path, how many entries are in them, the variables that represent sensitive
    values, and how many entries were left out: another owner's, and those that the policy ignores."""

    target: Target
    files: Mapping[str, bytes]
    entries: int
    variables: tuple[str, ...] = ()
    others: int = 0
    ignored: int = 0


@dataclass(slots=True)
class _Names:
    """Names that were given once are not given again."""

    taken: set[str] = field(default_factory=set)

    def free(self, wanted: str) -> str:
        """`wanted`, or the first of `wanted-2`, `wanted-3`, … that is free."""
        name, number = wanted, 2
        while name.casefold() in self.taken:
            name, number = f"{wanted}-{number}", number + 1
        self.taken.add(name.casefold())
        return name


async def dump(
    workspace: Workspace, store: str, namespaces: Sequence[str], *, include_sensitive: bool = False
) -> list[Dumped]:
    """What these namespaces of a store hold, as files. Raises StoreError."""
    names = _Names()
    return [await _dump(workspace, Target(store, each), names, include_sensitive) for each in namespaces]


def convert(
    workspace: Workspace, held: Mapping[Target, Sequence[Actual]], *, include_sensitive: bool = False
) -> list[Dumped]:
    """The same for entries that come from elsewhere."""
    names = _Names()
    return [_dumped(workspace, target, entries, names, include_sensitive) for target, entries in held.items()]


async def _dump(workspace: Workspace, target: Target, names: _Names, include_sensitive: bool) -> Dumped:
    return _dumped(workspace, target, await _read(workspace, target), names, include_sensitive)


def _dumped(
    workspace: Workspace, target: Target, held: Sequence[Actual], names: _Names, include_sensitive: bool
) -> Dumped:
    ignored = key_matcher(workspace.config.stores[target.store].policy.ignore)
    owner = workspace.config.owner
    ours = [one for one in held if one.mark is None or one.mark.owner == owner]
    longest = workspace.stores[target.store].capabilities.longest
    kept = [_entry(one, owner, longest) for one in ours if not ignored(one.identity.key)]
    variables: dict[Identity, str] = {}
    if not include_sensitive:
        variables = _variables(kept, workspace.config.authority)
    workspace.redactor.register(*(entry.content.value for entry in kept if entry.sensitive))
    stem = names.free(_safe(target.namespace))
    files = _files(target, stem, kept, variables)
    return Dumped(target, files, len(kept), tuple(variables.values()), len(held) - len(ours), len(ours) - len(kept))


async def _read(workspace: Workspace, target: Target) -> list[Actual]:
    """Every entry of a target, with its content."""
    observer = Observer(workspace.stores[target.store], await workspace.locate(target), workspace.state)
    snapshot = await observer.observe(None, deep=False)
    assert snapshot is not None  # no token was given
    listed = list(snapshot.entries.values())
    fresh = await observer.read([one.identity for one in listed if one.content is None])
    found = (fresh.get(one.identity) if one.content is None else one for one in listed)
    return [one for one in found if one is not None]


def _entry(actual: Actual, owner: str, longest: int | None) -> DumpEntry:
    """An entry as files would ask for it. Of ours, the longest life there is means that it must stay."""
    assert actual.content is not None
    entry = DumpEntry(actual.identity, actual.content, expires_at=actual.expires_at)
    if actual.mark is None or actual.mark.owner != owner:
        return entry
    mark = actual.mark
    if mark.ttl is not None and mark.ttl == longest:
        return replace(entry, expires_at=None, protected=mark.protected, sensitive=mark.sensitive)
    return replace(entry, ttl=mark.ttl, protected=mark.protected, sensitive=mark.sensitive)


def _variables(entries: Iterable[DumpEntry], authority: Authority) -> dict[Identity, str]:
    """A name of its own for the environment variable of every sensitive entry; never one that state files may not read."""
    names = _Names({name.casefold() for name in authority.reserved})
    found = {}
    for entry in entries:
        if entry.sensitive:
            label = f"_{entry.identity.label}" if entry.identity.label else ""
            name = re.sub(r"[^A-Za-z0-9]+", "_", entry.identity.key + label).strip("_").upper() or "SECRET"
            found[entry.identity] = names.free(name if not name[0].isdigit() else f"_{name}").replace("-", "_")
    return found


def _files(
    target: Target, stem: str, entries: Sequence[DumpEntry], variables: Mapping[Identity, str]
) -> dict[str, bytes]:
    files: dict[str, bytes] = {}
    written = list(_referenced(stem, entries, variables, files))
    for number, part in enumerate(_parts(written), start=1):
        head = _HEAD.format(target=escape_text(str(target)))
        unset = [entry.reference[1] for entry in part if entry.reference and entry.reference[0] == "env"]
        head += _SECRETS.format(names=", ".join(unset)) if unset else ""
        files[f"{stem}.yaml" if number == 1 else f"{stem}-part{number}.yaml"] = (head + write(target, part)).encode()
    return files


def _referenced(
    stem: str, entries: Sequence[DumpEntry], variables: Mapping[Identity, str], files: dict[str, bytes]
) -> Iterator[DumpEntry]:
    """The entries, with references for values that do not belong into a state file; large ones are put into `files`."""
    names = _Names()
    for entry in entries:
        if entry.identity in variables:
            yield replace(entry, reference=("env", variables[entry.identity]))
        elif len(entry.content.value) > _LARGE:
            name = f"{stem}-files/{names.free(_safe(entry.identity.key)[:80])}.bin"
            files[name] = entry.content.value
            yield replace(entry, reference=("file", f"./{name}"))
        else:
            yield entry


def _parts(entries: Sequence[DumpEntry]) -> Iterator[list[DumpEntry]]:
    """The entries in portions that a state file takes. All labels of a key stay together."""
    part: list[DumpEntry] = []
    size = 0
    for entry in sorted(entries, key=lambda one: one.identity.key):
        if size > _MOST_IN_A_FILE and part[-1].identity.key != entry.identity.key:
            yield part
            part, size = [], 0
        part.append(entry)
        size += 200 + len(entry.identity.key) + (0 if entry.reference else 2 * len(entry.content.value))
    if part:
        yield part


def _safe(name: str) -> str:
    """A name for a file: without dots, which would make an overlay of it."""
    return re.sub(r"[^A-Za-z0-9_-]+", "-", name).strip("-") or "namespace"
