"""YAML texts that are changed in place: what is not changed stays as it is, to the byte."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Sequence
from difflib import SequenceMatcher
from typing import Any, Final

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from ruamel.yaml.nodes import ScalarNode
from ruamel.yaml.resolver import VersionedResolver

from kvsync.app.editing.alignment import Alignment, lost_comments
from kvsync.errors import InvalidInput, KvsyncError
from kvsync.yaml.nodes import Mapping, Node, Scalar
from kvsync.yaml.nodes import Sequence as SequenceNode
from kvsync.yaml.parse import parse

_WIDTH = 2**20
"""Characters of a line after which the library would break it: never."""

_BLANKS: Final = 2
_MANY_BLANKS: Final = range(2, 10)
"""Blanks for each level that the library can write."""

_NO_TEXTS: Final = frozenset({"tag:yaml.org,2002:null", "tag:yaml.org,2002:merge"})


class _TextResolver(VersionedResolver):
    """Takes numbers, dates and truth values for the texts that they are in state files, as keys too: `true` stays `true`."""

    def resolve(self, kind: Any, value: Any, implicit: Any) -> Any:
        """The tag of a node."""
        tag = super().resolve(kind, value, implicit)
        if kind is not ScalarNode or str(tag) in _NO_TEXTS:
            return tag
        return super().resolve(kind, value, (False, True))


def changed_text(text: str, file: str, change: Callable[[list[Any]], None]) -> str:
    """The text of a YAML file after `change` was made to its documents. Lines that the change does not touch keep their layout.
    Raises KvsyncError for a file that cannot be read so, and if comments would be lost."""
    blanks = _blanks(text, file)
    before, after = laid_out(text, file, blanks), _with_ends_of(text, _dumped(text, file, change, blanks))
    if not is_same(text, before, file):
        raise KvsyncError(f"{file}: cannot change the file safely; edit it by hand")
    plain, new = before.splitlines(keepends=True), after.splitlines(keepends=True)
    alignment = Alignment(text, before, file)
    lines: list[str] = []
    for kind, start, end, new_start, new_end in SequenceMatcher(None, plain, new, autojunk=False).get_opcodes():
        is_equal = kind == "equal"
        lines += alignment.written(start, end) if is_equal else alignment.indented(new[new_start:new_end], start, end)
    result = "".join(lines)
    if not is_same(after, result, file):
        raise KvsyncError(f"{file}: cannot change the file safely; edit it by hand")
    if lost_comments(text, before) & lost_comments(text, result):
        raise KvsyncError(f"{file}: cannot change the file without losing comments; edit it by hand")
    return result


def laid_out(text: str, file: str, blanks: int = _BLANKS) -> str:
    """The text with the layout of the library: so many `blanks` for each level, and one between tokens. Comments, order, quotes
    and line endings stay. Raises KvsyncError for a file that cannot be read so."""
    return _with_ends_of(text, _dumped(text, file, lambda _documents: None, blanks))


def _blanks(text: str, file: str) -> int:
    """The blanks that a text has for its first level. The library moves other lines than comments, so few should move."""
    for document in parse(text.encode(), file):
        for key, value in document.items.values() if isinstance(document, Mapping) else ():
            first = next(iter(value.items.values()))[0] if isinstance(value, Mapping) and value.items else key
            if first.line > key.line and first.column - key.column in _MANY_BLANKS:
                return first.column - key.column
    return _BLANKS


def _with_ends_of(text: str, dumped: str) -> str:
    """What the library writes of a text, which has the line endings of the text in comments alone."""
    return re.sub(r"\r?\n", "\r\n", dumped) if "\r\n" in text else dumped


def snippet(text: str) -> Any:
    """A value that is written as `text` in YAML."""
    return _library().load(text)


def _dumped(text: str, file: str, change: Callable[[list[Any]], None], blanks: int) -> str:
    library, output = _library(blanks), io.StringIO()
    try:
        documents = list(library.load_all(text))
        change(documents)
        library.dump_all(documents, output)
    except YAMLError as error:
        raise KvsyncError(f"{file}: cannot change the file: {str(error).splitlines()[0]}") from None
    written = output.getvalue()
    starts = text.lstrip("\ufeff").startswith("---")
    return f"---\n{written}" if starts and not written.startswith("---") else written


def _library(blanks: int = _BLANKS) -> YAML:
    library = YAML()
    library.Resolver = _TextResolver
    library.preserve_quotes = True
    library.width = _WIDTH
    library.indent(mapping=blanks, sequence=4, offset=2)
    return library


def meaning(text: str, file: str) -> Sequence[Any]:
    """What a YAML text says, without places and layout. Raises InvalidInput."""
    return [_meaning(node) for node in parse(text.encode(), file)]


def _meaning(node: Node) -> Any:
    if isinstance(node, Mapping):
        return {name: _meaning(member) for name, (_, member) in node.items.items()}
    if isinstance(node, SequenceNode):
        return [_meaning(item) for item in node.items]
    assert isinstance(node, Scalar)
    return (node.text, node.is_null)


def is_same(one: str, other: str, file: str) -> bool:
    """True when two texts say the same, in the same order."""
    try:
        return repr(meaning(one, file)) == repr(meaning(other, file))
    except InvalidInput:
        return False
