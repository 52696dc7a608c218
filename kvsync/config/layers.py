"""Layers of the configuration: `kvsync.yaml`, and the overlay of the environment in force merged over it.

kvsync.yaml ─┐
             ├─▶ one tree of nodes, each with its own file ─▶ variables ─▶ decoders
kvsync.prod.yaml ─┘
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Final

from kvsync.errors import Origin
from kvsync.yaml.nodes import Mapping as MappingNode
from kvsync.yaml.nodes import Node, Scalar
from kvsync.yaml.nodes import Sequence as SequenceNode
from kvsync.yaml.problems import Problems, at, inside
from kvsync.yaml.variables import VariableError, expand

REMOVE: Final = "remove"
"""Field of a mapping in an overlay that removes what `kvsync.yaml` has in its place."""

_ALTERNATIVES: Final = (
    frozenset({"env", "file", "credential"}),
    frozenset({"every", "cron"}),
    frozenset({"kubernetes", "etcd"}),
)
"""Fields of which a mapping has only one: an overlay that sets one of them replaces the others."""


class LayeredProblems(Problems):
    """Problems of a configuration with an overlay: each is at its place in the file that its node was read from. Texts may use
    `variables`."""

    __slots__ = ("_files", "variables")

    def __init__(self, file: str) -> None:
        super().__init__(file)
        self._files: dict[int, str] = {}
        self.variables: Mapping[str, str] = {}

    def assign(self, root: Node, file: str) -> None:
        """Note that `root` and all nodes in it were read from `file`. The nodes must live as long as this."""
        self._files.update((id(node), file) for node in _nodes(root))

    def origin(self, node: Node | None) -> Origin:
        """The place of `node`, in its own file; without a node, the start of the main file."""
        if node is None:
            return super().origin(node)
        return Origin(self._files.get(id(node), self.file), node.line, node.column)

    def text_of(self, node: Scalar, what: str, *, private: bool = False) -> str | None:
        """The text with its variables expanded; None with a problem noted."""
        if "$" not in node.text:
            return node.text
        try:
            return expand(node.text, self.variables, private=private)
        except VariableError as error:
            self.add(at(what, str(error)), node, error.hint)
            return None


def _nodes(node: Node) -> Iterator[Node]:
    waiting = [node]
    while waiting:
        one = waiting.pop()
        yield one
        if isinstance(one, MappingNode):
            for key, member in one.items.values():
                waiting += (key, member)
        elif isinstance(one, SequenceNode):
            waiting += one.items


def merge(under: MappingNode, over: MappingNode, problems: Problems, what: str = "") -> MappingNode:
    """The mapping `over` merged over `under`: mappings field by field, anything else as a whole. A store of another type, and
    an alternative such as `cron` for `every`, replaces what is under it; `{remove: true}` removes it."""
    replaced = {name for group in _ALTERNATIVES if group & over.items.keys() for name in group}
    items = {name: item for name, item in under.items.items() if name not in replaced or name in over.items}
    for name, (key, node) in over.items.items():
        below = under.items.get(name)
        if isinstance(node, MappingNode) and REMOVE in node.items:
            _check_removal(node, below is not None, problems, inside(what, name))
            items.pop(name, None)
        elif below is not None and _merges(below[1], node):
            items[name] = (key, merge(below[1], node, problems, inside(what, name)))  # type: ignore[arg-type]
        else:
            items[name] = (key, node)
    return MappingNode(items, under.line, under.column)


def _merges(under: Node, over: Node) -> bool:
    """True for two mappings, unless they are stores of different types."""
    if not isinstance(under, MappingNode) or not isinstance(over, MappingNode):
        return False
    types = [node.items["type"][1] for node in (under, over) if "type" in node.items]
    texts = [node.text for node in types if isinstance(node, Scalar)]
    return len(set(texts)) < 2


def _check_removal(node: MappingNode, is_there: bool, problems: Problems, what: str) -> None:
    wanted = node.items[REMOVE][1]
    if len(node.items) > 1:
        problems.add(at(what, "remove cannot be combined with other fields"), node)
    elif not (isinstance(wanted, Scalar) and wanted.plain and wanted.text == "true"):
        problems.add(at(what, "remove: expected true"), wanted)
    elif not is_there:
        problems.add(at(what, "there is no such field to remove"), node)


def overlay_paths(file: Path, environment: str | None) -> tuple[Path, ...]:
    """The paths that the overlay of an environment may have: with the suffix of the configuration first, then with the other
    spelling of `.yaml`."""
    if environment is None:
        return ()
    twins = {".yaml": ".yml", ".yml": ".yaml"}
    suffixes = [file.suffix, *([twins[file.suffix]] if file.suffix in twins else [])]
    return tuple(file.with_name(f"{file.stem}.{environment}{suffix}") for suffix in suffixes)


def text_digest(text: bytes) -> bytes:
    """Identifies the text of one file."""
    return blake2b(text, digest_size=16).digest()


def joined_digest(digests: Sequence[bytes]) -> bytes:
    """Identifies a configuration by the digests of its file and of its overlay."""
    return blake2b(b"".join(digests), digest_size=16).digest()
