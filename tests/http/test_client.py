"""The HTTP client: what it repeats and what it never does, and what it makes of every way to fail."""

from __future__ import annotations

import asyncio
import re
import ssl
from collections import Counter
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any

import pytest
import trustme

from kvsync.errors import AuthError, LostAnswer, PermanentError, StoreError, TransientError
from kvsync.http.client import Client
from kvsync.http.client_options import ClientLimits, ClientOptions
from kvsync.http.model import ErrorText, Request, Response, StaleCredentialError
from kvsync.http.quota import Quota
from kvsync.http.rate_limits import TokenBucket
from kvsync.http.shared_budget import SharedBudget
from kvsync.model.budget import Allocation, BudgetTerms
from kvsync.model.health import Traffic
from kvsync.testing import FakeClock
from kvsync.util.clock import StoreClock
from kvsync.util.waits import WAITS
from tests.http.script_server import Act, ScriptServer, disconnects, drips, hangs_up, is_silent, resets, says, serving

READ = Request("GET", "/things?filter=secret-looking", "listing things", is_json=True)
WRITE = Request("PUT", "/things/a", "writing a", body=b'{"value": "hidden"}')
LONG_WRITE = Request("PUT", "/things/a", "writing a", body=b"x" * 2**20)
DELETE = Request("DELETE", "/things/a", "deleting a")


class RenewableCredentials:
    """Credentials that count how often they sign; `renewals` are the keys that follow the first."""

    def __init__(self, *keys: str) -> None:
        self._keys = list(keys)
        self.signed = 0

    async def sign(self, _call: Request, _host: str) -> Mapping[str, str]:
        self.signed += 1
        return {"Authorization": f"Key {self._keys[0]} {self.signed}"}

    async def renew(self, _refused: Mapping[str, str] | None = None) -> bool:
        if len(self._keys) > 1:
            del self._keys[0]
            return True
        return False

    def explain(self, _call: Request, _answer: Response) -> ErrorText:
        return ErrorText("credential", "the key is wrong", "make a new one")


class Fixture:
    """A client of a scripted server, on a clock that runs ahead while it waits."""

    def __init__(self, server: ScriptServer, **options: Any) -> None:
        self.server, self.clock, self.traffic = server, FakeClock(), Traffic()
        limits = options.pop("limits", ClientLimits(timeout=60))
        self.client = Client(
            "store web", server.origin, self.clock, self.traffic, ClientOptions(limits=limits, **options)
        )

    async def error(self, call: Request) -> StoreError:
        with pytest.raises(StoreError) as caught:
            await self.client.send(call)
        return caught.value


@pytest.fixture
async def stack() -> Any:
    async with AsyncExitStack() as held:
        yield held


async def start(stack: AsyncExitStack, *acts: Act, **options: Any) -> Fixture:
    found = Fixture(await stack.enter_async_context(serving(*acts)), **options)
    stack.push_async_callback(found.client.aclose)
    return found


@pytest.mark.parametrize(
    "failing",
    [says(429), says(503), says(500), says(408), resets, hangs_up, says(200, b'{"a": 1')],
    ids=["429", "503", "500", "408", "reset", "hung-up", "truncated"],
)
async def test_a_read_is_repeated(stack: AsyncExitStack, failing: Act) -> None:
    """A read that fails in passing is sent again, until it brings a whole answer."""
    web = await start(stack, failing, failing, says(200, b'{"a": 1}'))
    assert (await web.client.send(READ)).data == {"a": 1}
    assert len(web.server.seen) == 3


@pytest.mark.parametrize(
    "act",
    [says(500), says(502, b"<html>"), says(408), resets, disconnects, hangs_up],
    ids=["500", "502", "408", "reset", "disconnected", "hung-up"],
)
@pytest.mark.parametrize("write", [WRITE, LONG_WRITE, DELETE], ids=["PUT", "long PUT", "DELETE"])
async def test_a_write_is_sent_once(stack: AsyncExitStack, act: Act, write: Request) -> None:
    """A write whose answer does not say what became of it is a lost answer, and is never sent a second time. aiohttp would
    repeat a PUT or DELETE on a connection that was kept."""
    web = await start(stack, says(200), act)
    await web.client.send(write)  # the connection is kept
    assert isinstance(await web.error(write), LostAnswer)
    assert [one.line.split()[0] for one in web.server.seen] == [write.method, write.method]


@pytest.mark.parametrize("status", [429, 503])
async def test_a_write_that_is_turned_away(stack: AsyncExitStack, status: int) -> None:
    """A write that the server turns away was not done, and the time to wait is passed on."""
    web = await start(stack, says(status, retry_after_ms="250"))
    error = await web.error(WRITE)
    assert isinstance(error, TransientError)
    assert not isinstance(error, LostAnswer)
    assert error.retry_after == 0.25


async def test_no_connection_means_nothing_was_done(stack: AsyncExitStack) -> None:
    """A write that found no connection is known not to have happened."""
    client = Client("store web", "http://127.0.0.1:9", FakeClock(), Traffic())
    stack.push_async_callback(client.aclose)
    with pytest.raises(TransientError, match=r"no connection to 127.0.0.1:\d+: Connection refused") as caught:
        await client.send(WRITE)
    assert not isinstance(caught.value, LostAnswer)


@pytest.mark.parametrize("act", [is_silent, drips], ids=["silent", "dripping"])
async def test_a_call_has_a_deadline(stack: AsyncExitStack, act: Act) -> None:
    """However the server spends the time, an answer that is not whole in time is given up."""
    web = await start(stack, says(200), act, limits=ClientLimits(timeout=0.3))
    await web.client.send(READ)  # so that there is a connection
    assert isinstance(await web.error(WRITE), LostAnswer)


async def test_retry_after_is_waited_for(stack: AsyncExitStack) -> None:
    """A read waits at least as long as the server asks before it is sent again."""
    web = await start(stack, says(429, Retry_After="7"), says(200))
    before = web.clock.now()
    await web.client.send(READ)
    assert web.clock.now() - before >= 7


async def test_a_long_wait_is_left_to_the_caller(stack: AsyncExitStack) -> None:
    """When the server asks for more patience than a call has, the call fails at once and says how long."""
    web = await start(stack, says(429, Retry_After="3600"))
    error = await web.error(READ)
    assert isinstance(error, TransientError)
    assert error.retry_after == 3600
    assert len(web.server.seen) == 1


async def test_a_server_in_trouble_is_spared(stack: AsyncExitStack) -> None:
    """While a server answers nothing well, the number of repetitions is bounded, however many calls are made."""
    web = await start(stack, says(500))
    for _ in range(40):
        await web.error(READ)
    assert len(web.server.seen) < 40 + 60


@pytest.mark.parametrize("method", ["PUT", "DELETE", "POST", "PATCH"])
async def test_read_only_refuses_to_write(stack: AsyncExitStack, method: str) -> None:
    """Opened for reading, a client sends nothing that writes; what is declared a read passes, whatever its method."""
    web = await start(stack, says(200), read_only=True)
    error = await web.error(Request(method, "/things/a", "writing a"))
    assert "reading only" in str(error)
    assert not web.server.seen
    await web.client.send(Request("POST", "/search", "searching", reads=True))
    assert len(web.server.seen) == 1


async def test_a_refused_credential_is_renewed_once(stack: AsyncExitStack) -> None:
    """A 401 makes the client fetch its credential again and send once more; a second one is the end of it."""
    web = await start(stack, says(401), says(200), credentials=RenewableCredentials("old", "new"))
    await web.client.send(WRITE)
    assert [one.headers["authorization"] for one in web.server.seen] == ["Key old 1", "Key new 2"]
    stale = await start(stack, says(401), credentials=RenewableCredentials("old", "new", "newest"))
    assert isinstance(await stale.error(WRITE), AuthError)
    assert len(stale.server.seen) == 2


async def test_a_credential_may_be_refused_by_other_answers(stack: AsyncExitStack) -> None:
    """Where an API says in a 200 that it does not allow the credential, that counts as a 401: renewed once, sent once more."""

    def error_mapper(_call: Request, answer: Response) -> StoreError | None:
        return StaleCredentialError("store web: the token has expired") if b"expired" in answer.body else None

    expired = says(200, b'{"error": "expired"}')
    web = await start(
        stack, expired, says(200), credentials=RenewableCredentials("old", "new"), error_mapper=error_mapper
    )
    await web.client.send(WRITE)
    assert len(web.server.seen) == 2
    stale = await start(
        stack, expired, credentials=RenewableCredentials("old", "new", "newest"), error_mapper=error_mapper
    )
    assert isinstance(await stale.error(WRITE), AuthError)
    assert len(stale.server.seen) == 2
    same = await start(stack, expired, credentials=RenewableCredentials("only"), error_mapper=error_mapper)
    assert isinstance(await same.error(WRITE), AuthError)
    assert len(same.server.seen) == 1


async def test_every_attempt_is_signed(stack: AsyncExitStack) -> None:
    """A read that is repeated is signed again, for a signature holds the moment."""
    web = await start(stack, says(500), says(500), says(200), credentials=RenewableCredentials("k"))
    await web.client.send(READ)
    assert len({one.headers["authorization"] for one in web.server.seen}) == 3


@pytest.mark.parametrize("status", [401, 403])
async def test_a_refusal_is_explained(stack: AsyncExitStack, status: int) -> None:
    """401 and 403 stop the store, with what is wrong and what to do."""
    web = await start(stack, says(status), credentials=RenewableCredentials("k"))
    error, host = await web.error(READ), web.server.origin.removeprefix("http://")
    assert isinstance(error, AuthError)
    refused = f"store web: listing things was refused (status {status} from {host})"
    assert str(error) == f"{refused}: the key is wrong; make a new one"


@pytest.mark.parametrize("status", [301, 400, 404, 405, 410])
async def test_other_refusals_are_final(stack: AsyncExitStack, status: int) -> None:
    """What waiting cannot cure is neither repeated nor followed elsewhere."""
    web = await start(stack, says(status, Location="http://elsewhere.invalid/"))
    assert isinstance(await web.error(READ), PermanentError)
    assert len(web.server.seen) == 1


async def test_messages_hold_no_query_and_no_body(stack: AsyncExitStack) -> None:
    """A message tells what was asked for and what the server says, not the URL, a header, or a body of ours."""
    problem = b'{"title": "It is broken", "detail": "badly"}'
    web = await start(stack, says(500, problem, x_ms_request_id="r-17"), credentials=RenewableCredentials("k"))
    message, host = str(await web.error(WRITE)), web.server.origin.removeprefix("http://")
    assert message.startswith(
        f"store web: writing a failed: status 500 from {host}, It is broken: badly (request r-17); "
    )
    assert "secret-looking" not in str(await web.error(READ))


async def test_the_target_goes_out_as_it_is(stack: AsyncExitStack) -> None:
    """Nothing on the way decodes, encodes or collapses the path or the query: what is signed is what is sent."""
    web = await start(stack, says(200))
    for target in ("/kv/a%2Fb%25c/..%2F?x=%2a&y=%C3%A9&$z=,*", "/kv/a/../b?q=%00", "/kv/%2e%2E"):
        await web.client.send(Request("GET", target, "reading"))
        assert web.server.seen[-1].line == f"GET {target} HTTP/1.1"


async def test_traffic_is_counted(stack: AsyncExitStack) -> None:
    """Every request counts, by status or by how it failed, with the bytes both ways."""
    web = await start(stack, says(429), resets, says(200, b'{"a": 1}'))
    await web.client.send(READ)
    assert web.traffic.requests == 3
    assert web.traffic.by_status == {"429": 1, "NotAnsweredError": 1, "200": 1}
    assert web.traffic.bytes_received == 2 + 8
    assert web.traffic.bytes_sent == 3 * len(READ.target)


async def test_no_more_in_flight_than_allowed(stack: AsyncExitStack) -> None:
    """However many calls are made at once, the server never sees more of them than the limit."""
    at_once, most = 0, 0
    answer = says(200)

    async def counts(exchange: Any) -> None:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        await asyncio.sleep(0)
        at_once -= 1
        await answer(exchange)

    web = await start(stack, counts, limits=ClientLimits(concurrency=3))
    await asyncio.gather(*(web.client.send(READ) for _ in range(12)))
    assert most <= 3


async def test_writes_keep_to_their_rate(stack: AsyncExitStack) -> None:
    """After a second's worth, writes go out at the rate that is set, and reads are not held up by them."""
    web = await start(stack, says(200), limits=ClientLimits(writes_per_second=10))
    before = web.clock.now()
    for _ in range(30):
        await web.client.send(WRITE)
    assert web.clock.now() - before == pytest.approx(2, abs=0.15)
    waited = web.clock.now()
    await web.client.send(READ)
    assert web.clock.now() == waited


async def test_a_write_that_waited_too_long_is_not_sent(stack: AsyncExitStack) -> None:
    """What must follow a look at once does not wait for a quota that is used up."""
    web = await start(stack, says(200))
    web.client._limiter._quota = Quota(1, 60, web.clock)
    await web.client.send(replace(DELETE, not_after=web.clock.monotonic() + 5))
    error = await web.error(replace(DELETE, not_after=web.clock.monotonic() + 5))
    assert isinstance(error, TransientError)
    assert str(error).startswith("store web: deleting a was not sent: it waited too long for the rate limit; ")
    assert len(web.server.seen) == 1


async def test_reads_and_writes_may_share_their_turns(stack: AsyncExitStack) -> None:
    """A bucket that is handed in holds for all calls together, and for all clients that share it."""
    clock = FakeClock()
    turns = TokenBucket(10, clock)
    first, second = (
        await start(stack, says(200), shared_limiter=turns),
        await start(stack, says(200), shared_limiter=turns),
    )
    before = clock.now()
    for _ in range(10):
        await first.client.send(READ)
        await first.client.send(WRITE)
        await second.client.send(READ)
    assert clock.now() - before == pytest.approx(2, abs=0.15)


async def test_an_unknown_authority_is_final(stack: AsyncExitStack) -> None:
    """A certificate that nobody vouches for is an error that no repetition cures, and the message says what to set."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    server = await stack.enter_async_context(serving(says(200), tls=context))
    web = Fixture(server)
    stack.push_async_callback(web.client.aclose)
    error = await web.error(READ)
    assert isinstance(error, PermanentError)
    assert "SSL_CERT_FILE" in str(error)


@pytest.mark.parametrize(("age", "is_heard"), [("0", True), ("600", False)])
async def test_the_time_of_the_server_reaches_the_clock_of_the_store(age: str, is_heard: bool) -> None:
    """The header Date of any answer sets the store's clock right, unless a cache kept the answer."""
    clock = StoreClock(FakeClock())
    async with serving(says(200, b"{}", Date="Sun, 29 Nov 2026 12:00:00 GMT", Age=age)) as server:
        client = Client("store main", server.origin, clock, Traffic())
        await client.send(READ)
        await client.aclose()
    assert (abs(clock.now() - 1_795_953_600) < 2) is is_heard


class CountingAllocator:
    """Allocates one turn at a time, and counts them by budget. `clock` is what it takes its `seconds` by."""

    def __init__(self, clock: FakeClock | None = None, seconds: float = 0.0) -> None:
        self.allocated: Counter[str] = Counter()
        self._clock, self._seconds = clock or FakeClock(), seconds

    async def allocate(self, name: str, _terms: BudgetTerms, _unused: int) -> Allocation:
        self.allocated[name] += 1
        await self._clock.sleep(self._seconds)
        return Allocation(1, 0.0, 0.0)


@pytest.mark.parametrize(
    ("options", "allocated"),
    [
        ({"limits": ClientLimits(reads_per_second=9, writes_per_second=9)}, {"a reads": 2, "a writes": 1}),
        ({"shared_limiter": TokenBucket(9, FakeClock())}, {"a calls": 3}),
        ({"quota": Quota(9, 60, FakeClock())}, {"a quota": 3}),
        ({}, {}),
    ],
)
async def test_every_request_is_taken_from_what_replicas_share(
    stack: AsyncExitStack, options: dict[str, Any], allocated: dict[str, int]
) -> None:
    """Each request, also a repeated one, is taken from the budget of every limit that the server keeps for the account."""
    allocator = CountingAllocator()
    replies = (says(503), says(200, b"{}"), says(200))
    found = await start(stack, *replies, allocator=allocator, account="a", **options)
    await found.client.send(READ)
    await found.client.send(WRITE)
    assert allocator.allocated == allocated


async def test_a_slow_allocator_stops_no_request() -> None:
    """A portion that takes longer to allocate than it is valid is used all the same: allocating again would take as long."""
    clock = FakeClock()
    allocator = CountingAllocator(clock, seconds=5)
    async with asyncio.timeout(60):
        await SharedBudget(allocator, "a writes", BudgetTerms.of_rate(4), clock).take()
    assert allocator.allocated == {"a writes": 1}


async def test_a_wait_is_shown_while_it_lasts(stack: AsyncExitStack, monkeypatch: pytest.MonkeyPatch) -> None:
    """It can be seen which store waits, for what and how long, whether the server makes it wait or a limit of kvsync."""
    fixture = await start(stack, says(429, Retry_After="30"), says(200, b"{}"), says(200, b"{}"))
    fixture.client._limiter._quota = Quota(2, 60, fixture.clock)
    seen: list[str] = []
    sleep = fixture.clock.sleep

    async def watched(seconds: float) -> None:
        seen.append(str(WAITS.longest()))
        await sleep(seconds)

    monkeypatch.setattr(fixture.clock, "sleep", watched)
    await fixture.client.send(READ)
    await fixture.client.send(READ)
    reasons = ("the pause that the server asks for (Retry-After)", "the rate limit")
    for said, reason in zip(seen, reasons, strict=True):  # a random part of a second or two is on top
        assert re.fullmatch(rf"store web: waiting (2[5-9]|3\d) s for {re.escape(reason)}", said), said
    assert WAITS.longest() is None
