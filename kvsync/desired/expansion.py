"""Size of a state file after expansion, counted before it is expanded.

A key of 1 MB is in the file once but, with 5,000 labels, 5,000 times in the store. The same holds for a default, a prefix,
and a text behind aliases.
"""

from __future__ import annotations

from kvsync.desired.fields import Options
from kvsync.desired.values import ValueContext
from kvsync.yaml.fields import Problems
from kvsync.yaml.nodes import Mapping, Node, Scalar, Sequence


class Expansion:
    """Counts the characters of the entries of one file of a document against the limits in `around`. Each entry exists once
    for each of `stores` stores. Every method raises TooManyProblemsError, with the problem noted, if a limit is exceeded."""

    def __init__(self, around: ValueContext, problems: Problems, stores: int) -> None:
        self._around, self._problems, self._stores = around, problems, max(stores, 1)

    def take_entries(self, place: Node, number: int, names: int, options: int) -> None:
        """Count entries whose keys and labels have `names` characters together, and what is said of each `options`."""
        self._around.take(place, self._problems, number * self._stores, (names + number * options) * self._stores)

    def take_text(self, place: Node, size: int) -> None:
        """Count characters that all stores share, such as those of a value."""
        self._around.take(place, self._problems, 0, size)


def written_size(node: Node) -> int:
    """The characters of all scalars and keys in a node, aliases in it expanded."""
    if isinstance(node, Scalar):
        return len(node.text)
    if isinstance(node, Mapping):
        return sum([len(name) + written_size(member) for name, (_, member) in node.items.items()])
    assert isinstance(node, Sequence)
    return sum(map(written_size, node.items))


def options_size(options: Options) -> int:
    """The characters of what is said of an entry besides its value."""
    tags, metadata, after = options.get("tags", ()), options.get("metadata") or "", options.get("after", ())
    pairs = sum([len(name) + len(text) for name, text in tags])
    texts = (metadata, options.get("content_type") or "", options.get("description") or "", *after)
    return pairs + sum(map(len, texts))
