"""Who may ask for a pass, what it asks for, and how often it gets one."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
from base64 import b64encode
from itertools import pairwise
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvsync.config.model import Credential, CredentialKind
from kvsync.status.http.hooks import GAP, Debouncer, Deliveries, Hook, is_genuine, is_signed_at_all, is_wanted
from kvsync.status.http.shared_secret import Secret
from tests.daemon.support import ManualClock, turns

NOW = 1_800_000_000.0
BODY = b'{"ref": "refs/heads/main"}'


def secret(text: str) -> Secret:
    return Secret(Credential(CredentialKind.ENV, "X"), lambda _credential: text, "run.hook.secret")


def github(key: str, body: bytes = BODY) -> dict[str, str]:
    return {"x-hub-signature-256": "sha256=" + hmac.new(key.encode(), body, hashlib.sha256).hexdigest()}


def standard(key: bytes, body: bytes = BODY, id_: str = "msg_1", moment: float = NOW) -> dict[str, str]:
    signed = hmac.new(key, f"{id_}.{int(moment)}.".encode() + body, hashlib.sha256).digest()
    signature = "v1," + b64encode(signed).decode()
    return {"webhook-id": id_, "webhook-timestamp": str(int(moment)), "webhook-signature": signature}


def test_githubs_own_example() -> None:
    """The signature in GitHub's documentation is accepted for the secret and body given there."""
    digest = "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
    hook = Hook({"x-hub-signature-256": f"sha256={digest}"}, b"Hello, World!")
    assert is_genuine(hook, secret("It's a Secret to Everybody"), None, NOW)


KEY = b"0123456789abcdef01234567"
WHSEC = "whsec_" + b64encode(KEY).decode()
GENUINE = {
    "github": ("the-secret", github("the-secret"), None),
    "gitlab token": ("the-secret", {"x-gitlab-token": "the-secret"}, None),
    "gitlab signing token": (WHSEC, standard(KEY), None),
    "signing token as text": ("the-secret", standard(b"the-secret"), None),
    "several signatures": (
        WHSEC,
        standard(KEY) | {"webhook-signature": "v1,AAAA v2,x " + standard(KEY)["webhook-signature"]},
        None,
    ),
    "header": ("the-secret", {"x-kvsync-token": "the-secret"}, None),
    "bearer": ("the-secret", {"authorization": "Bearer the-secret"}, "the-secret"),
}


@pytest.mark.parametrize("kind", GENUINE)
def test_who_knows_the_secret_is_heard(kind: str) -> None:
    """Each way to prove that the sender knows the secret is accepted, with the right one alone."""
    known, headers, shown = GENUINE[kind]
    assert is_signed_at_all(headers)
    assert is_genuine(Hook(headers, BODY), secret(known), shown, NOW)
    assert not is_genuine(Hook(headers, BODY), secret("another-secret"), shown, NOW)


@pytest.mark.parametrize("kind", ["github", "gitlab signing token"])
def test_a_signature_is_of_this_body(kind: str) -> None:
    """A signature over another body proves nothing."""
    known, headers, shown = GENUINE[kind]
    assert not is_genuine(Hook(headers, BODY + b" "), secret(known), shown, NOW)


def test_a_bad_signature_is_not_made_good_by_a_token() -> None:
    """Where there is a signature it counts, whatever else a request shows."""
    headers = {"x-hub-signature-256": "sha256=00", "x-kvsync-token": "the-secret"}
    assert not is_genuine(Hook(headers, BODY), secret("the-secret"), "the-secret", NOW)


@pytest.mark.parametrize("off", [-301, 301])
def test_an_old_standard_webhook_is_refused(off: float) -> None:
    """Five minutes from our clock the signature of a Standard Webhook ends to hold; its id and time are part of it."""
    assert is_genuine(Hook(standard(KEY, moment=NOW + off * 0.99), BODY), secret(WHSEC), None, NOW)
    assert not is_genuine(Hook(standard(KEY, moment=NOW + off), BODY), secret(WHSEC), None, NOW)
    assert not is_genuine(Hook(standard(KEY) | {"webhook-id": "msg_2"}, BODY), secret(WHSEC), None, NOW)


@given(
    st.dictionaries(st.sampled_from(sorted({name for _, known, _ in GENUINE.values() for name in known})), st.text())
)
def test_nothing_else_is_heard_and_nothing_breaks(headers: dict[str, str]) -> None:
    """Whatever stands in the headers, no request is heard that does not prove the secret, and none breaks anything."""
    assert not is_genuine(Hook(headers, BODY), secret("the-secret-nobody-writes"), None, NOW)


PUSH = {"x-github-event": "push"}
ASKS = [
    (PUSH, BODY, ("main",), True),
    (PUSH, BODY, (), True),
    (PUSH, BODY, ("release/*", "ma*"), True),
    (PUSH, BODY, ("develop",), False),
    (PUSH, b'{"ref": "refs/tags/main"}', ("main",), False),
    (PUSH, b'{"ref": 1}', ("main",), False),
    (PUSH, b"[]", ("main",), False),
    ({"x-gitlab-event": "Push Hook"}, BODY, ("main",), True),
    ({"x-gitlab-event": "Tag Push Hook"}, b'{"ref": "refs/tags/v1"}', ("main",), False),
    ({"x-github-event": "issues"}, b"{}", ("main",), False),
    ({"x-github-event": "issues"}, b"{}", (), True),
    ({"x-github-event": "ping"}, b"{}", (), False),
    ({}, b"anything", ("main",), True),
    (
        PUSH | {"content-type": "application/x-www-form-urlencoded"},
        urlencode({"payload": BODY}).encode(),
        ("main",),
        True,
    ),
]


@pytest.mark.parametrize(("headers", "body", "branches", "wanted"), ASKS)
def test_what_is_asked_for(headers: dict[str, str], body: bytes, branches: tuple[str, ...], wanted: bool) -> None:
    """With `branches`, of what Git servers tell only a push to one of them counts; a ping never does."""
    assert is_wanted(Hook(headers, body), branches) is wanted


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b"[" * 100_000])
def test_a_push_that_cannot_be_read_says_so(body: bytes) -> None:
    """A push that is not JSON is an error of the request, and nothing else."""
    with pytest.raises((ValueError, RecursionError)):
        is_wanted(Hook(PUSH, body), ("main",))


def test_a_delivery_counts_once() -> None:
    """An id that was seen is not new again, as far back as is remembered; what has none always is."""
    deliveries = Deliveries()
    assert [deliveries.is_new(id_) for id_ in ("a", "a", "b", None, None)] == [True, False, True, True, True]
    for number in range(5000):
        assert deliveries.is_new(f"n{number}")
    assert not deliveries.is_new("n4999")
    assert len(deliveries._seen) <= 1024


def test_ids_of_deliveries() -> None:
    """GitHub's and GitLab's ids are found; two pushes of one GitLab event chain are two deliveries."""
    assert Hook({"x-github-delivery": "g"}, b"").delivery == "g"
    assert Hook({"idempotency-key": "i", "x-gitlab-event-uuid": "u"}, b"").delivery == "i"
    chain = [Hook({"x-gitlab-event-uuid": "u"}, body).delivery for body in (b"1", b"2", b"1")]
    assert chain[0] == chain[2] != chain[1]
    assert Hook({}, b"").delivery is None


@given(st.lists(st.floats(0, 5), max_size=60))
async def test_requests_are_folded_and_the_last_is_never_lost(pauses: list[float]) -> None:
    """However requests come: at most one passes every two seconds, and one passes at or after the last request."""
    clock, passed = ManualClock(), list[float]()
    valve = Debouncer(lambda: passed.append(clock.monotonic()), clock)
    last = float("-inf")
    for pause in pauses:
        await clock.advance(pause)
        valve.request()
        last = clock.monotonic()
    await turns(3)
    await clock.advance(GAP + 1)
    assert passed == [] if not pauses else passed[-1] >= last
    assert all(after - before >= GAP for before, after in pairwise(passed))
    await valve.aclose()


async def test_closing_forgets_what_waits() -> None:
    """A request that waits when the daemon leaves is not let through any more."""
    clock, passed = ManualClock(), list[int]()
    valve = Debouncer(lambda: passed.append(1), clock)
    valve.request()
    valve.request()
    await asyncio.sleep(0)
    await valve.aclose()
    await clock.advance(10)
    assert passed == [1]


def test_a_ref_is_read_from_json() -> None:
    """What was pushed is the `ref` of the body."""
    assert Hook(PUSH, json.dumps({"ref": "refs/heads/x"}).encode()).ref() == "refs/heads/x"
