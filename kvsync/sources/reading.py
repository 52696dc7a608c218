"""Find the state files, read them in one version, and compile those that are not known yet."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Final

from kvsync import __version__
from kvsync.config.authority import Authority, Authors
from kvsync.config.model import Config
from kvsync.document.parse import DEFAULT_LIMITS
from kvsync.document.problems import quoted
from kvsync.errors import Kind, Origin, Problem
from kvsync.sources.cache import Cache
from kvsync.sources.discovery import StateFile, matches, pair_overlays, split
from kvsync.sources.model import Reference, Stores, Unit, WatchSet
from kvsync.sources.tree import Tree, UnreadableError, is_text, link_parents
from kvsync.sources.units import build_unit
from kvsync.sources.values import MOST_BYTES, names_digest

_FORMAT: Final = 1
"""Raise it when what a compiled file looks like changes."""


@dataclass(slots=True)
class Reading:
    """What was read in one go. `units` are by slot (the path, and that of the overlay), each with the key it was compiled
    under; `fresh` are those that were not known before. `problems` are those that hold every target."""

    units: dict[str, tuple[bytes, Unit]] = field(default_factory=dict)
    fresh: dict[str, tuple[bytes, Unit]] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    files: int = 0
    watch: WatchSet = field(default_factory=WatchSet)
    is_torn: bool = False

    @property
    def paths(self) -> set[str]:
        """The state files that there are, without overlays."""
        return {slot.partition("\0")[0] for slot in self.units}


class Reader:
    """Reads the state files of one configuration. Units that were compiled from the same are taken from `units`, what the
    reading before gave, or from the cache."""

    def __init__(self, config: Config, stores: Stores, cache: Cache, environ: Mapping[str, str]) -> None:
        self._config, self._stores, self._cache, self._environ = config, stores, cache, environ
        self._facts = _facts_digest(stores)
        self.units: dict[str, tuple[bytes, Unit]] = {}

    def read(self, environment: str | None, root: Path | None = None) -> Reading:
        """Read everything under `root` (None: the folder of the configuration) once; `is_torn` tells that something was
        replaced on the way, so that it has to be read again."""
        reading, root = Reading(), root or self._config.root
        try:
            with Tree(root) as tree:
                for file in self._state_files(tree, environment, reading):
                    self._take(tree, file, reading)
                reading.is_torn = tree.changed()
                reading.watch = _watch(root, tree.watched())
        except UnreadableError as error:
            reading.problems.append(Problem(f"the folder {root} cannot be read: {error}", kind=Kind.UNREADABLE))
            reading.watch = _watch(root, iter(()))
        return reading

    def _state_files(self, tree: Tree, environment: str | None, reading: Reading) -> Iterator[StateFile]:
        paths: dict[str, None] = {}
        for pattern in self._config.state:
            try:
                paths.update(dict.fromkeys(matches(tree, "", pattern)))
            except UnreadableError as error:
                folder = quoted(split(pattern)[0] or ".")
                reading.problems.append(
                    Problem(f"state: the folder {folder} cannot be read: {error}", kind=Kind.UNREADABLE)
                )
        paths.pop(self._config.file.name, None)
        if not paths and not reading.problems:
            hint = "an empty folder is taken for an accident, not for a wish"
            reading.problems.append(Problem(f"no state file matches {', '.join(self._config.state)}", None, hint))
        for path in [path for path in paths if not is_text(path)]:
            del paths[path]
            reading.problems.append(
                Problem(f"state: the name of the file {quoted(path)} is not UTF-8", None, "rename it")
            )
        yield from pair_overlays(tree, sorted(paths), self._config.environments, environment)

    def _take(self, tree: Tree, file: StateFile, reading: Reading) -> None:
        names = [file.path] if file.overlay is None else [file.path, file.overlay]
        contents: list[tuple[str, bytes]] = []
        unreadable: list[Problem] = []
        for name in names:
            reading.files += 1
            try:
                contents.append((name, tree.read(name, MOST_BYTES)))
            except UnreadableError as error:
                place = Origin(name, 1, 1)
                unreadable.append(Problem(f"the file cannot be read: {error}", place, kind=Kind.UNREADABLE))
        slot = "\0".join(names)
        if unreadable:
            reading.units[slot] = b"", Unit((), (), names_known=False, problems=tuple(unreadable), references=())
        else:
            key = _unit_key(self._facts, slot, contents)
            unit = self._known(slot, key, tree)
            if unit is None:
                unit = build_unit(contents, tree, self._environ, self._stores)
                reading.fresh[slot] = (key, unit)
            reading.units[slot] = (key, unit)

    def _known(self, slot: str, key: bytes, tree: Tree) -> Unit | None:
        """The unit as compiled before, when everything it came from is the same."""
        kept = self.units.get(slot)
        unit = kept[1] if kept is not None and kept[0] == key else self._cache.unit(slot, key)
        if unit is None or unit.problems or not all(_is_same(reference, tree) for reference in unit.references):
            return None
        return unit if all(self._environ.get(name) == value for name, value in unit.variables.items()) else None


def _watch(root: Path, found: Iterator[str]) -> WatchSet:
    directories = {os.path.realpath(path) for path in (str(root), *link_parents(root), *found)}
    return WatchSet(tuple(sorted(path for path in directories if os.path.isdir(path))))  # noqa: PTH112


def _unit_key(facts: bytes, slot: str, contents: list[tuple[str, bytes]]) -> bytes:
    state = blake2b(facts + slot.encode(errors="surrogateescape"), digest_size=16)
    for _, data in contents:
        state.update(b"%d:" % len(data))
        state.update(data)
    return state.digest()


def _facts_digest(stores: Stores) -> bytes:
    """Stands for everything, beside the files, that compiled files depend on."""
    configs = [
        (name, one.type, one.options, one.key_format, one.policy) for name, one in sorted(stores.configs.items())
    ]
    facts = [(name, store.capabilities) for name, store in sorted(stores.facts.items())]
    text = repr((_FORMAT, __version__, sys.version_info[:2], DEFAULT_LIMITS, configs, facts, _rights(stores.authority)))
    return blake2b(text.encode(errors="surrogateescape"), digest_size=16).digest()


def _rights(authority: Authority) -> tuple[Authors, list[str]]:
    return authority.authors, sorted(authority.credentials)


def _is_same(reference: Reference, tree: Tree) -> bool:
    try:
        if reference.kind == "glob":
            return names_digest(matches(tree, reference.path, reference.pattern)) == reference.digest
        return blake2b(tree.read(reference.path, MOST_BYTES), digest_size=16).digest() == reference.digest
    except UnreadableError:
        return False
