"""Names of files and variables for what is dumped, none of them given twice."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from kvsync.app.dump.writer import DumpEntry
from kvsync.config.authority import Authority
from kvsync.model.entry import Identity

_LONGEST: Final = 80
"""Characters of a name that is made of a key or namespace: file systems take 255 bytes."""


@dataclass(slots=True)
class UniqueNames:
    """Names that were given once are not given again, whatever their case: file systems may take the two for one."""

    taken: set[str] = field(default_factory=set)

    def free(self, wanted: str, divider: str = "-") -> str:
        """`wanted`, or the first of `wanted-2`, `wanted-3`, … that is free."""
        name, number = wanted, 2
        while name.casefold() in self.taken:
            name, number = f"{wanted}{divider}{number}", number + 1
        self.taken.add(name.casefold())
        return name


def safe_name(name: str) -> str:
    """A name for a file: without dots, which would make an overlay of it."""
    return re.sub(r"[^A-Za-z0-9_-]+", "-", name).strip("-")[:_LONGEST] or "namespace"


def variable_names(entries: Iterable[DumpEntry], authority: Authority) -> dict[Identity, str]:
    """A name of its own for the environment variable of every sensitive entry; never one that state files may not read."""
    names = UniqueNames({name.casefold() for name in authority.reserved})
    return {entry.identity: names.free(_variable(entry.identity), "_") for entry in entries if entry.sensitive}


def _variable(identity: Identity) -> str:
    label = f"_{identity.label}" if identity.label else ""
    name = re.sub(r"[^A-Za-z0-9]+", "_", identity.key + label).strip("_").upper()[:_LONGEST] or "SECRET"
    return f"_{name}" if name[0].isdigit() else name
