"""YAML parser: keeps positions, resolves nothing, and rejects alias bombs.

    bytes ──► encoding ──► simple? ──► Node
                              └──► libyaml events ──► [Node, ...] one per document

Never `yaml.load`: it keeps the last of two equal keys, rewrites `no` and `1.10`, and dies of deep nesting.
"""

from __future__ import annotations

from typing import Final

from kvsync.errors import InvalidInput
from kvsync.yaml.encoding import check_encoding, place, without_marks
from kvsync.yaml.nodes import Node
from kvsync.yaml.parsed import DEFAULT_LIMITS, Parsed, ParseLimits
from kvsync.yaml.problems import Problems
from kvsync.yaml.simple import DEEPEST
from kvsync.yaml.simple import read as read_simple

_NO_LIBYAML: Final = "this file cannot be read, because PyYAML was built without libyaml"


def parse(data: bytes, file: str, limits: ParseLimits = DEFAULT_LIMITS) -> list[Node]:
    """Read a YAML file, one node per document. `file` is its name in messages. Raises InvalidInput with every problem."""
    parsed = parse_all(data, file, limits)
    if parsed.problems:
        raise InvalidInput(parsed.problems)
    return list(parsed.documents)


def parse_all(data: bytes, file: str, limits: ParseLimits = DEFAULT_LIMITS) -> Parsed:
    """Read what can be read of a YAML file, and say what is wrong with the rest. Never raises."""
    problems, data = Problems(file, limits.problems), without_marks(data)
    if not check_encoding(data, problems, limits.size):
        return Parsed((), problems.all(), complete=False)
    if limits.depth >= DEEPEST and (simple := read_simple(data)) is not None:
        return Parsed((simple,), (), complete=True)
    try:
        from kvsync.yaml.events import read_events  # most files are simple, and do not pay for libyaml
    except ModuleNotFoundError:
        problems.add(_NO_LIBYAML, place(0, 0), "install PyYAML from a wheel, or build it where libyaml is installed")
        return Parsed((), problems.all(), complete=False)
    return read_events(data, problems, limits)
