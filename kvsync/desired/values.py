"""Decoders for the forms of a value: text, JSON, a file, Base64, an environment variable, a key of an encrypted file."""

from __future__ import annotations

import binascii
from base64 import b64decode
from collections.abc import Callable, Mapping
from collections.abc import Mapping as Environ
from hashlib import blake2b
from posixpath import dirname, join, normpath
from typing import Any, Final, NamedTuple, TypeVar

from kvsync.config.authority import Authority, Denial
from kvsync.desired.discovery import find_files, names_digest, split
from kvsync.desired.fields import FORM_FIELDS
from kvsync.desired.lfs import LFS_POINTER, is_lfs_pointer
from kvsync.desired.model import Reference
from kvsync.desired.read_rules import MissingError, TooMuchError, UnreadableError
from kvsync.desired.reading_budget import ReadingBudget
from kvsync.desired.sops import Decryptor
from kvsync.desired.tree import Tree
from kvsync.errors import ErrorCode, Kind
from kvsync.model.canonical import canonical_json
from kvsync.model.feature_flags import flag_text
from kvsync.yaml.fields import INVALID, Decoder, Field, Problems
from kvsync.yaml.nodes import Node, Scalar
from kvsync.yaml.problems import TooManyProblemsError, at, quoted

_FORMS: Final[dict[str, Decoder]] = {field.name: field.decoder for field in FORM_FIELDS if isinstance(field, Field)}
_Result = TypeVar("_Result")
_EMPTY_HINT: Final = 'for an empty value, write ""'


class Value(NamedTuple):
    """A value, and what its form says of it. `node` is that of a value that is written as data.
    `feature` has the fields of a feature flag, whose text depends on its key."""

    data: bytes
    json: bool = False
    secret: bool = False
    node: Node | None = None
    feature: Mapping[str, Any] | None = None

    def of_key(self, key: str) -> Value:
        """The value under a key: the text of a feature flag has its name."""
        return self if self.feature is None else self._replace(data=flag_text(key, self.feature).encode())


class DeniedError(UnreadableError):
    """The operator does not let state files read this."""

    def __init__(self, denial: Denial) -> None:
        self.denial = denial
        super().__init__(denial.message)


class ValueContext:
    """What state files refer to: other files, and variables. Remembers what was asked, since the result depends on it.

    `path` is that of the state file in the tree: references are relative to it. What they take is counted in `allowance`.
    """

    def __init__(
        self,
        tree: Tree,
        path: str,
        environ: Environ[str, str],
        allowance: ReadingBudget,
        authority: Authority,
        decryptor: Decryptor | None = None,
    ) -> None:
        self._tree, self._environ, self._allowance, self._authority = tree, environ, allowance, authority
        self._decryptor = decryptor
        self._folder = path.rpartition("/")[0]
        self.references: dict[tuple[str, str, str, tuple[str, ...]], Reference] = {}
        self.variables: dict[str, str | None] = {}

    def file(self, path: str) -> bytes:
        """The content of a file. Raises UnreadableError, DeniedError."""
        place = self._place(path)
        self._require_right(place)
        self._tree.check_allowed(place)
        self._allowance.take_values(self._tree.size(place))
        return self._read(place)

    def decrypted(self, path: str, key: tuple[str, ...]) -> tuple[bytes, bool]:
        """The value under a key of a file that SOPS encrypted, and whether it is JSON. Raises UnreadableError, DeniedError."""
        data = self.file(path)
        if self._decryptor is None:
            raise UnreadableError("encrypted files are not read here")
        return self._decryptor.value(data, path, key)

    def files(
        self, path: str, pattern: str, exclude: tuple[str, ...] = ()
    ) -> tuple[list[tuple[str, bytes]], list[str]]:
        """The files under a folder that match and are not excluded, by their path under it, with their content; and what is
        passed over for the dot in its name. Raises UnreadableError, DeniedError."""
        place = self._place(path)
        self._require_right("/".join(part for part in (place, split(pattern)[0]) if part))
        self._tree.check_allowed(place)
        found = find_files(self._tree, place, pattern, exclude, self._allowance.take_steps)
        self._note(Reference("glob", place, names_digest(found), pattern, exclude))
        self._allowance.take_values(*(_naming(name, self._size) for name in found.names))
        skip = len(place) + 1 if place else 0
        values = [(name[skip:], _naming(name, self._read)) for name in found.names]
        return values, [name[skip:] for name in found.hidden]

    def take(self, node: Node, problems: Problems, entries: int, size: int) -> None:
        """Count entries, and the bytes that what is written at `node` comes to, before they are made. Where it is too much, the
        problem is noted, and TooManyProblemsError raised: reading on would only find more."""
        try:
            self._allowance.take_entries(entries)
            self._allowance.take_expansion(size)
        except TooMuchError as error:
            problems.add(str(error), node, kind=Kind.UNREADABLE)
            raise TooManyProblemsError from None

    def variable(self, name: str) -> str | None:
        """An environment variable, None when it is not set. Raises DeniedError before it looks."""
        denial = self._authority.deny_variable(name)
        if denial is not None:
            raise DeniedError(denial)
        value = self.variables[name] = self._environ.get(name)
        return value

    def _require_right(self, place: str) -> None:
        """Raise DeniedError for a place in the tree that state files may not read, ProtectedError where no right would help."""
        self._tree.require_unprotected(normpath(place))
        denial = self._authority.deny_file(place)
        if denial is not None:
            raise DeniedError(denial)

    def _place(self, path: str) -> str:
        return f"{self._folder}/{path}" if self._folder else path

    def _size(self, place: str) -> int:
        self._tree.check_allowed(place)
        return self._tree.size(place)

    def _read(self, place: str) -> bytes:
        data = self._tree.read(place, self._allowance.most_value)
        if is_lfs_pointer(data):
            raise UnreadableError(f"it {LFS_POINTER}")
        self._note(Reference("file", place, blake2b(data, digest_size=16).digest()))
        return data

    def _note(self, reference: Reference) -> None:
        key = (reference.kind, reference.path, reference.pattern, reference.exclude)
        self.references[key] = reference


def _naming(place: str, use: Callable[[str], _Result]) -> _Result:
    """Use a file that a pattern names. Raises UnreadableError, which names the file."""
    try:
        return use(place)
    except UnreadableError as error:
        raise UnreadableError(f"{quoted(normpath(place))}: {error}") from None


def note_unreadable(error: UnreadableError, path: str, node: Node, problems: Problems, what: str) -> None:
    """Note that `path`, written at `node`, cannot or may not be read."""
    if isinstance(error, DeniedError):
        problems.add(at(what, error.denial.message), node, error.denial.hint, Kind.NOT_ALLOWED)
    else:
        problems.add(
            at(what, f"{quoted(path)}: {error}"),
            node,
            _where_missing(error, path, problems.file),
            detail=ErrorCode.UNREADABLE,
        )


def _where_missing(error: UnreadableError, path: str, file: str) -> str | None:
    """The hint that says which path does not exist, because authors often write one relative to the root."""
    if not isinstance(error, MissingError):
        return None
    meant = normpath(join(dirname(file), path))
    return f"paths are relative to the folder of this file; this one is {quoted(meant)}"


def is_absolute(path: str, node: Node, problems: Problems, what: str) -> bool:
    """True, with a problem noted, when a path does not start from the state file."""
    if path.startswith("/"):
        problems.add(at(what, f"{quoted(path)} is absolute"), node, "use a path relative to this file")
        return True
    return False


def read_value(form: str, node: Node, around: ValueContext, problems: Problems, what: str) -> Value | None:
    """The value written as `form: node`; None with a problem noted. Messages never show it."""
    if form == "value" and isinstance(node, Scalar) and not node.is_null:
        return Value(node.text.encode())
    what = f"{what}.{form}"
    if isinstance(node, Scalar) and node.is_null:
        problems.add(at(what, "a value must not be null"), node, _EMPTY_HINT if form in ("value", "json") else None)
        return None
    if form == "value":
        problems.add(at(what, "expected text, found data"), node, "for data, use json: instead of value:")
        return None
    written = _FORMS[form].decode(node, problems, what)
    if written is INVALID:
        return None
    return _READERS[form](written, node, around, problems, what)


def _json(written: Any, node: Node, *_: Any) -> Value:
    return Value(canonical_json(written).encode(), json=True, node=node)


def _file(path: str, node: Node, around: ValueContext, problems: Problems, what: str) -> Value | None:
    if is_absolute(path, node, problems, what):
        return None
    try:
        return Value(around.file(path))
    except UnreadableError as error:
        note_unreadable(error, path, node, problems, what)
        return None


def _base64(written: str, node: Node, _around: ValueContext, problems: Problems, what: str) -> Value | None:
    try:
        return Value(b64decode("".join(written.split()), validate=True))
    except (binascii.Error, ValueError):
        problems.add(at(what, "invalid Base64"), node, "allowed are A-Z a-z 0-9 + /, and = at the end")
        return None


def _env(name: str, node: Node, around: ValueContext, problems: Problems, what: str) -> Value | None:
    try:
        value = around.variable(name)
    except DeniedError as error:
        note_unreadable(error, name, node, problems, what)
        return None
    if value is None:
        problems.add(
            at(what, f"the environment variable {name} is not set"), node, "set it in the environment of kvsync"
        )
        return None
    return Value(value.encode(errors="surrogateescape"), secret=True)


def _feature(written: Any, *_: Any) -> Value | None:
    return Value(b"", feature=written) if "enabled" in written and written["enabled"] is not None else None


def _sops(written: Any, node: Node, around: ValueContext, problems: Problems, what: str) -> Value | None:
    path, key = written.get("file"), written.get("key")
    if path is None or key is None or is_absolute(path, node, problems, what):
        return None
    try:
        data, is_json = around.decrypted(path, tuple(key.split(".")) if isinstance(key, str) else key)
    except UnreadableError as error:
        note_unreadable(error, path, node, problems, what)
        return None
    return Value(data, json=is_json, secret=True)


_READERS: Final[dict[str, Callable[[Any, Node, ValueContext, Problems, str], Value | None]]] = {
    "json": _json,
    "file": _file,
    "base64": _base64,
    "env": _env,
    "sops": _sops,
    "feature": _feature,
}
