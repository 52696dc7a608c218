"""Recognizes secrets by context: field names, bearer tokens, passwords in URLs, tokens in queries."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from kvsync.util.patterns import lazy_pattern

HIDDEN: Final = "***"
"""What stands in place of a secret."""

_NAMES: Final = lazy_pattern(
    r"(?:^|[_.\- ])(?:token|password|passwd|secret|authorization|credentials?|cookie|signature|connection[_-]?string|"
    r"(?:api|private|access|account)[_-]?key)$"
)
_CAMEL: Final = lazy_pattern(r"(?<=[a-z0-9])(?=[A-Z])")
_BEARER: Final = lazy_pattern(r"(?i)(\bbearer )[\w.~+/=-]{8,}")
_PASSWORD: Final = lazy_pattern(r"(://[^/\s:@]*:)[^/\s@]+(?=@)")
_QUERY: Final = lazy_pattern(r"(?i)([?&](?:access_token|token|api[_-]?key|password|secret|sig|signature)=)[^&\s\"'#]+")


@lru_cache(maxsize=4096)
def is_secret_name(name: str) -> bool:
    """True for the name of a field that holds a secret: `token`, `client_secret`, `X-Api-Key`, `accessToken`."""
    return _NAMES.search(_CAMEL.sub("_", name).lower()) is not None


def hide_places(text: str) -> str:
    """`text` with what is secret by its place replaced. The looks before each pattern save most of the time."""
    if "earer " in text or "EARER " in text:
        text = _BEARER.sub(rf"\1{HIDDEN}", text)
    if "@" in text and "://" in text:
        text = _PASSWORD.sub(rf"\1{HIDDEN}", text)
    if "=" in text and ("?" in text or "&" in text):
        text = _QUERY.sub(rf"\1{HIDDEN}", text)
    return text
