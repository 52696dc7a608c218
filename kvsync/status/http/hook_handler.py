"""HTTP handler for the reconcile webhook."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from aiohttp import web

from kvsync.logs import get_logger
from kvsync.status.http.access import Access, bearer
from kvsync.status.http.answers import answer, failure
from kvsync.status.http.body import body_of
from kvsync.status.http.hooks import Debouncer, Deliveries, Hook, is_genuine, is_signed_at_all, is_wanted
from kvsync.status.http.shared_secret import Secret
from kvsync.util.clock import Clock

HOOK_PATH: Final = "/hooks/reconcile"

_UNREADABLE: Final = (
    "the body of a push is a JSON object with a ref, either with Content-Type: application/json,"
    " or in the field payload of a form"
)

_log = get_logger()


class HookHandler:
    """Authenticates webhook requests and starts a pass for those that concern the state files. `secret` and `branches` can
    change while the server runs; without a secret, all requests are refused."""

    def __init__(self, access: Access, clock: Clock, trigger: Callable[[], None], count: Callable[[str], None]) -> None:
        self.secret: Secret | None = None
        self.branches: tuple[str, ...] = ()
        self._access, self._clock, self._count = access, clock, count
        self._deliveries, self._valve = Deliveries(), Debouncer(trigger, clock)

    async def handle(self, request: web.Request) -> web.Response:
        """Answer a request to the hook: 202 for the right secret, with the result."""
        headers = {name.lower(): value for name, value in request.headers.items()}
        if self.secret is None:
            return self._refused(request, 403, "set run.hook in kvsync.yaml to start passes over HTTP", "no webhook")
        if not is_signed_at_all(headers):
            return self._refused(request, 401, "a secret or a signature is required", "signature is missing")
        hook = Hook(headers, await body_of(request))
        if not is_genuine(hook, self.secret, bearer(request), self._clock.now()):
            return self._refused(request, 401, "the secret or the signature is wrong", "signature is wrong")
        return self._taken(hook)

    def request(self) -> None:
        """Request a pass without a webhook, at the same rate."""
        self._valve.request()

    async def aclose(self) -> None:
        """Forget what waits."""
        await self._valve.aclose()

    def _taken(self, hook: Hook) -> web.Response:
        try:
            is_wanted_here = is_wanted(hook, self.branches)
        except (ValueError, RecursionError):
            return self._counted(hook, "unreadable", failure(400, _UNREADABLE))
        if not is_wanted_here:
            return self._counted(hook, "ignored")
        if not self._deliveries.is_new(hook.delivery):
            return self._counted(hook, "duplicate")
        self._valve.request()
        return self._counted(hook, "accepted")

    def _counted(self, hook: Hook, result: str, response: web.Response | None = None) -> web.Response:
        self._count(result)
        _log.debug("hook.received", sender=hook.sender, delivery=hook.delivery, result=result)
        return response or answer({"result": result}, 202)

    def _refused(self, request: web.Request, status: int, message: str, reason: str) -> web.Response:
        self._count("refused")
        return self._access.denied(request, failure(status, message), reason)
