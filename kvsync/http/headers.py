"""Headers as kvsync sends and receives them: text by name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from kvsync.errors import PermanentError


def checked_headers(headers: Mapping[str, str]) -> Mapping[str, str]:
    """The headers. Raises PermanentError if HTTP cannot carry them."""
    text = "".join([*headers, *headers.values()])
    if text.isascii() and text.isprintable():
        return headers
    raise PermanentError("a header contains characters that HTTP cannot carry; check the credential")


def headers_by_name(raw: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """Headers by lower-case name; several of one name are joined by commas."""
    headers: dict[str, str] = {}
    for name, value in raw:
        key, text = name.decode("latin-1").lower(), value.decode("latin-1")
        headers[key] = f"{headers[key]}, {text}" if key in headers else text
    return headers
