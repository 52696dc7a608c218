"""Options of an API client: limits, authentication, guards, and the way to the server."""

from __future__ import annotations

from dataclasses import dataclass, field

from kvsync.http.model import Credentials, ErrorMapper, SessionHeaders
from kvsync.http.quota import Quota
from kvsync.http.rate_limits import TokenBucket
from kvsync.http.route import USUAL, Route
from kvsync.http.shared_budget import BudgetAllocator
from kvsync.model.answer_limits import AnswerLimits
from kvsync.util.write_fence import Fence


@dataclass(frozen=True, slots=True)
class ClientLimits:
    """Limits of one API. `timeout` is in seconds and bounds one request; a read is repeated for at most twice as long. The
    rates are in requests per second, None: unlimited. `answers` bounds responses."""

    timeout: float = 30
    concurrency: int = 8
    reads_per_second: float | None = None
    writes_per_second: float | None = None
    answers: AnswerLimits = field(default_factory=AnswerLimits)


@dataclass(frozen=True, slots=True)
class ClientOptions:
    """How a client calls an API.

    Where replicas share the limits of the API, `allocator` allocates turns of each, by the `account` that the server counts
    (None: the endpoint). `session` has headers that depend on earlier responses.
    Every request, also a repeated one, is taken from `quota`, and waits for `shared_limiter`, which reads and writes share. No
    write is sent while the `fence` is closed. Without `repeats_reads`, a read is sent once, because the caller has another
    endpoint to try.
    """

    limits: ClientLimits = field(default_factory=ClientLimits)
    credentials: Credentials | None = None
    error_mapper: ErrorMapper | None = None
    quota: Quota | None = None
    shared_limiter: TokenBucket | None = None
    read_only: bool = False
    fence: Fence = field(default_factory=Fence)
    route: Route = USUAL
    repeats_reads: bool = True
    allocator: BudgetAllocator | None = None
    account: str | None = None
    session: SessionHeaders | None = None
