"""Loader of the desired state: reads the files and assembles the targets.

Source.load ──► Reader (one version of all files) ──► units (cached) ──► chunks by target ──► Loaded
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from kvsync.config.model import Config
from kvsync.desired.assembler import Assembler
from kvsync.desired.cache import Cache
from kvsync.desired.file_stability import FileStability
from kvsync.desired.model import DesiredState, Reading, StoreFacts, Stores, WatchSet
from kvsync.desired.read_rules import MissingError, UnreadableError
from kvsync.desired.reading import Reader
from kvsync.desired.reading_budget import StepBudgets
from kvsync.desired.tree import Tree
from kvsync.errors import Problem
from kvsync.model.desired import Desired
from kvsync.model.entry import Target
from kvsync.stores.extensions import NamespaceIds
from kvsync.util.gc_pause import gc_paused

if TYPE_CHECKING:
    from kvsync.desired.stable_files import StableFiles

_TRIES: Final = 6


class Source:
    """The desired state of one configuration. Keeps what it compiled, so that loading again costs what has changed.

    `stores` are asked for their capabilities and keys only. `cache` keeps what was compiled between runs, and is closed with
    this; without one it is kept in memory alone. `environ` is where `env:` looks.
    """

    def __init__(
        self, config: Config, stores: Mapping[str, StoreFacts], cache: Cache | None, environ: Mapping[str, str]
    ) -> None:
        self._config, self._stores = config, stores
        self._cache = cache or Cache(None, None)
        with_ids = {name: store for name, store in stores.items() if isinstance(store, NamespaceIds)}
        authority = config.authority.knowing_ids(partial(_is_by_id, with_ids))
        self._reader = Reader(config, Stores(stores, config.stores, authority, config.variables), self._cache, environ)
        self._assembler = Assembler(config, stores, self._cache, authority)
        self._good: dict[Target, Desired] = {}
        self._stable_files: StableFiles | None = None
        self._last: tuple[Reading, DesiredState] | None = None

    def load(
        self,
        environment: str | None = None,
        root: Path | None = None,
        touched: Collection[Path] | None = None,
    ) -> DesiredState:
        """Everything that the files under `root` (None: the folder of the configuration) ask, in `environment` (None: the
        configured one). Only the `touched` real paths may have changed since the last call; None: any. Never raises for what
        files hold."""
        with gc_paused():
            reading = self._read(environment or self._config.environment, root, touched)
            if self._last is not None and self._last[0] is reading:
                return self._last[1]
            self._last = None
            clean, before = self._assembler.clean, self._reader.units.keys()
            loaded = self._assembler.state(reading, self._good)
            self._reader.units = reading.units
            checked = {
                target: digest for target, digest in self._assembler.clean.items() if clean.get(target) != digest
            }
            self._cache.keep(reading.fresh, checked, None if before == reading.units.keys() else reading.paths)
            if environment not in (None, self._config.environment):
                return loaded
            state = self._with_kept(
                loaded if self._stable_files is None else self._stable_files.settled(loaded, reading)
            )
            if state.stable_in is None:
                self._last = reading, state
            return state

    def use_only_stable_files(self, stability: FileStability) -> None:
        """Use files only once they are stable, from now on."""
        from kvsync.desired.stable_files import StableFiles

        self._stable_files, self._last = StableFiles(stability, self._config.authority), None

    def stable_in(self) -> float | None:
        """Check whether the files are stable, and use nothing of them. Returns the seconds until they are, None when they
        have."""
        return (
            None
            if self._stable_files is None
            else self._stable_files.stable_in(self._read(self._config.environment, None))
        )

    def without_files(self, problem: Problem) -> DesiredState:
        """What holds as long as there are no files to load, for this reason: every target keeps its last good state."""
        held = (problem,)
        return DesiredState({}, {}, held, held, files=0, entries=0, watch=WatchSet(), digest="", kept=dict(self._good))

    def why_not_root(self, root: Path) -> str | None:
        """Why `root` cannot be the folder with the state files; None if it can. Reads no file."""
        try:
            with Tree(root, self._reader.files.rules(root)) as tree:
                found = any(self._has_match(tree, pattern) for pattern in self._config.state)
        except UnreadableError as error:
            return f"cannot read its folders: {error}"
        return None if found else f"no file in it matches {', '.join(self._config.state)}"

    def file_names(self) -> tuple[str, ...]:
        """The state files and overlays that `load` read last, relative to their folder."""
        return tuple(sorted({path for slot in self._reader.units for path in slot.split("\0")}))

    def unmatched(self, root: Path | None = None) -> tuple[Problem, ...]:
        """A warning for each file that looks like a state file and was not used by `load`. Raises nothing."""
        try:
            with Tree(root or self._config.root, self._reader.files.rules(root or self._config.root)) as tree:
                return tuple(self._reader.files.unmatched(tree, self._reader.units))
        except UnreadableError:
            return ()

    def take_over(self, other: Source) -> None:
        """Know what the source of an older configuration last loaded without problems, where the policy is the same."""
        policies = {name: store.policy for name, store in self._config.stores.items()}
        before = {name: store.policy for name, store in other._config.stores.items()}
        same = {name for name, policy in policies.items() if before.get(name) == policy}
        self._good = {target: good for target, good in other._good.items() if target.store in same}
        self._stable_files = other._stable_files
        if self._stable_files is not None:
            self._stable_files.reconfigure(
                self._config.run.debounce, self._config.authority, lambda target: target.store not in same
            )

    def close(self) -> None:
        """Release the file of the cache. Idempotent."""
        self._cache.close()

    def _has_match(self, tree: Tree, pattern: str) -> bool:
        try:
            return bool(self._reader.files.matches(tree, pattern, StepBudgets(self._config.limits)))
        except MissingError:
            return False

    def _read(self, environment: str | None, root: Path | None, touched: Collection[Path] | None = None) -> Reading:
        for attempt in range(_TRIES):
            reading = self._reader.read(environment, root, touched)
            if not reading.changed_during_read:
                return reading
            time.sleep(0.002 * 2**attempt)  # whoever replaces the files gets a moment to finish
        problem = Problem(
            "the state files kept changing while they were read",
            None,
            "kvsync reads them again when they stop changing",
        )
        return Reading(problems=[problem], files=reading.files, watch=reading.watch)

    def _with_kept(self, loaded: DesiredState) -> DesiredState:
        kept = {target: good for target, good in self._good.items() if loaded.hold_all or target in loaded.held}
        usable = {} if loaded.hold_all else loaded.targets
        self._good = {target: desired for target, desired in usable.items() if target not in loaded.held} | kept
        return replace(loaded, kept=kept, nested=self._assembler.places.nested({*loaded.targets, *kept}))


def _is_by_id(with_ids: Mapping[str, NamespaceIds], target: Target) -> bool:
    store = with_ids.get(target.store)
    return store is not None and store.is_namespace_id(target.namespace)
