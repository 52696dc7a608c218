"""Validation of parameters and values."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from kvsync.emulators.voximplant.calls import Call
from kvsync.emulators.voximplant.errors import Refused

LONGEST_KEY: Final = 200  # characters
LONGEST_VALUE: Final = 2000  # characters
LONGEST_TTL: Final = 90 * 86_400  # seconds
DEFAULT_TTL: Final = 30 * 86_400  # seconds
LARGEST_PAGE: Final = 50
_USUAL_PAGE: Final = 10
_KEY: Final = re.compile(r"[a-zA-Z0-9а-яА-ЯёЁ_\-:;.#+]*")


def key(call: Call) -> str:
    """The key. Raises Refused."""
    return _checked(call.need("key"))


def pattern(call: Call, *, required: bool) -> str:
    """What listed keys have in common; "" is nothing. Raises Refused."""
    return _checked(call.need("key") if required else call.get("key") or "")


def value(call: Call, *, may_be_empty: bool) -> str:
    """The value. Raises Refused."""
    if "value" not in call.parameters:
        raise Refused(485, "value")
    found = call.parameters["value"]
    if not found and not may_be_empty:
        raise Refused(134, "value")
    if len(found) > LONGEST_VALUE:
        raise Refused(477, "value", LONGEST_VALUE)
    return found


def end(call: Call, choices: Mapping[str, str], now: int) -> int:
    """When what is written ends, in whole seconds since the Unix epoch. Raises Refused."""
    ttl, moment = call.number("ttl"), call.number("expires_at")
    if ttl is not None and moment is not None:
        if choices["both-ends"] == "error":
            raise Refused(458, "ttl, expires_at")
        ttl, moment = (ttl, None) if choices["both-ends"] == "ttl" else (None, moment)
    if moment is not None:
        return now + _within("expires_at", moment - now, 1, choices, now)
    if ttl == 0:
        return _zero(choices["ttl-zero"], now)
    return now + _within("ttl", DEFAULT_TTL if ttl is None else ttl, 0, choices)


def page(call: Call, *, capped: bool) -> tuple[int, int]:
    """Offset and size of the page. Raises Refused."""
    count, offset = call.number("count"), call.number("offset") or 0
    count = _USUAL_PAGE if count is None else count
    if count < 1 or (count > LARGEST_PAGE and not capped):
        raise Refused(497, "count", 1, LARGEST_PAGE)
    if offset < 0:
        raise Refused(496, "offset")
    return offset, min(count, LARGEST_PAGE)


def _checked(text: str) -> str:
    if len(text) > LONGEST_KEY:
        raise Refused(477, "key", LONGEST_KEY)
    if not _KEY.fullmatch(text):
        raise Refused(496, "key")
    return text


def _zero(choice: str, now: int) -> int:
    if choice == "error":
        raise Refused(497, "ttl", 1, LONGEST_TTL)
    return now if choice == "ended" else now + DEFAULT_TTL


def _within(name: str, ttl: int, least: int, choices: Mapping[str, str], now: int = 0) -> int:
    """So many seconds from now, if that is not too soon; too late may be capped. Raises Refused."""
    if ttl < least or (ttl > LONGEST_TTL and choices["ttl-limit"] == "error"):
        raise Refused(497, name, now + least, now + LONGEST_TTL)
    return min(ttl, LONGEST_TTL)
