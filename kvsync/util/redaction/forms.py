"""Forms of a secret: what is secret inside it, how it may be written, and its bytes."""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import Iterable, Iterator
from typing import Final
from urllib.parse import parse_qsl, unquote, urlsplit

from kvsync.util.escaping import to_bytes
from kvsync.util.patterns import lazy_pattern
from kvsync.util.redaction.fragments import WINDOW
from kvsync.util.redaction.secret_names import is_secret_name
from kvsync.util.redaction.separators import joined

_SHORTEST_LINE: Final = 16

_OPEN: Final = frozenset({"endpoint", "url", "host", "server", "address"})
"""Parts of a connection string that are not secret, by name in lower case."""

_VARIED: Final = 65_536
"""Bytes of a secret up to which it is recognised written backwards and without its own separators."""


def secret_text(secret: str | bytes) -> str:
    """The secret as text; bytes that are not UTF-8 become lone surrogates."""
    return secret if isinstance(secret, str) else secret.decode("utf-8", "surrogateescape")


_DATABASE: Final = lazy_pattern(r"postgres(ql)?://")


def credential_parts(credential: str) -> Iterable[str]:
    """Yield the secret parts of a credential. In a connection string that is everything except the address, which messages
    name."""
    if _DATABASE.match(credential):
        yield from _database_parts(credential)
        return
    pairs = [pair.partition("=") for pair in credential.split(";")]
    if not any(name.strip().lower() in _OPEN for name, _, _ in pairs):
        yield from secret_parts(credential)
        return
    for name, equals, value in pairs:
        if name.strip().lower() not in _OPEN:
            yield from secret_parts(value if equals else name)
            yield from _signing_key(value)


def _database_parts(url: str) -> Iterator[str]:
    """The passwords in the URL of a database, as written and as meant."""
    parts = urlsplit(url)
    user_info, at, _ = parts.netloc.rpartition("@")
    _, colon, password = user_info.partition(":")
    written = [password] if at and colon else []
    written += [value for name, value in parse_qsl(parts.query) if is_secret_name(name)]
    for one in written:
        yield from (one, unquote(one))


def _signing_key(value: str) -> Iterator[str]:
    """The key that a part of a connection string represents in base64: the server knows it, and may show it as it is."""
    try:
        key = b64decode(value, validate=True)
    except ValueError:
        return
    if len(key) >= WINDOW:
        yield secret_text(key)


def secret_parts(secret: str) -> Iterable[str]:
    """The secret, and what is secret on its own inside it."""
    yield secret
    yield secret.strip()
    lines = [line.strip() for line in secret.splitlines()]
    if len(lines) > 1:
        yield from (line for line in lines if len(line) >= _SHORTEST_LINE and not line.startswith("-----"))
    if secret.lstrip().startswith("{"):
        yield from _json_parts(secret)
    for pair in secret.split(";"):
        name, equals, value = pair.partition("=")
        if equals and is_secret_name(name.strip()):
            yield value.strip()


def _json_parts(secret: str) -> Iterable[str]:
    try:
        data = json.loads(secret)
    except (ValueError, RecursionError):
        return
    for name, value in data.items():
        if isinstance(value, str) and is_secret_name(name):
            yield from secret_parts(value)


def secret_forms(secret: str) -> set[bytes]:
    """The bytes that a secret may be written in: as it is, backwards and without its separators, in every encoding."""
    return {form for variant in _variants(secret) for form in _encoded(variant)}


def _variants(secret: str) -> set[str]:
    """The secret as it is, without its separators, and both backwards."""
    if len(secret) > _VARIED:
        return {secret}
    bare = joined(to_bytes(secret)).decode("utf-8", "surrogateescape")
    forward = {secret, bare} if len(bare) >= WINDOW else {secret}
    return forward | {variant[::-1] for variant in forward}


def _encoded(secret: str) -> Iterator[bytes]:
    """The bytes that a secret has in the encodings of characters that are in use."""
    yield to_bytes(secret)
    if secret.isascii():
        return
    for encoding in ("utf-16-le", "utf-16-be", "latin-1"):
        try:
            yield secret.encode(encoding)
        except UnicodeEncodeError:
            continue
    yield to_bytes(to_bytes(secret).decode("latin-1"))  # taken for Latin-1, as in headers of HTTP
