"""Validation of writes. Error messages name the operation as the service does: `put: 'Invalid expiration of 5. …'`."""

from __future__ import annotations

import json
import re
from typing import Any, Final

from kvsync.emulators.cloudflare.envelope import Refused, dump, refused
from kvsync.emulators.cloudflare.model import LARGEST_KEY, LARGEST_METADATA, LARGEST_VALUE, SHORTEST_TTL

# Codes that the service's documentation groups under limits; which is which is not published.
_LONG_KEY, _LARGE_VALUE, _LARGE_METADATA = 10022, 10024, 10030
MALFORMED: Final = 10012
_DIGITS: Final = re.compile(r"-?[0-9]{1,15}(\.0*)?")  # clients in languages without integers send 60.0


def refusal(operation: str, status: int, code: int, text: str) -> Refused:
    """A refusal in the service's tone."""
    return refused(status, code, f"{operation}: '{text}'")


def read_json(operation: str, body: bytes) -> Any:
    """The JSON in a body. Raises Refused."""
    try:
        return parse(body)
    except ValueError:
        raise refusal(operation, 400, MALFORMED, "could not parse the request body as JSON") from None


def parse(text: bytes) -> Any:
    """Strict JSON. Raises ValueError."""
    try:
        return json.loads(text.decode(), parse_constant=_no_constant)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def check_name(operation: str, name: str, status: int = 400) -> str:
    """The name of a key, if it may be one; too long a name has a status of its own."""
    if not name:
        raise refusal(operation, 400, MALFORMED, "Key names must not be empty")
    if name in (".", ".."):
        raise refusal(operation, 400, MALFORMED, f'Illegal key name "{name}". Please use a different name.')
    if (size := _size(operation, name)) > LARGEST_KEY:
        text = f"UTF-8 encoded length of {size} exceeds key length limit of {LARGEST_KEY}."
        raise refusal(operation, status, _LONG_KEY, text)
    return name


def check_value(operation: str, value: bytes) -> bytes:
    """The value, if it is not too large."""
    if len(value) > LARGEST_VALUE:
        text = f"Value length of {len(value)} exceeds limit of {LARGEST_VALUE}."
        raise refusal(operation, 413, _LARGE_VALUE, text)
    return value


def check_metadata(operation: str, metadata: Any) -> Any:
    """The metadata, if it is not too large."""
    if metadata is None:
        return None
    try:
        size = len(dump(metadata))
    except UnicodeEncodeError:
        raise refusal(operation, 400, MALFORMED, "metadata is not valid UTF-8") from None
    if size > LARGEST_METADATA:
        raise refusal(
            operation, 413, _LARGE_METADATA, f"Metadata length of {size} exceeds limit of {LARGEST_METADATA}."
        )
    return metadata


def encode(operation: str, text: str) -> bytes:
    """A text of a JSON document as UTF-8; half a surrogate pair has none. Raises Refused."""
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise refusal(operation, 400, MALFORMED, "the request body holds text that is not valid UTF-8") from None


def expiry(operation: str, ttl: Any, expiration: Any, now: float) -> int | None:
    """When it ends, in whole seconds since the Unix epoch; None is never, and the TTL wins. Raises Refused."""
    if ttl is not None:
        seconds = _whole(ttl)
        if seconds is None or seconds <= 0:
            text = f"Invalid expiration_ttl of {ttl}. Please specify integer greater than 0."
            raise refusal(operation, 400, 10034, text)
        if seconds < SHORTEST_TTL:
            text = f"Invalid expiration_ttl of {ttl}. Expiration TTL must be at least {SHORTEST_TTL}."
            raise refusal(operation, 400, 10034, text)
        return int(now) + seconds
    return None if expiration is None else _moment(operation, expiration, int(now))


def _moment(operation: str, expiration: Any, now: int) -> int:
    moment = _whole(expiration)
    advice = ""
    if moment is None or moment <= now:
        advice = "Please specify integer greater than the current number of seconds since the UNIX epoch."
    elif moment < now + SHORTEST_TTL:
        advice = f"Expiration times must be at least {SHORTEST_TTL} seconds in the future."
    if moment is None or advice:
        raise refusal(operation, 400, 10033, f"Invalid expiration of {expiration}. {advice}")
    return moment


def _whole(number: Any) -> int | None:
    """A whole number, as JSON or as a query has it; None for anything else."""
    if isinstance(number, str):
        return int(float(number)) if _DIGITS.fullmatch(number) else None
    if isinstance(number, float):
        return int(number) if number.is_integer() else None
    return number if isinstance(number, int) and not isinstance(number, bool) else None


def _size(operation: str, name: str) -> int:
    return len(encode(operation, name))


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")
