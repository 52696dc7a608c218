"""Reads the state files as one consistent version, and compiles those that changed."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Hashable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Final

from kvsync.config.model import Config, ReadLimits
from kvsync.config.path_globs import path_matches
from kvsync.desired.cache import Cache
from kvsync.desired.file_digests import KnownDigests, SeenFile, seen
from kvsync.desired.last_reading import Changes, LastReading
from kvsync.desired.lfs import LFS_POINTER, is_lfs_pointer
from kvsync.desired.links import link_parents
from kvsync.desired.model import CompiledFile, Reading, Stores, WatchSet
from kvsync.desired.overlays import StateFile, spellings
from kvsync.desired.read_rules import ReadRules, TooMuchError, UnreadableError, shown_size
from kvsync.desired.reading_budget import ReadingBudget, TotalBudget
from kvsync.desired.schemas import SchemaFiles
from kvsync.desired.sops import DecryptionError, Decryptor, is_encrypted_name
from kvsync.desired.state_files import StateFiles
from kvsync.desired.tree import Tree
from kvsync.desired.unit_keys import facts_digest, file_state, is_same, unit_key
from kvsync.errors import Kind, Origin, Problem

if TYPE_CHECKING:
    from kvsync.desired.compiled_file import FileHead

Contents = list[tuple[str, bytes]]
"""Files with what was read of them."""

_UNKEPT: Final = b""
"""The key of a unit that is made again at each reading."""

_HEAD: Final = 64 * 1024
_PIECE: Final = 1024 * 1024
_NEXT_DOCUMENT: Final = re.compile(rb"[\n\r]---\s")
_MARK: Final = 4  # bytes of it that may end a piece


class _Totals:
    """What the state files read so far amount to."""

    def __init__(self, limits: ReadLimits) -> None:
        self.size, self.targets = TotalBudget(limits.total), TotalBudget(limits.total_targets)


class Reader:
    """Reads the state files of one configuration. Units that were compiled from the same are taken from `units`, what the
    reading before gave, or from the cache."""

    def __init__(
        self,
        config: Config,
        stores: Stores,
        cache: Cache,
        environ: Mapping[str, str],
        known: KnownDigests | None = None,
    ) -> None:
        self._config, self._stores, self._cache, self._environ = config, stores, cache, environ
        self._given_facts, self._largest = facts_digest(config, stores), _largest_value(stores)
        self._facts, self._schemas = self._given_facts, SchemaFiles(config.root, config.schemas)
        self._decryptor = Decryptor(config.sops, environ)
        self.files = StateFiles(config, environ)
        self._known_digests = known or KnownDigests()
        self._last = LastReading(environ, self._known_digests)
        self.units: dict[str, tuple[bytes, CompiledFile]] = {}

    def read(
        self, environment: str | None, root: Path | None = None, touched: Collection[Path] | None = None
    ) -> Reading:
        """Read everything under `root` (None: the folder of the configuration) once; `changed_during_read` is true when
        something was replaced meanwhile, so that it has to be read again. While nothing changes, this is the same object. Only
        the `touched` real paths may have changed since the last call; None: any."""
        reading, root = Reading(), root or self._config.root
        self._take_schemas(reading)
        asked, rules = (environment, root, self._facts), self.files.rules(root)
        changes = self._last.changes(asked, str(root), rules, touched)
        if changes is not None and changes.is_nothing:
            return changes.reading
        self._decryptor.begin()
        try:
            updated = None if changes is None else self._update(changes, asked, root, rules)
            if updated is not None:
                return updated
            self._known_digests.begin()
            began_at = self._known_digests.now()
            ahead = nullcontext() if self.units else self._cache.read_ahead()
            with ahead, Tree(root, rules, known=self._known_digests) as tree:
                totals = _Totals(self._config.limits)
                for file in self.files.find(tree, environment, reading):
                    reading.files += 1 if file.overlay is None else 2
                    self._put(tree, file, reading, totals)
                reading.changed_during_read = tree.changed()
                reading.watch = _watch(root, chain(tree.watched(), self._schemas.folders))
                self._last.keep(asked, reading, tree, began_at)
        except UnreadableError as error:
            reading.problems.append(Problem(f"cannot read the folder {root}: {error}", kind=Kind.UNREADABLE))
            reading.watch = _watch(root, iter(()))
        return reading

    def _update(self, changes: Changes, asked: Hashable, root: Path, rules: ReadRules) -> Reading | None:
        """The last reading with what changed read again; None if more than the content of files changed. Raises
        UnreadableError."""
        before, began_at = changes.reading, self._known_digests.now()
        reading, limits = before.next(changes.slots), self._config.limits
        with Tree(root, rules, known=self._known_digests) as tree:
            if changes.have_new_names(tree):
                return None
            totals = _Totals(limits)
            for slot in changes.slots:
                path, _, overlay = slot.partition("\0")
                self._put(tree, StateFile(path, overlay or None), reading, totals)
            if reading.size > limits.total or reading.named > limits.total_targets or changes.is_other_tree(tree):
                return None
            reading.changed_during_read = tree.changed()
            reading.watch = before.watch.joined(_watch(root, tree.watched()))
            self._last.keep(asked, reading, tree, began_at, changes)
        return reading

    def _put(self, tree: Tree, file: StateFile, reading: Reading, totals: _Totals) -> None:
        slot, files = self._take(tree, file, reading, totals)
        unit = reading.units[slot][1]
        reading.named += len(unit.targets)
        reading.states[slot] = file_state(files, unit.references, tree.take_stamps())

    def _take_schemas(self, reading: Reading) -> None:
        """Read the schemas as they are now: units that were compiled with others are compiled again."""
        schemas = self._schemas.load()
        self._stores = replace(self._stores, schemas=schemas)
        self._facts = self._given_facts + schemas.digest
        reading.unheld += schemas.problems

    def _take(
        self, tree: Tree, file: StateFile, reading: Reading, totals: _Totals, *, reads: bool = False
    ) -> tuple[str, list[SeenFile]]:
        """Compile a state file into the unit of its slot. Returns the slot, and the files as they are. With `reads`, files are
        read even if they are known."""
        names = [file.path] if file.overlay is None else [file.path, file.overlay]
        slot, allowance = "\0".join(names), ReadingBudget(self._config.limits, self._largest)
        files: list[SeenFile] = []
        unreadable: list[Problem] = []
        for name in names:
            try:
                self._check_link(tree, name)
                files.append(self._look(tree, name, reads=reads))
            except TooMuchError as error:
                reading.units[slot] = _UNKEPT, self._unread(tree, names, _unreadable(name, error), reading)
                return slot, files
            except UnreadableError as error:
                unreadable.append(_unreadable(name, error))
        if unreadable:
            unit = CompiledFile((), (), names_known=False, problems=tuple(unreadable), references=())
            reading.units[slot] = _UNKEPT, unit
            return slot, files
        allowance.take_text(sum(one.size for one in files))
        if not self._compile(tree, slot, dict(zip(names, files, strict=True)), allowance, reading):
            return self._take(tree, file, reading, totals, reads=True)
        self._charge(slot, allowance.size, reading, totals)
        return slot, files

    def _look(self, tree: Tree, name: str, *, reads: bool) -> SeenFile:
        limit = self._config.limits.state_file
        file = seen(tree.read(name, limit)) if reads else tree.look(name, limit)
        if file.data is not None and is_lfs_pointer(file.data):
            raise UnreadableError(f"it {LFS_POINTER}")
        return file

    def _charge(self, slot: str, size: int, reading: Reading, totals: _Totals) -> None:
        """Count a file in the totals, and hold back the files that are too much."""
        group, limits = self._config.authority.grants_of(slot.split("\0")), self._config.limits
        reading.sizes[slot] = size
        for given_up, bytes_of_it in totals.size.add(slot, size, group):
            message = (
                f"the state files and the files that they read values from have more than {shown_size(limits.total)} in total; "
                f"this one is the largest, with {shown_size(bytes_of_it)}"
            )
            self._hold_back(given_up, message, "split it, or raise limits.total", reading)
        for given_up, targets in totals.targets.add(slot, len(reading.units[slot][1].targets), group):
            message = (
                f"the state files name more than {limits.total_targets:,} targets in total; this one names the most, with "
                f"{targets:,}"
            )
            self._hold_back(given_up, message, "raise limits.total_targets", reading, is_crowded=True)

    def _check_link(self, tree: Tree, name: str) -> None:
        """Raise OutsideError when a link leads from the name of a state file to what is neither a state file itself nor in the
        folders that values may be taken from: a message about its content would show what authors may not read."""
        physical = tree.physical(name) if tree.has_links else name
        if physical != name:
            written = "/".join(part for part in physical.split("/") if not part.startswith(".."))  # without mounts
            if not any(path_matches(written, one) for pattern in self._config.state for one in spellings(pattern)):
                tree.check_allowed(name)

    def _compile(
        self, tree: Tree, slot: str, files: Mapping[str, SeenFile], allowance: ReadingBudget, reading: Reading
    ) -> bool:
        """Put the unit of a slot into the reading. False if the files have to be read for that."""
        key = unit_key(self._facts, slot, files.values())
        unit = self._known(slot, key, tree, allowance)
        if unit is None:
            contents = [(name, file.data) for name, file in files.items() if file.data is not None]
            if len(contents) < len(files):
                return False
            unit = self._compiled(tree, contents, allowance)
            reading.fresh[slot] = (key, unit)
        reading.units[slot] = (key, unit)
        return True

    def _compiled(self, tree: Tree, contents: Contents, allowance: ReadingBudget) -> CompiledFile:
        """The unit of these files; those that are encrypted as a whole are decrypted first."""
        from kvsync.desired.compiled_file import (
            CompileInputs,
            FileHead,
            compiled,
            unread_unit,
        )  # unchanged files do not pay for it

        encrypted = frozenset(name for name, _ in contents if is_encrypted_name(name))
        given = CompileInputs(tree, self._environ, self._config.limits, allowance, self._decryptor, encrypted)
        try:
            texts = [(name, self._decrypted(name, data) if name in encrypted else data) for name, data in contents]
        except DecryptionError as error:
            heads = [FileHead(name, data, has_more=False) for name, data in contents]
            return unread_unit(heads, error.problem, self._stores)
        return compiled(texts, given, self._stores)

    def _decrypted(self, name: str, data: bytes) -> bytes:
        """The text of a state file that is encrypted as a whole. Raises DecryptionError."""
        try:
            return self._decryptor.document(data, name)
        except UnreadableError as error:
            raise DecryptionError(_unreadable(name, error)) from None

    def _known(self, slot: str, key: bytes, tree: Tree, allowance: ReadingBudget) -> CompiledFile | None:
        """The unit as compiled before, when everything it came from is the same."""
        kept = self.units.get(slot)
        unit = kept[1] if kept is not None and kept[0] == key else self._cache.unit(slot, key)
        if unit is None or unit.problems:
            return None
        if not all(is_same(reference, tree, allowance) for reference in unit.references):
            allowance.drop_values()
            return None
        return unit if all(self._environ.get(name) == value for name, value in unit.variables.items()) else None

    def _unread(self, tree: Tree, names: list[str], problem: Problem, reading: Reading) -> CompiledFile:
        """The unit of a file that is too large; if its targets are unknown, it holds every target."""
        from kvsync.desired.compiled_file import unread_unit

        try:
            heads = [_head(tree, name, self._config.limits) for name in names]
        except UnreadableError as error:
            reading.problems.append(_unreadable(names[0], error))
            heads = []
        return unread_unit(heads, problem, self._stores) if heads else CompiledFile((), (), True, (problem,), ())

    def _hold_back(self, slot: str, message: str, hint: str, reading: Reading, *, is_crowded: bool = False) -> None:
        path, unit = slot.partition("\0")[0], reading.units[slot][1]
        problem = Problem(message, Origin(path, 1, 1), hint, Kind.UNREADABLE)
        problems, crowded = (*unit.problems, problem), is_crowded or unit.is_crowded
        reading.units[slot] = _UNKEPT, replace(unit, chunks=(), problems=problems, is_crowded=crowded)
        reading.fresh.pop(slot, None)


def _unreadable(name: str, error: UnreadableError) -> Problem:
    hint = "split it into several files, or raise limits.state_file" if isinstance(error, TooMuchError) else None
    return Problem(f"cannot read the file: {error}", Origin(name, 1, 1), hint, Kind.UNREADABLE)


def _head(tree: Tree, path: str, limits: ReadLimits) -> FileHead:
    """What a file begins with, and whether another document follows, or may follow where nobody looks any more."""
    from kvsync.desired.compiled_file import FileHead

    head, last, left = b"", b"", limits.value_file
    for piece in tree.pieces(path, _PIECE):
        text = last + piece
        if not head:
            head = piece[:_HEAD].rpartition(b"\n")[0] or piece[:_HEAD]
            text = piece[len(head) :]
        left -= len(piece)
        if left < 0 or _NEXT_DOCUMENT.search(text):
            return FileHead(path, head, has_more=True)
        last = text[-_MARK:]
    return FileHead(path, head, has_more=False)


def _largest_value(stores: Stores) -> int | None:
    """The largest value in bytes that any of the stores takes; None where one takes any."""
    found = [store.capabilities for store in stores.facts.values()]
    limits = [min((size for size in (one.max_value, one.max_entry) if size is not None), default=None) for one in found]
    return None if None in limits else max((limit for limit in limits if limit is not None), default=None)


def _watch(root: Path, found: Iterator[str]) -> WatchSet:
    """The folders to watch. The root is among them as it is written, whether it is there or not: it may come back, or be
    another folder behind the same name."""
    directories = {os.path.realpath(path) for path in (*link_parents(root), *found)}
    there = {path for path in directories if os.path.isdir(path)}  # noqa: PTH112
    return WatchSet(tuple(sorted({*there, os.path.abspath(root)})))  # noqa: PTH100  # links must stay
