"""Load everything: read what the files hold, and put the targets together.

Source.load ──► Reader (one version of all files) ──► units (cached) ──► chunks by target ──► Loaded
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import replace
from hashlib import blake2b
from pathlib import Path
from typing import Final

from kvsync.config.model import Config
from kvsync.core.model import Desired, Target
from kvsync.errors import Origin, Problem
from kvsync.heap import no_collections
from kvsync.sources.assembly import assemble, clashes, strays, target_digest
from kvsync.sources.cache import Cache
from kvsync.sources.discovery import matches
from kvsync.sources.model import Chunk, Loaded, StoreFacts, Stores, WatchSet
from kvsync.sources.reading import Reader, Reading
from kvsync.sources.tree import MissingError, Tree, UnreadableError

_TRIES: Final = 6


class Source:
    """The desired state of one configuration. Keeps what it compiled, so that loading again costs what has changed.

    `stores` are asked for their capabilities and keys only. The file at `cache_path` keeps what was compiled between runs;
    None keeps it in memory alone. `environ` is where `env:` looks.
    """

    def __init__(
        self, config: Config, stores: Mapping[str, StoreFacts], cache_path: Path | None, environ: Mapping[str, str]
    ) -> None:
        self._config, self._stores = config, stores
        self._cache = Cache(cache_path)
        self._reader = Reader(config, Stores(stores, config.stores, config.authority), self._cache, environ)
        self._targets: dict[Target, Desired] = {}
        self._clean: dict[Target, bytes] = {}
        self._good: dict[Target, Desired] = {}

    def load(self, environment: str | None = None, root: Path | None = None) -> Loaded:
        """Everything that the files under `root` (None: the folder of the configuration) ask, in `environment` (None: the
        configured one). Never raises for what files hold."""
        with no_collections():
            reading = self._read(environment or self._config.environment, root)
            clean = dict(self._clean)
            loaded = self._put_together(reading)
            self._reader.units, self._targets = reading.units, dict(loaded.targets)
            checked = {target: digest for target, digest in self._clean.items() if clean.get(target) != digest}
            self._cache.keep(reading.fresh, checked, reading.paths)
        return self._with_kept(loaded) if environment in (None, self._config.environment) else loaded

    def without_files(self, problem: Problem) -> Loaded:
        """What holds as long as there are no files to load, for this reason: every target keeps its last good state."""
        held = (problem,)
        return Loaded({}, {}, held, held, files=0, entries=0, watch=WatchSet(), digest="", kept=dict(self._good))

    def lacks(self, root: Path) -> str | None:
        """Why `root` cannot be the folder with the state files; None when it can. Reads no file."""
        try:
            with Tree(root) as tree:
                found = any(_has_match(tree, pattern) for pattern in self._config.state)
        except UnreadableError as error:
            return f"its folders cannot be read: {error}"
        return None if found else f"no file in it matches {', '.join(self._config.state)}"

    def take_over(self, other: Source) -> None:
        """Know what the source of an older configuration last loaded without problems, where the policy is the same."""
        policies = {name: store.policy for name, store in self._config.stores.items()}
        before = {name: store.policy for name, store in other._config.stores.items()}
        same = {name for name, policy in policies.items() if before.get(name) == policy}
        self._good = {target: good for target, good in other._good.items() if target.store in same}

    def close(self) -> None:
        """Release the file of the cache. Idempotent."""
        self._cache.close()

    def _read(self, environment: str | None, root: Path | None) -> Reading:
        for attempt in range(_TRIES):
            reading = self._reader.read(environment, root)
            if not reading.is_torn:
                return reading
            time.sleep(0.002 * 2**attempt)  # whoever replaces the files gets a moment to finish
        problem = Problem(
            "the state files kept changing while they were read", None, "they are read again when they rest"
        )
        return Reading(problems=[problem], files=reading.files, watch=reading.watch)

    def _put_together(self, reading: Reading) -> Loaded:
        chunks: defaultdict[Target, list[Chunk]] = defaultdict(list)
        found: defaultdict[Target, list[Problem]] = defaultdict(list)
        others: list[Problem] = []
        for _, unit in reading.units.values():
            if unit.names_known and not unit.targets:
                others += unit.problems  # it names only targets that it may not name: those are not held for it
            for target in unit.targets:
                chunks[target] += (chunk for chunk in unit.chunks if chunk.target == target)
                found[target] += unit.problems
        others += self._hold_unknown(reading, {*chunks, *self._good}, found)
        for target, parts in chunks.items():
            found[target] += (*self._clashes(target, parts), *self._strays(target, parts, chunks))
        hold_all = _sorted(reading.problems)
        held = {target: _sorted(problems) for target, problems in found.items() if problems}
        targets = {
            target: self._desired(target, chunks[target], held.get(target, ()) + hold_all) for target in sorted(chunks)
        }
        digests = "".join(desired.digest for desired in targets.values())
        return Loaded(
            targets=targets,
            held=held,
            hold_all=hold_all,
            problems=_sorted((*hold_all, *others, *(problem for problems in held.values() for problem in problems))),
            files=reading.files,
            entries=sum(len(desired.entries) for desired in targets.values()),
            watch=reading.watch,
            digest=blake2b(digests.encode(), digest_size=16).hexdigest(),
            secrets=tuple(dict.fromkeys(secret for _, unit in reading.units.values() for secret in unit.secrets)),
        )

    def _hold_unknown(
        self, reading: Reading, known: Iterable[Target], found: defaultdict[Target, list[Problem]]
    ) -> Iterable[Problem]:
        """Hold what the files may name of which it cannot be known what they name: with `authors.targets` those targets, all
        without. Returns the problems of the former."""
        authority = self._config.authority
        for slot, (_, unit) in reading.units.items():
            if unit.names_known:
                continue
            if authority.authors.targets is None:
                reading.problems += unit.problems
                continue
            for target in known:
                if authority.may_name(slot.split("\0"), target):
                    found[target] += unit.problems
            yield from unit.problems

    def _with_kept(self, loaded: Loaded) -> Loaded:
        kept = {target: good for target, good in self._good.items() if loaded.hold_all or target in loaded.held}
        usable = {} if loaded.hold_all else loaded.targets
        self._good = {target: desired for target, desired in usable.items() if target not in loaded.held} | kept
        return replace(loaded, kept=kept)

    def _clashes(self, target: Target, chunks: list[Chunk]) -> Iterable[Problem]:
        """What is wrong between the chunks of a target; looked for once for each state of it."""
        digest = target_digest(chunks, self._config.stores[target.store].policy, ())
        if digest in (self._clean.get(target), self._cache.checked(target)):
            self._clean[target] = digest
            return ()
        found = tuple(clashes(chunks))
        if not found:
            self._clean[target] = digest
        return found

    def _strays(self, target: Target, parts: list[Chunk], targets: Iterable[Target]) -> Iterable[Problem]:
        """What lies in another target, where one namespace can be a part of another."""
        store = self._stores[target.store]
        beside = {one.namespace for one in targets if one.store == target.store and one != target}
        if not beside or "lies_in" not in store.own_ways:
            return ()
        return strays(parts, lambda identity: store.lies_in(target.namespace, identity, beside))

    def _desired(self, target: Target, chunks: list[Chunk], problems: tuple[Problem, ...]) -> Desired:
        policy = self._config.stores[target.store].policy
        digest = target_digest(chunks, policy, problems)
        known = self._targets.get(target)
        if known is not None and known.digest == digest.hex():
            return known
        return assemble(target, chunks, policy, digest, problems)


def _has_match(tree: Tree, pattern: str) -> bool:
    try:
        return any(True for _ in matches(tree, "", pattern))
    except MissingError:
        return False


def _sorted(problems: Iterable[Problem]) -> tuple[Problem, ...]:
    nowhere = Origin("", 0, 0)
    return tuple(sorted(dict.fromkeys(problems), key=lambda problem: (problem.origin or nowhere, problem.message)))
