"""Paged listing of the keys of a namespace."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

from kvsync.emulators.cloudflare.checks import check_name, parse, refusal
from kvsync.emulators.cloudflare.contents import Contents, View
from kvsync.emulators.cloudflare.envelope import done
from kvsync.emulators.cloudflare.model import Pair
from kvsync.emulators.model import Answer, Request

_FEWEST, _MOST = 10, 1_000
_INVALID: Final = 10001
OPERATION: Final = "list keys"


@dataclass(frozen=True, slots=True)
class Listing:
    """Answers `…/keys`. With `gaps`, keys that are gone still take up room, so that pages come out short, or empty."""

    gaps: bool

    def page(self, namespace: str, contents: Contents, view: View, request: Request) -> Answer:
        """One page, with the cursor of the next one where there is, or may be, one."""
        asked = dict(request.query)
        limit, prefix = _limit(asked.get("limit", str(_MOST))), asked.get("prefix", "")
        if prefix not in ("", ".", ".."):
            check_name(OPERATION, prefix, 414)
        after = _last_seen(asked.get("cursor", ""), namespace)
        steps = contents.steps(prefix, after, view)
        if self.gaps:
            taken = list(islice(steps, limit))
        else:
            taken = list(islice(((name, pair) for name, pair in steps if pair is not None), limit + 1))
        more = len(taken) == limit if self.gaps else len(taken) > limit
        shown = [_key(name, pair) for name, pair in taken[:limit] if pair is not None]
        cursor = _cursor(namespace, taken[limit - 1][0]) if more else ""
        return done(shown, {"count": len(shown), "cursor": cursor})


def _key(name: str, pair: Pair) -> dict[str, Any]:
    key: dict[str, Any] = {"name": name}
    if pair.expiration is not None:
        key["expiration"] = pair.expiration
    if pair.metadata is not None:
        key["metadata"] = pair.metadata
    return key


def _limit(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and _FEWEST <= int(text) <= _MOST):
        raise refusal(OPERATION, 400, _INVALID, f"Invalid limit of {text}. It is a number from {_FEWEST} to {_MOST}.")
    return int(text)


def _cursor(namespace: str, last: str) -> str:
    return base64.urlsafe_b64encode(json.dumps([namespace, last]).encode()).decode().rstrip("=")


def _last_seen(cursor: str, namespace: str) -> str:
    """The key that the page before ended with; the keys around it may have come and gone since."""
    if not cursor:
        return ""
    try:
        read = parse(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except ValueError:
        read = None
    match read:
        case [of, str(last)] if of == namespace:
            return last
    raise refusal(OPERATION, 400, _INVALID, "Invalid cursor")
