"""Sends a message to a webhook whose URL is a secret."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final
from urllib.parse import urlsplit

from kvsync.config.model import ChannelConfig, Credential, NoticeFormat
from kvsync.config.values import is_plain_http
from kvsync.errors import PermanentError, StoreError
from kvsync.http.client import Client
from kvsync.http.client_options import ClientLimits, ClientOptions
from kvsync.http.model import Request, Response
from kvsync.model.health import Traffic
from kvsync.status.http.hooks import standard_signature
from kvsync.status.http.shared_secret import Secret
from kvsync.util.clock import Clock
from kvsync.util.redaction import Redactor

_SECRET_FROM: Final = 12
"""Characters from which a path is taken for a secret of its own: that of Slack has 60."""


class WebhookSender:
    """Posts to one receiver. `where` names it in messages; `resolve` reads a reference again at each message."""

    def __init__(
        self, where: str, config: ChannelConfig, resolve: Callable[[Credential], str], redactor: Redactor, clock: Clock
    ) -> None:
        self._where, self._config, self._resolve = where, config, resolve
        self._redactor, self._clock = redactor, clock
        self._client: Client | None = None

    def address(self) -> tuple[str, str]:
        """Scheme and host, and the rest, of where messages go. Raises AuthError when the reference cannot be read,
        PermanentError when what it gives is not an address to post to; neither repeats it."""
        url = self._resolve(self._config.url)
        wrong = _wrong_with(url, allow_insecure=self._config.allow_insecure)
        if wrong is not None:
            raise PermanentError(f"{self._where}.url: {wrong}")
        parts = urlsplit(url)
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        if len(target) >= _SECRET_FROM:
            self._redactor.register(target)
        return f"{parts.scheme}://{parts.netloc}", target

    async def send(self, id_: str, body: bytes) -> None:
        """Post one message. Raises StoreError when it was not, or perhaps not, taken."""
        origin, target = self.address()
        headers = {"Content-Type": "application/json", **self._signed(id_, body)}
        call = Request("POST", target, "the notification", headers, body, expects=range(200, 300))
        await (await self._to(origin)).send(call)

    def check(self) -> None:
        """See that all references can be read and used, and send nothing. Raises StoreError."""
        self.address()
        self._signed("msg_0", b"")

    async def aclose(self) -> None:
        """Close the connection. Idempotent."""
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    def _signed(self, id_: str, body: bytes) -> dict[str, str]:
        if self._config.secret is None or self._config.format is NoticeFormat.SLACK:
            return {}
        what, moment = f"{self._where}.secret", str(int(self._clock.now()))
        signature = standard_signature(Secret(self._config.secret, self._resolve, what).text(), id_, moment, body)
        if signature is None:
            raise PermanentError(f"{what}: it starts with whsec_, but the rest is not base64")
        return {"webhook-id": id_, "webhook-timestamp": moment, "webhook-signature": signature}

    async def _to(self, origin: str) -> Client:
        if self._client is None or self._client.origin != origin:
            await self.aclose()
            limits = ClientLimits(timeout=self._config.timeout, concurrency=1)
            self._client = Client(
                self._where, origin, self._clock, Traffic(), ClientOptions(limits=limits, error_mapper=self._map_error)
            )
        return self._client

    def _map_error(self, _call: Request, answer: Response) -> StoreError | None:
        if answer.status in (401, 403, 404, 410):
            message = f"status {answer.status}; check that its url still accepts messages"
            return PermanentError(f"{self._where}: the notification was refused: {message}")
        return None


def _wrong_with(url: str, *, allow_insecure: bool) -> str | None:
    """What keeps an address from being posted to. The text quotes nothing of the address, which may hold a secret."""
    try:
        parts = urlsplit(url)
        named = parts.scheme in ("http", "https") and parts.hostname and (parts.port is None or parts.port > 0)
    except ValueError:
        named = False
    if not named or not url.isascii() or not url.isprintable() or " " in url:
        return "it does not contain a URL such as https://HOST/PATH"
    if "@" in parts.netloc:
        return "the URL contains a user or password; use one without"
    if is_plain_http(url) and not allow_insecure:
        return "plain http:// can be read by others on the network; use https://, or set allow_insecure: true"
    return None
