"""Limits the requests of a client by rate, by quota, and by the shares of both that replicas divide."""

from __future__ import annotations

from collections.abc import Mapping

from kvsync.http.client_options import ClientOptions
from kvsync.http.model import Request
from kvsync.http.rate_limits import TokenBucket
from kvsync.http.shared_budget import shared_budgets
from kvsync.util.clock import Clock


class RequestLimiter:
    """The turns of one client, whose requests the server counts under `account`."""

    def __init__(self, options: ClientOptions, account: str, clock: Clock) -> None:
        shared, limits = options.shared_limiter, options.limits
        self._quota = options.quota
        self._limiters = {
            True: shared or _bucket(limits.writes_per_second, clock),
            False: shared or _bucket(limits.reads_per_second, clock),
        }
        self._budgets = {
            writes: shared_budgets(
                options.allocator,
                account,
                {"calls" if shared else "writes" if writes else "reads": limiter, "quota": options.quota},
                clock,
            )
            for writes, limiter in self._limiters.items()
        }

    async def take(self, call: Request) -> None:
        """Wait until the request may be sent by every limit that applies to it."""
        for limiter in (self._limiters[call.writes], call.limiter, self._quota, *self._budgets[call.writes]):
            if limiter is not None:
                await limiter.take()

    def observe(self, call: Request, headers: Mapping[str, str]) -> None:
        """Adapt to what the headers of a response say about the limits."""
        if call.limiter is not None:
            call.limiter.observe(headers)
        if self._quota is not None:
            self._quota.observe(headers)


def _bucket(rate: float | None, clock: Clock) -> TokenBucket | None:
    return None if rate is None else TokenBucket(rate, clock)
