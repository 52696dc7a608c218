"""Redactor: knows the secrets of this process, and removes them from text and data."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Collection, Iterable, Mapping, Set
from itertools import accumulate
from threading import Lock
from typing import Any, Final
from weakref import WeakKeyDictionary

from kvsync.util.escaping import encode_json, to_bytes
from kvsync.util.patterns import lazy_pattern
from kvsync.util.redaction.decodings import decoded, has_escapes, has_runs, views
from kvsync.util.redaction.forms import credential_parts, secret_forms, secret_parts, secret_text
from kvsync.util.redaction.fragments import Fragments, Span, folded
from kvsync.util.redaction.open_words import OpenWords
from kvsync.util.redaction.secret_names import HIDDEN, hide_places, is_secret_name
from kvsync.util.redaction.separators import joined

SHORTEST: Final = 6
"""Characters; shorter secrets are not replaced inside text."""

_TOKENS: Final = 2
"""Tokens of one holder that are known: the present one, and the one before, which answers under way may repeat."""

_DEEP: Final = 65_536
"""Bytes of a text of others up to which encodings within encodings are looked for."""

_EXACT: Final = frozenset(
    {
        "digest", "environment", "etag", "fingerprint", "key", "label", "namespace", "origin", "owner", "run", "schema",
        "seal", "store", "type",
    }
)  # fmt: skip
"""Fields that name things openly, or cannot tell a value: programs need them as they are, whatever a secret looks like."""

_DIGITS: Final = lazy_pattern(r"(?:sha256:)?[0-9a-f]{16,}")


class _Tokens:
    """Index of the tokens that are known now; `whole` are the tokens themselves, folded."""

    __slots__ = ("fragments", "whole")

    def __init__(self, whole: Set[bytes]) -> None:
        self.whole, self.fragments = whole, Fragments()


class Redactor:
    """Knows the secrets of this process and takes them out of text and data. Thread-safe."""

    __slots__ = ("_fragments", "_held", "_known", "_lock", "_open", "_registered", "_strict", "_tokens")

    def __init__(self) -> None:
        self._lock = Lock()
        self._known: set[str] = set()
        self._strict: set[bytes] = set()
        self._fragments = Fragments()
        self._open = OpenWords()
        self._registered: set[str] = set()
        self._held: WeakKeyDictionary[object, deque[str]] = WeakKeyDictionary()
        self._tokens = _Tokens(frozenset())

    def __repr__(self) -> str:
        return "Redactor()"

    def register(self, *secrets: str | bytes) -> None:
        """Take these secrets of the operator's, and the secrets inside them (lines of a key file, parts of a connection
        string), out of everything from now on. Anything shorter than 6 characters is ignored."""
        for secret in map(secret_text, secrets):
            if secret in self._registered:  # a credential is read again, and registered, for each request
                continue
            for part in _long_parts(secret):
                self._strict.add(folded(to_bytes(part)))
                self._add(part)
            self._registered.add(secret)

    def register_values(self, *values: str | bytes) -> None:
        """The same for sensitive values, which authors choose. What is weak is left out: it would take words out of what is
        said of others."""
        for value in map(secret_text, values):
            for part in {value, *secret_parts(value)}:
                if part not in self._known and not self._open.is_weak(part):
                    self._add(part)

    def register_token(self, holder: object, token: str) -> None:
        """Take the token that `holder` has now, and the one before it, out of everything. Older ones have expired, and are
        forgotten: a process that signs in every few minutes for months must not grow."""
        with self._lock:
            held = self._held.setdefault(holder, deque(maxlen=_TOKENS))
            if token in held:
                return
            held.append(token)
            known = {part for texts in self._held.values() for text in texts for part in _long_parts(text)}
            tokens = _Tokens({folded(to_bytes(part)) for part in known})
            for form in (form for part in known for form in secret_forms(part)):
                tokens.fragments.add(form)
            self._tokens = tokens

    def add_open_words(self, *names: str) -> None:
        """Never take these names out of kvsync's own text because of a sensitive value: those of stores, namespaces, files."""
        self._open.add(names)

    def is_weak(self, value: str) -> bool:
        """True for a sensitive value that is not recognised in text: one of fewer than 8 bytes, or one made of words that
        kvsync says openly."""
        return self._open.is_weak(value)

    def _add(self, part: str) -> None:
        with self._lock:
            if part not in self._known:
                for form in secret_forms(part):
                    self._fragments.add(form)
                self._known.add(part)

    def redact(self, text: str) -> str:
        """`text` of kvsync's own with every registered secret, and distinctive pieces of one, replaced by `***`."""
        return self._redacted(text, foreign=False)

    def redact_foreign(self, text: str) -> str:
        """`text` of a server or another program with every piece of a registered secret of 8 bytes or more replaced by
        `***`."""
        return self._redacted(text, foreign=True)

    def _redacted(self, text: str, *, foreign: bool) -> str:
        # Again, for what is left on both sides may join into a secret; each time the text gets shorter.
        while spans := self._spans(text, foreign=foreign):
            text = _cover(text, spans)
        return hide_places(text)

    def _spans(self, text: str, *, foreign: bool) -> list[Span]:
        """Where secrets are, in characters."""
        data = to_bytes(text)
        found, tokens = self._spans_of(self._fragments, self._strict, data, foreign=foreign), self._tokens
        found += self._spans_of(tokens.fragments, tokens.whole, data, foreign=foreign)
        return found if not found or len(data) == len(text) else _in_characters(text, found)

    def _spans_of(self, fragments: Fragments, strict: Set[bytes], data: bytes, *, foreign: bool) -> list[Span]:
        """Where secrets of one index are, in bytes. Those in `strict` count although words make them up."""
        found: list[Span] = []
        if not fragments or not (foreign or _may_hold_secret(fragments, data)):
            return found
        for view in views(data, fragments.shortest, 2 if foreign and len(data) < _DEEP else 1, foreign=foreign):
            if fragments.occur(view.data):
                spans = fragments.find(view.data, foreign=foreign, whole_only=view.is_joined and not foreign)
                origins = [(view.origin(*span), view.data[slice(*span)]) for span in spans]
                found += [
                    span
                    for span, piece in origins
                    if foreign or not self._is_open(data[slice(*span)] if view.is_joined else piece, strict)
                ]
        return found

    def _is_open(self, piece: bytes, strict: Set[bytes]) -> bool:
        """True for a piece of kvsync's own text made of words that are said openly, unless it is a secret of the operator's."""
        return folded(piece) not in strict and self._open.covers(piece.decode("utf-8", "replace"))

    def redact_data(self, data: Any, name: str | None = None) -> Any:
        """The same for data: mappings, lists, tuples, sets, text and bytes, recursively, by value and by the name of the
        field (`name` is that of `data` itself). Objects of other types become text."""
        texts: set[str] = set()
        if _collect(data, name, texts) and self._is_clean(texts):
            return data
        return self._redact_data(data, name)

    def _redact_data(self, data: Any, name: str | None = None) -> Any:
        if data is None or isinstance(data, bool):
            return data
        if name is not None and is_secret_name(name):
            return HIDDEN
        if isinstance(data, str):
            return self.redact(data)
        if isinstance(data, Mapping):
            return {self._key(key): self._redact_data(value, str(key)) for key, value in data.items()}
        if isinstance(data, list | tuple | set | frozenset):
            items = [self._redact_data(item) for item in data]
            return tuple(items) if isinstance(data, tuple) else items
        return self._other(data)

    def clean(self, document: Any, name: str | None = None) -> Any:
        """An answer for programs with secrets taken out of every text, except where a field names things openly (`name` is that
        of `document` itself)."""
        texts: set[str] = set()
        _collect_sentences(document, name, texts)
        return document if self._is_clean(texts) else self._clean(document, name)

    def _clean(self, document: Any, name: str | None) -> Any:
        if isinstance(document, dict):
            return {key: self._clean(value, key) for key, value in document.items()}
        if isinstance(document, list | tuple):
            return [self._clean(item, name) for item in document]
        if not isinstance(document, str) or name in _EXACT or _DIGITS.fullmatch(document):
            return document
        return self.redact(document)

    def clean_text(self, document: Any) -> str:
        """An answer for programs as one line of JSON, `clean`."""
        return encode_json(self.clean(document)) + "\n"

    def _is_clean(self, texts: Collection[str]) -> bool:
        """A look at all texts at once: to look at each on its own costs more, and most of them are clean."""
        gather_or_cancel = "\n".join(texts)
        return self.redact(gather_or_cancel) == gather_or_cancel

    def _key(self, key: Any) -> Any:
        return self._redact_data(key) if isinstance(key, str | bytes) else key

    def _other(self, data: Any) -> Any:
        if isinstance(data, bytes | bytearray):
            return self.redact(data.decode("utf-8", "surrogateescape")).encode("utf-8", "surrogateescape")
        text = str(data)
        clean = self.redact(text)
        return data if isinstance(data, int | float) and clean == text else clean


REDACTOR: Final = Redactor()
"""The redactor of this process: credentials and sensitive values are registered here as soon as they are known."""


def _long_parts(secret: str) -> set[str]:
    """The parts of a secret that are long enough to be replaced in text."""
    return {part for part in credential_parts(secret) if len(part) >= SHORTEST}


def _may_hold_secret(fragments: Fragments, data: bytes) -> bool:
    """A quick look, which is all that nearly every text needs."""
    if has_escapes(data) or fragments.occur(data) or fragments.occur(joined(data)):
        return True
    return bool(has_runs(fragments.shortest)(data)) and fragments.occur(decoded(data))


def _collect(data: Any, name: str | None, texts: set[str]) -> bool:
    """Add every text in data, and every number as a text. False for data that does not come back as it is: with what is secret
    by its name, or of other types."""
    if data is None or isinstance(data, bool):
        return True
    if name is not None and is_secret_name(name):
        return False
    if isinstance(data, str | int | float):
        texts.add(str(data))
        return True
    if isinstance(data, dict):
        texts.update(filter(_is_text, data))
        return all(_is_text(key) and _collect(value, key, texts) for key, value in data.items())
    return isinstance(data, list | tuple) and all(_collect(item, None, texts) for item in data)


def _is_text(data: object) -> bool:
    return isinstance(data, str)


def _collect_sentences(document: Any, name: str | None, texts: set[str]) -> None:
    """Add every text in a document that does not name things openly."""
    if isinstance(document, dict):
        for key, value in document.items():
            kind = type(value)
            if kind is str:  # most members of a long document are texts: a call for each would cost most of the time
                if key not in _EXACT:
                    texts.add(value)
            elif value and kind is not int:
                _collect_sentences(value, key, texts)
    elif isinstance(document, list | tuple):
        for item in document:
            _collect_sentences(item, name, texts)
    elif isinstance(document, str) and name not in _EXACT:
        texts.add(document)


def _in_characters(text: str, spans: Iterable[Span]) -> list[Span]:
    """Spans of bytes as spans of the characters that these bytes belong to."""
    ends = list(accumulate(len(to_bytes(char)) for char in text))
    return [(bisect_right(ends, start), bisect_left(ends, end) + 1) for start, end in spans]


def _cover(text: str, spans: Iterable[Span]) -> str:
    """`text` with these spans replaced, those that overlap or touch by one `***`."""
    pieces: list[str] = []
    end = 0
    for start, stop in sorted(spans):
        if start > end or not pieces:
            pieces += [text[end:start], HIDDEN]
        end = max(end, stop)
    return "".join(pieces) + text[end:]
