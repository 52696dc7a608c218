"""Result and limits of reading a YAML file."""

from __future__ import annotations

from typing import Final

from kvsync.errors import Problem
from kvsync.util.values import dataclass
from kvsync.yaml.nodes import Node


@dataclass(frozen=True, slots=True)
class ParseLimits:
    """What reading a file may cost. `size` in bytes; `replay` is how many nodes aliases and merge keys may bring in, `problems`
    how many are found before the rest is left unread, `documents` how many there may be."""

    size: int = 10 * 1024 * 1024
    depth: int = 64
    replay: int = 100_000
    problems: int = 1_000
    documents: int = 20_000


@dataclass(frozen=True, slots=True)
class Parsed:
    """What could be read of a file. `complete` is false when reading stopped early: there may be more documents, and the
    last one of `documents` may lack its end."""

    documents: tuple[Node, ...]
    problems: tuple[Problem, ...]
    complete: bool


DEFAULT_LIMITS: Final = ParseLimits()
