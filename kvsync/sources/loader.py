"""Load everything: find the state files, read them in one version, compile what changed, and put the targets together.

Source.load ──► trees (one version) ──► state files ──► units (cached) ──► chunks by target ──► Loaded
"""

from __future__ import annotations

import gc
import os
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Final

from kvsync import __version__
from kvsync.config.model import Config
from kvsync.core.model import Desired, Target
from kvsync.document.parse import DEFAULT_LIMITS
from kvsync.document.problems import quoted
from kvsync.errors import Origin, Problem
from kvsync.sources.assembly import assemble, clashes, target_digest
from kvsync.sources.cache import Cache
from kvsync.sources.discovery import StateFile, matches, pair_overlays, split
from kvsync.sources.model import Chunk, Loaded, Reference, StoreFacts, Unit, WatchSet
from kvsync.sources.tree import Tree, UnreadableError, link_parents
from kvsync.sources.units import Stores, build_unit
from kvsync.sources.values import MOST_BYTES, names_digest

_FORMAT: Final = 1
"""Raise it when what a compiled file looks like changes."""

_TRIES: Final = 6


class Source:
    """The desired state of one configuration. Keeps what it compiled, so that loading again costs what has changed."""

    def __init__(
        self, config: Config, stores: Mapping[str, StoreFacts], cache_path: Path | None, environ: Mapping[str, str]
    ) -> None:
        self._config, self._environ = config, environ
        self._stores = Stores(stores, config.stores)
        self._facts = _facts_digest(config, stores)
        self._cache = Cache(cache_path)
        self._units: dict[str, tuple[bytes, Unit]] = {}
        self._desired: dict[Target, tuple[bytes, Desired]] = {}

    def load(self, environment: str | None = None) -> Loaded:
        """Everything that the files ask, in `environment` (None: the configured one). Never raises for what files hold."""
        with _no_collections():
            for attempt in range(_TRIES):
                load = _Load(self, environment or self._config.environment)
                if (loaded := load.run()) is not None:
                    return loaded
                time.sleep(0.002 * 2**attempt)  # whoever replaces the files gets a moment to finish
            hint = "is something replacing them over and over?"
            return load.nothing(Problem("the state files kept changing while they were read", None, hint))

    def close(self) -> None:
        """Release the cache."""
        self._cache.close()


@dataclass(slots=True)
class _Load:
    """One attempt at loading."""

    source: Source
    environment: str | None
    trees: list[Tree] = field(default_factory=list)
    units: dict[str, tuple[bytes, Unit]] = field(default_factory=dict)
    fresh: dict[str, tuple[bytes, Unit]] = field(default_factory=dict)
    checked: dict[Target, bytes] = field(default_factory=dict)
    hold_all: list[Problem] = field(default_factory=list)
    files: int = 0

    def run(self) -> Loaded | None:
        """What the files ask; None when they changed on the way."""
        with ExitStack() as stack:
            for root, shown, patterns in _roots(self.source._config):
                try:
                    tree = stack.enter_context(Tree(root, shown))
                except UnreadableError as error:
                    self.hold_all.append(Problem(f"the folder {root} cannot be read: {error}"))
                    continue
                self.trees.append(tree)
                for file in self._state_files(tree, patterns):
                    self._take(tree, file)
            if not self.files and not self.hold_all:
                patterns_shown = ", ".join(self.source._config.state)
                self.hold_all.append(
                    Problem(f"no state file matches {patterns_shown}", None, "an empty folder is no wish")
                )
            if any(tree.changed() for tree in self.trees):
                return None
            watch = self._watch()
        loaded = self._put_together(watch)
        self.source._units = self.units
        self.source._cache.keep(self.fresh, self.checked, self.units)
        return loaded

    def nothing(self, problem: Problem) -> Loaded:
        """The result when nothing can be said of any target."""
        return Loaded({}, {}, (problem,), (problem,), 0, 0, self._watch(), "")

    def _state_files(self, tree: Tree, patterns: list[str]) -> Iterator[StateFile]:
        config = self.source._config
        paths: dict[str, None] = {}
        for pattern in patterns:
            try:
                paths.update(dict.fromkeys(matches(tree, "", pattern)))
            except UnreadableError as error:
                folder = f"{tree.shown}{split(pattern)[0]}" or "."
                self.hold_all.append(Problem(f"state: the folder {quoted(folder)} cannot be read: {error}"))
        paths.pop(config.file.name if not tree.shown else "", None)
        try:
            yield from pair_overlays(tree, paths, config.environments, self.environment)
        except UnreadableError as error:
            self.hold_all.append(Problem(f"the state files cannot be read: {error}"))

    def _take(self, tree: Tree, file: StateFile) -> None:
        names = [file.path] if file.overlay is None else [file.path, file.overlay]
        contents: list[tuple[str, bytes]] = []
        for name in names:
            self.files += 1
            try:
                contents.append((name, tree.read(name, MOST_BYTES)))
            except UnreadableError as error:
                self.hold_all.append(Problem(f"the file cannot be read: {error}", Origin(f"{tree.shown}{name}", 1, 1)))
        if len(contents) == len(names):
            self._compile(tree, contents)

    def _compile(self, tree: Tree, contents: list[tuple[str, bytes]]) -> None:
        slot = "\0".join([tree.shown, *(name for name, _ in contents)])
        key = _unit_key(self.source._facts, slot, contents)
        unit = self._known(slot, key, tree)
        if unit is None:
            unit = build_unit(contents, tree, self.source._environ, self.source._stores)
            self.fresh[slot] = (key, unit)
        self.units[slot] = (key, unit)

    def _known(self, slot: str, key: bytes, tree: Tree) -> Unit | None:
        """The unit as compiled before, when everything it came from is the same."""
        kept = self.source._units.get(slot)
        unit = kept[1] if kept is not None and kept[0] == key else self.source._cache.unit(slot, key)
        if unit is None or unit.problems or not all(_is_same(reference, tree) for reference in unit.references):
            return None
        environ = self.source._environ
        return unit if all(environ.get(name) == value for name, value in unit.variables.items()) else None

    def _put_together(self, watch: WatchSet) -> Loaded:
        chunks: defaultdict[Target, list[Chunk]] = defaultdict(list)
        held: defaultdict[Target, list[Problem]] = defaultdict(list)
        for _, unit in self.units.values():
            if unit.problems and not unit.names_known:
                self.hold_all += unit.problems
            for target in unit.targets:
                chunks[target] += ()
                held[target] += unit.problems
            for chunk in unit.chunks:
                chunks[chunk.target].append(chunk)
        for target, parts in chunks.items():
            held[target] += self._clashes(target, parts)
        hold_all = tuple(_sorted(self.hold_all))
        targets = {
            target: self._desired(target, chunks[target], (*_sorted(held[target]), *hold_all))
            for target in sorted(chunks)
        }
        everything = [*hold_all, *(problem for problems in held.values() for problem in problems)]
        self.source._desired = {target: (bytes.fromhex(item.digest), item) for target, item in targets.items()}
        return Loaded(
            targets,
            {target: tuple(_sorted(held[target])) for target in targets if held[target]},
            hold_all,
            tuple(_sorted(everything)),
            self.files,
            sum(chunk.count for parts in chunks.values() for chunk in parts),
            watch,
            blake2b("".join(item.digest for item in targets.values()).encode(), digest_size=16).hexdigest(),
            tuple(dict.fromkeys(secret for _, unit in self.units.values() for secret in unit.secrets)),
        )

    def _clashes(self, target: Target, chunks: list[Chunk]) -> list[Problem]:
        """What is wrong between the chunks of a target; looked for once for each state of it."""
        policy = self.source._config.stores[target.store].policy
        digest = target_digest(chunks, policy, ())
        known = self.source._desired.get(target)
        if (known is not None and known[0] == digest) or self.source._cache.checked(target) == digest:
            return []
        found = list(clashes(chunks))
        if not found:
            self.checked[target] = digest
        return found

    def _desired(self, target: Target, chunks: list[Chunk], problems: tuple[Problem, ...]) -> Desired:
        policy = self.source._config.stores[target.store].policy
        digest = target_digest(chunks, policy, problems)
        known = self.source._desired.get(target)
        if known is not None and known[0] == digest:
            return known[1]
        return assemble(target, chunks, policy, digest, problems)

    def _watch(self) -> WatchSet:
        folders = {str(self.source._config.root), *link_parents(self.source._config.root)}
        for tree in self.trees:
            folders.update(tree.watched())
        return WatchSet(tuple(sorted({os.path.realpath(folder) for folder in folders if os.path.isdir(folder)})))  # noqa: PTH112


def _roots(config: Config) -> Iterator[tuple[Path, str, list[str]]]:
    """The folders to read from: that of the configuration, and those that patterns outside of it begin with."""
    inside = [pattern for pattern in config.state if not _is_outside(pattern)]
    if inside:
        yield config.root, "", inside
    for pattern in config.state:
        if _is_outside(pattern):
            literal, parts = split(pattern)
            shown = f"/{literal}" if pattern.startswith("/") else literal
            yield config.root / shown, f"{shown}/", ["/".join(parts)]


def _is_outside(pattern: str) -> bool:
    return pattern.startswith("/") or ".." in pattern.split("/")


def _unit_key(facts: bytes, slot: str, contents: list[tuple[str, bytes]]) -> bytes:
    state = blake2b(facts + slot.encode(errors="surrogateescape"), digest_size=16)
    for _, data in contents:
        state.update(b"%d:" % len(data))
        state.update(data)
    return state.digest()


def _facts_digest(config: Config, stores: Mapping[str, StoreFacts]) -> bytes:
    """Stands for everything, beside the files, that compiled files depend on."""
    parts = [
        (name, item.type, item.options, item.key_format, item.policy) for name, item in sorted(config.stores.items())
    ]
    facts = [(name, store.capabilities) for name, store in sorted(stores.items())]
    text = repr((_FORMAT, __version__, sys.version_info[:2], DEFAULT_LIMITS, parts, facts))
    return blake2b(text.encode(errors="surrogateescape"), digest_size=16).digest()


def _is_same(reference: Reference, tree: Tree) -> bool:
    try:
        if reference.kind == "glob":
            return names_digest(matches(tree, reference.path, reference.pattern)) == reference.digest
        return blake2b(tree.read(reference.path, MOST_BYTES), digest_size=16).digest() == reference.digest
    except UnreadableError:
        return False


def _sorted(problems: list[Problem]) -> list[Problem]:
    return sorted(dict.fromkeys(problems), key=lambda problem: (problem.origin or Origin("", 0, 0), problem.message))


@contextmanager
def _no_collections() -> Iterator[None]:
    """Garbage of cycles is not made while loading, and looking for it costs more than half of the time."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
