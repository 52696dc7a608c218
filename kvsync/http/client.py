"""API client: authentication, rate limits, retries, and error handling."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from random import Random
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from kvsync.errors import NotLeader, PermanentError, StoreError, TransientError
from kvsync.http.client_options import ClientOptions
from kvsync.http.clock_skew import set_store_clock
from kvsync.http.failures import NOT_JSON, cleaned, excerpt, failure, unanswered
from kvsync.http.model import (
    AnswerTooLongError,
    NotAnsweredError,
    Request,
    Response,
    StaleCredentialError,
)
from kvsync.http.rate_limits import RetryBudget
from kvsync.http.request_limiter import RequestLimiter
from kvsync.model.health import Traffic
from kvsync.util.backoff import BackoffPolicy
from kvsync.util.clock import Clock
from kvsync.util.gc_pause import gc_paused
from kvsync.util.waits import WAITS, reason_after, waiting_place

if TYPE_CHECKING:
    from kvsync.http.transport import Transport

_ATTEMPTS: Final = 8
_PAUSES: Final = BackoffPolicy(base=0.1, cap=5.0)
"""Pauses before a read is repeated."""


class Client:
    """Sends requests to the API at `base` (scheme, host, port). `label` names the store in messages. Connects on first use.
    Raises PermanentError if `base` is not a URL."""

    def __init__(
        self,
        label: str,
        base: str,
        clock: Clock,
        traffic: Traffic,
        options: ClientOptions | None = None,
    ) -> None:
        options = options or ClientOptions()
        self.label, self.origin = label, _origin(label, base)
        self._clock, self._traffic, self._read_only = clock, traffic, options.read_only
        self._fence, self._route = options.fence, options.route
        self._repeats_reads = options.repeats_reads
        self._credentials, self._error_mapper = options.credentials, options.error_mapper
        self._limits, self._session = options.limits, options.session
        self._limiter = RequestLimiter(options, options.account or self.origin, clock)
        self._budget, self._rng = RetryBudget(), Random()  # noqa: S311 - spreads load
        self._flights = asyncio.Semaphore(self._limits.concurrency)
        self._transport: Transport | None = None
        self._host = ""

    async def send(self, call: Request, *, once: bool = False) -> Response:
        """Send a request. A read is retried within limits, unless it is to be sent `once`. A write is sent again only if the
        server refused its credential and there is a newer one, because the refused write did nothing. Raises StoreError for
        every response that the request does not expect."""
        if call.writes and self._read_only:
            raise PermanentError(f"{self.label}: opened for reading only; {call.what} was not sent")
        if self._repeats_reads and not once and not call.writes:
            return await self._repeat(call)
        with self._failure_noted():
            for is_first in (True, False):
                with waiting_place(self.label):
                    await self._limiter.take(call)
                async with self._flights:
                    transport, session = self._open_transport(), self._session_headers()
                    signed = await self._credentials.sign(call, self._host) if self._credentials is not None else {}
                    headers = {**call.headers, **session, **signed}
                    # Asked last: the leader may have changed during every wait before.
                    seconds, sent_at = self._seconds_for(call), self._clock.monotonic()
                    try:
                        answer = await transport.exchange(call, headers, seconds)
                    except StoreError as failed:
                        self._explain(call, failed)
                        raise
                self._observe(call, answer, sent_at)
                error = self._error_mapper(call, answer) if self._error_mapper is not None else None
                if not (is_first and await self._has_newer_credential(answer, error, signed)):
                    break
            return self._checked(call, answer, error)

    async def aclose(self) -> None:
        """Close the connections. Idempotent."""
        transport, self._transport = self._transport, None
        if transport is not None:
            await transport.aclose()

    async def _repeat(self, call: Request) -> Response:
        ends = self._clock.monotonic() + 2 * self._limits.timeout
        for attempt in range(_ATTEMPTS):
            try:
                answer = await self.send(call, once=True)
            except AnswerTooLongError:
                raise
            except TransientError as error:
                pause = _PAUSES.delay(attempt + 1, self._rng, error.retry_after)
                is_late = self._clock.monotonic() + pause > ends
                if attempt + 1 == _ATTEMPTS or is_late or not self._budget.spend():
                    raise
                until, reason = self._clock.monotonic() + pause, reason_after(error.retry_after)
                with waiting_place(self.label), WAITS.shown(reason, until, self._clock):
                    await self._clock.sleep(pause)
            else:
                self._budget.record_success()
                return answer
        raise AssertionError("the last attempt returns or raises")

    def _session_headers(self) -> Mapping[str, str]:
        return self._session.headers() if self._session is not None else {}

    async def _has_newer_credential(
        self, answer: Response, error: StoreError | None, signed: Mapping[str, str]
    ) -> bool:
        """True if the credential was refused and there is a newer one."""
        is_refused = answer.status == 401 or isinstance(error, StaleCredentialError)
        return is_refused and self._credentials is not None and await self._credentials.renew(signed)

    def _checked(self, call: Request, answer: Response, error: StoreError | None) -> Response:
        """The response, decoded if it is JSON. Raises the error that it is."""
        if error is None and answer.status not in call.expects:
            error = failure(self.label, call, answer, self._credentials, self._clock.now())
        if error is not None:
            raise error
        return self._decoded(call, answer) if call.is_json and answer.status == 200 else answer

    @contextmanager
    def _failure_noted(self) -> Iterator[None]:
        """Keep why the last attempt failed, for `doctor`."""
        try:
            yield
        except StoreError as error:
            self._traffic.last_failure = str(error)
            raise
        self._traffic.last_failure = ""

    def _explain(self, call: Request, error: StoreError) -> None:
        """Raise an error of the transport that says which request failed, and count that request."""
        if isinstance(error, NotLeader):
            raise self._not_sent(call, error) from None
        self._count(call, type(error).__name__, 0)
        if isinstance(error, TransientError):
            raise unanswered(self.label, call, error) from error
        raise PermanentError(f"{self.label}: {call.what} failed: {cleaned(str(error))}") from error

    def _observe(self, call: Request, answer: Response, sent_at: float) -> None:
        """Learn from a response: the server's clock, the limits, and what later requests must carry."""
        set_store_clock(self._clock, answer, sent_at)
        self._count(call, str(answer.status), len(answer.body))
        self._limiter.observe(call, answer.headers)
        if self._session is not None:
            self._session.observe(answer.headers)

    def _seconds_for(self, call: Request) -> float:
        """The seconds that the request may take. Raises NotLeader if it must not be sent, TransientError if it is too late."""
        if call.not_after is not None and self._clock.monotonic() > call.not_after:
            late = "it waited too long for the rate limit"
            raise TransientError(f"{self.label}: {call.what} was not sent: {late}; the next pass tries again")
        if not call.writes:
            return self._limits.timeout
        try:
            return self._fence.allowance(self._limits.timeout)
        except NotLeader as error:
            raise self._not_sent(call, error) from None

    def _not_sent(self, call: Request, error: NotLeader) -> NotLeader:
        return NotLeader(f"{self.label}: {call.what} was not sent: {error}")

    def _open_transport(self) -> Transport:
        if self._transport is None:
            from kvsync.http.transport import (  # a fifth of a second, which working offline need not pay
                Transport,
                host_of,
            )

            try:
                self._transport, self._host = (
                    Transport(
                        self.origin,
                        self._limits.concurrency,
                        self._route,
                        self._limits.answers,
                        self._fence,
                    ),
                    host_of(self.origin),
                )
            except PermanentError as error:
                raise PermanentError(f"{self.label}: {error}") from error
        return self._transport

    def _decoded(self, call: Request, answer: Response) -> Response:
        try:
            with gc_paused():
                return replace(answer, data=json.loads(answer.body))
        except (ValueError, RecursionError):
            broken = NotAnsweredError(f"{excerpt(call, answer)}: {NOT_JSON}")
            raise unanswered(self.label, call, broken) from None

    def _count(self, call: Request, status: str, received: int) -> None:
        traffic = self._traffic
        traffic.requests += 1
        traffic.bytes_sent += len(call.target) + len(call.body)
        traffic.bytes_received += received + (call.sink.size if call.sink is not None else 0)
        traffic.by_status[status] = traffic.by_status.get(status, 0) + 1


def _origin(label: str, base: str) -> str:
    """Scheme, host and port. Raises PermanentError for anything that is not a URL."""
    try:
        parts = urlsplit(base)
        _ = parts.port
    except ValueError:
        raise PermanentError(
            f"{label}: the endpoint is not a URL such as https://api.example.com; correct it"
        ) from None
    return f"{parts.scheme}://{parts.netloc}"
