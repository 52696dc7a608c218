"""Webhook `POST /hooks/reconcile`: authentication and parsing of push events.

What proves that a request comes from one who knows the secret, each compared in constant time:

    header                                    from
    ───────────────────────────────────────   ──────────────────────────────────────────────────────────────────────────
    X-Hub-Signature-256: sha256=HEX           GitHub, Gitea, Forgejo: HMAC-SHA256 of the body
    webhook-signature: v1,BASE64 …            GitLab's signing token, Standard Webhooks: HMAC-SHA256 of ID.TIME.BODY, with
                                              webhook-id and webhook-timestamp at most five minutes off
    X-Gitlab-Token: SECRET                    GitLab's secret token
    Authorization: Bearer SECRET,             anybody else
    X-Kvsync-Token: SECRET

All that a request can do is to make the daemon look, which it does anyway now and then: a replayed one does no harm. A
delivery whose id was seen before is not looked at again all the same.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import re
from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from hashlib import blake2b
from typing import Any, Final
from urllib.parse import parse_qs

from kvsync.status.http.shared_secret import Secret
from kvsync.util.clock import Clock
from kvsync.util.escaping import to_bytes

GAP = 2.0
"""Seconds between two passes that hooks cause, at least; those that come in between are one, at the end."""

TOLERANCE: Final = 300.0
"""Seconds by which the clock of a sender may differ."""

_MOMENT: Final = re.compile("[0-9]{1,15}")
_DELIVERIES: Final = 1024
_HEADS: Final = "refs/heads/"
_SIGNATURES: Final = ("x-hub-signature-256", "webhook-signature", "x-gitlab-token", "x-kvsync-token", "authorization")


@dataclass(frozen=True, slots=True)
class Hook:
    """One request to the hook. `headers` have names in lower case."""

    headers: Mapping[str, str]
    body: bytes

    @property
    def delivery(self) -> str | None:
        """The sender's id of it, the same when it is sent again."""
        names = ("webhook-id", "idempotency-key", "x-github-delivery", "x-gitea-delivery")
        id_ = next((self.headers[name] for name in names if self.headers.get(name)), None)
        if id_ is None and (event := self.headers.get("x-gitlab-event-uuid")):
            # GitLab gives what an event sets off, another push perhaps, the same UUID.
            return f"{event[:100]}/{blake2b(self.body, digest_size=16).hexdigest()}"
        return id_

    @property
    def sender(self) -> str:
        """What kind of sender it is, by its headers."""
        kinds = {"x-github-event": "github", "x-gitlab-event": "gitlab", "x-gitea-event": "gitea"}
        return next((kind for name, kind in kinds.items() if name in self.headers), "token")

    @property
    def event(self) -> str:
        """What happened there, in the sender's word; empty for other senders."""
        names = ("x-github-event", "x-gitlab-event", "x-gitea-event")
        return next((self.headers[name] for name in names if name in self.headers), "").lower()

    def ref(self) -> str | None:
        """What was pushed, such as `refs/heads/main`; None when it was no push. Raises ValueError for what is not JSON."""
        if "push" not in self.event:
            return None
        text = self.body.decode()
        if self.headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
            text = parse_qs(text).get("payload", [""])[0]
        data: Any = json.loads(text)
        ref = data.get("ref") if isinstance(data, dict) else None
        return ref if isinstance(ref, str) else None


def is_signed_at_all(headers: Mapping[str, str]) -> bool:
    """True when a request (names of headers in lower case) tries to prove anything, so that its body is worth reading."""
    return any(headers.get(name) for name in _SIGNATURES)


def is_genuine(hook: Hook, secret: Secret, shown: str | None, now: float) -> bool:
    """True when the sender knows the secret. `shown` is the bearer token. Raises KvsyncError when the secret cannot be read."""
    headers = hook.headers
    if signature := headers.get("x-hub-signature-256"):
        return _same(signature, "sha256=" + hmac.digest(secret.text().encode(), hook.body, "sha256").hex())
    if signature := headers.get("webhook-signature"):
        return _is_standard(hook, signature, secret.text(), now)
    plain = headers.get("x-gitlab-token") or headers.get("x-kvsync-token") or shown
    return plain is not None and secret.matches(plain)


def is_wanted(hook: Hook, branches: tuple[str, ...]) -> bool:
    """False for what asks for nothing: a ping, and, where there are `branches`, anything but a push to one of them. Raises
    ValueError for a body that cannot be read."""
    if hook.event == "ping":
        return False
    if not branches or hook.sender == "token":
        return True
    ref = hook.ref()
    if ref is None or not ref.startswith(_HEADS):
        return False
    return any(fnmatchcase(ref.removeprefix(_HEADS), glob) for glob in branches)


class Deliveries:
    """The last ids of deliveries."""

    def __init__(self) -> None:
        self._seen: OrderedDict[str, None] = OrderedDict()

    def is_new(self, delivery: str | None) -> bool:
        """Note an id; False when it was noted before. What has no id is always new."""
        if delivery is None:
            return True
        delivery = delivery[:200]
        if delivery in self._seen:
            return False
        self._seen[delivery] = None
        if len(self._seen) > _DELIVERIES:
            self._seen.popitem(last=False)
        return True


class Debouncer:
    """Rate-limits a callback: the first call runs at once, later calls are coalesced to at most one per `GAP` seconds."""

    def __init__(self, let_through: Callable[[], None], clock: Clock) -> None:
        self._let_through, self._clock = let_through, clock
        self._closed_until = float("-inf")
        self._later: asyncio.Task[None] | None = None

    def request(self) -> None:
        """Request one more call."""
        if self._later is not None:
            return
        left = self._closed_until - self._clock.monotonic()
        if left <= 0:
            self._open()
        else:
            self._later = asyncio.create_task(self._wait(left))

    async def aclose(self) -> None:
        """Forget what waits."""
        if self._later is not None:
            self._later.cancel()
            await asyncio.gather(self._later, return_exceptions=True)

    def _open(self) -> None:
        self._closed_until = self._clock.monotonic() + GAP
        self._let_through()

    async def _wait(self, seconds: float) -> None:
        await self._clock.sleep(seconds)
        self._later = None
        self._open()


def standard_signature(secret: str, id_: str, moment: str, body: bytes) -> str | None:
    """What stands in `webhook-signature` when a message of that id is sent at `moment` (epoch seconds, whole), as Standard
    Webhooks have it; None when the secret begins as a signing token does and is none."""
    key = _key(secret)
    if key is None:
        return None
    signed = hmac.digest(key, to_bytes(f"{id_}.{moment}.") + body, "sha256")
    return "v1," + b64encode(signed).decode()


def _is_standard(hook: Hook, signatures: str, secret: str, now: float) -> bool:
    id_, moment = hook.headers.get("webhook-id", ""), hook.headers.get("webhook-timestamp", "")
    if not id_ or not _MOMENT.fullmatch(moment) or abs(now - int(moment)) > TOLERANCE:
        return False
    wanted = standard_signature(secret, id_, moment, hook.body)
    if wanted is None:
        return False
    return any(_same(signature, wanted) for signature in signatures.split()[:10])


def _key(secret: str) -> bytes | None:
    """The key that a signing token represents: what is in base64 after `whsec_`, else the text itself."""
    if not secret.startswith("whsec_"):
        return secret.encode()
    try:
        return b64decode(secret.removeprefix("whsec_"), validate=True)
    except (Base64Error, ValueError):
        return None


def _same(given: str, wanted: str) -> bool:
    return hmac.compare_digest(to_bytes(given), wanted.encode())
