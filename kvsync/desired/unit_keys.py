"""Cache keys of compiled files: digests of their inputs, so that only changed files are compiled."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping
from hashlib import blake2b
from typing import Final

from kvsync import __version__
from kvsync.config.authority import Authority, Authors
from kvsync.config.model import Config
from kvsync.desired.discovery import find_files, names_digest
from kvsync.desired.file_digests import SeenFile
from kvsync.desired.file_stability import FileState
from kvsync.desired.model import Reference, Stores
from kvsync.desired.read_rules import UnreadableError
from kvsync.desired.reading_budget import ReadingBudget
from kvsync.desired.tree import Tree

_FORMAT: Final = 5
"""Raise it when what a compiled file looks like changes."""


def unit_key(facts: bytes, slot: str, files: Iterable[SeenFile]) -> bytes:
    """Identifies what the unit of a slot is compiled from, besides its references: `facts`, and the content of its files."""
    state = blake2b(facts + slot.encode(errors="surrogateescape"), digest_size=16)
    for file in files:
        state.update(file.digest)
    return state.digest()


def file_state(
    files: Iterable[SeenFile], references: tuple[Reference, ...], stamps: Mapping[str, os.stat_result]
) -> FileState:
    """What a state file and what it takes values from are now, to tell when they have rested."""
    touched = max((max(one.st_mtime, one.st_ctime) for one in stamps.values()), default=0.0)
    shown = sorted((path, (one.st_ino, one.st_size, one.st_mtime_ns)) for path, one in stamps.items())
    return FileState((*(one.digest for one in files), *(one.digest for one in references)), tuple(shown), touched)


def facts_digest(config: Config, stores: Stores) -> bytes:
    """Represents everything, besides the files, that compiled files depend on."""
    configs = [
        (name, one.type, one.options, one.key_format, one.policy) for name, one in sorted(stores.configs.items())
    ]
    facts = [(name, store.capabilities) for name, store in sorted(stores.facts.items())]
    rest = config.limits, configs, facts, _rights(stores.authority), sorted(stores.variables.items())
    text = repr((_FORMAT, __version__, sys.version_info[:2], *rest))
    return blake2b(text.encode(errors="surrogateescape"), digest_size=16).digest()


def _rights(authority: Authority) -> tuple[Authors, list[str]]:
    return authority.authors, sorted(authority.credentials)


def is_same(reference: Reference, tree: Tree, allowance: ReadingBudget) -> bool:
    """True when what a state file refers to is as it was."""
    try:
        tree.check_allowed(reference.path)
        if reference.kind == "glob":
            found = find_files(tree, reference.path, reference.pattern, reference.exclude, allowance.take_steps)
            return names_digest(found) == reference.digest
        file = tree.look(reference.path, allowance.most_value)
        allowance.take_values(file.size)
        return file.digest == reference.digest
    except UnreadableError:
        return False
