"""Signed URLs, which grant read access without a token."""

from __future__ import annotations

import base64
import hashlib
import hmac
from typing import Final

_DIGITS: Final = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
_HEX_DIGITS_USED: Final = 30
_VERSION: Final = "0"


def of_record(secret: str, key: str) -> str:
    """The signature of one record: a keyed digest of its key, cut to 30 hex digits, as a number in base 62."""
    digest = hmac.new(secret.encode(), key.encode(), hashlib.sha256).hexdigest()[:_HEX_DIGITS_USED]
    number, digits = int(digest, 16), ""
    while number:
        number, digit = divmod(number, len(_DIGITS))
        digits = _DIGITS[digit] + digits
    return digits or _DIGITS[0]


def of_store(secret: str, store: str, expires: int = 0) -> str:
    """The signature of what a store lists; `expires` in milliseconds since the Unix epoch, 0 is never."""
    signed = of_record(secret, f"{_VERSION}.{expires}.{store}")
    return base64.urlsafe_b64encode(f"{_VERSION}.{expires}.{signed}".encode()).decode().rstrip("=")


def opens_record(signature: str, secret: str, key: str) -> bool:
    """Whether a signature is that of a record."""
    return hmac.compare_digest(signature.encode(), of_record(secret, key).encode())


def opens_store(signature: str, secret: str, store: str, now: float) -> bool:
    """Whether a signature is that of a store, and has not expired."""
    try:
        decoded = base64.urlsafe_b64decode(signature + "=" * (-len(signature) % 4)).decode()
        expires = int(decoded.split(".")[1])
    except (ValueError, IndexError):
        return False
    expected = of_store(secret, store, expires)
    return hmac.compare_digest(signature.rstrip("=").encode(), expected.encode()) and (
        not expires or now * 1000 < expires
    )
