"""Content encodings: a record is kept as it was uploaded, and decoded for readers who do not accept its encoding."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable, Mapping
from typing import Final

import brotli

from kvsync.emulators.apify.problems import UNSUPPORTED_ENCODING, Refused


def named(header: str) -> str:
    """The encoding that a `Content-Encoding` names, "" for none. Raises Refused (415) for one that is not known."""
    encoding = header.strip().lower()
    if encoding in ("", "identity"):
        return ""
    if encoding not in _DECODERS:
        raise Refused(UNSUPPORTED_ENCODING)
    return encoding


def accepted(header: str, encoding: str) -> bool:
    """Whether a reader with this `Accept-Encoding` takes an encoding."""
    if not encoding:
        return True
    wishes = {}
    for part in header.lower().split(","):
        name, _, quality = part.partition(";")
        wishes[name.strip()] = quality.replace(" ", "").removeprefix("q=") not in ("0", "0.0", "0.00", "0.000")
    return wishes.get(encoding, wishes.get("*", False))


def decode(body: bytes, encoding: str) -> bytes:
    """The bytes without their encoding. Raises ValueError when they do not have it."""
    if not encoding:
        return body
    try:
        return _DECODERS[encoding](body)
    except (OSError, EOFError, zlib.error, brotli.error) as error:
        raise ValueError(f"not {encoding}: {error}") from None


def _inflate(body: bytes) -> bytes:
    """`deflate` is zlib's format by the standard, and the bare stream in what some programs send."""
    try:
        return zlib.decompress(body)
    except zlib.error:
        return zlib.decompress(body, -zlib.MAX_WBITS)


_DECODERS: Final[Mapping[str, Callable[[bytes], bytes]]] = {
    "gzip": gzip.decompress,
    "deflate": _inflate,
    "br": brotli.decompress,
}
