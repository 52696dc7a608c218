"""What comes over HTTP, and the text that goes out."""

from __future__ import annotations

import json
from contextlib import suppress
from functools import cache

from kvsync.config.model import Credential, CredentialKind
from kvsync.errors import StoreError
from kvsync.git.command import GitFailed
from kvsync.git.failures import explained
from kvsync.http.client_options import ClientOptions
from kvsync.http.clock_skew import ahead_of_server
from kvsync.http.failures import failure
from kvsync.http.model import Request, Response
from kvsync.http.quota import Quota
from kvsync.http.redirects import RedirectFollower
from kvsync.http.retry_after import retry_after
from kvsync.model.health import Traffic
from kvsync.status.http.hooks import Hook, is_genuine, is_signed_at_all, is_wanted
from kvsync.status.http.shared_secret import Secret
from kvsync.stores.apify.api import Rate
from kvsync.stores.azure_appconfig.api import etag_of, next_target
from kvsync.stores.azure_appconfig.auth import ConnectionString
from kvsync.stores.azure_appconfig.sync_tokens import SyncTokens
from kvsync.util.clock import Clock
from kvsync.util.escaping import to_bytes
from kvsync.util.redaction import Redactor
from tests.fuzz.model import JSON, parsed, target

_PUSH = {"ref": "refs/heads/main", "repository": {"full_name": "a/b"}}


@target(
    [
        {"x-github-event": "push", "x-hub-signature-256": "sha256=00", "content-type": "application/json"},
        json.dumps(_PUSH),
    ],
    [{"x-gitlab-event": "Push Hook", "x-gitlab-token": "a-long-secret"}, json.dumps(_PUSH)],
    [{"webhook-id": "1", "webhook-timestamp": "1", "webhook-signature": "v1,AAAA v1a,x"}, "{}"],
    [
        {
            "x-github-event": "push",
            "x-kvsync-token": "a-long-secret",
            "content-type": "application/x-www-form-urlencoded",
        },
        "payload=%7B%7D",
    ],
    words="payload= ref refs/heads/ ping push v1, sha256= whsec_ \\ud800 % & = +",
)
def hook_request(data: bytes) -> None:
    """Headers and body of a request to the hook: judged, or unreadable."""
    headers, body = parsed(data, list, 2) or ({}, "")
    if not (isinstance(headers, dict) and isinstance(body, str)):
        return
    named = {str(name).lower(): str(value) for name, value in headers.items()}
    hook = Hook(named, body.encode("utf-8", "surrogatepass"))
    secret = Secret(Credential(CredentialKind.ENV, "S"), lambda _: "a-long-secret", "run.hook.secret")
    is_signed_at_all(named)
    is_genuine(hook, secret, named.get("authorization"), 1_800_000_000.0)
    with suppress(ValueError, RecursionError):
        is_wanted(hook, ("main", "release/*"))
    _ = hook.delivery, hook.sender


@target(
    [
        {
            "retry-after": "3",
            "x-ratelimit-limit": "60",
            "ratelimit": '"a";r=50;t=30',
            "date": "Thu, 24 Dec 2026 00:00:00 GMT",
        },
        '{"errors": [{"code": 10013, "message": "no"}]}',
    ],
    [
        {
            "link": '</kv?after=a>; rel="next"',
            "etag": 'W/"1"',
            "sync-token": "id=value;sn=7",
            "location": "https://[::1",
        },
        "{}",
    ],
    [
        {"retry-after-ms": "3", "x-request-id": "r-1", "content-type": "application/json"},
        '{"title": "no", "detail": ["x"]}',
    ],
    words=JSON + "retry-after sync-token id=v;sn= ;r= ;t= https://[ Thu, rel=",
)
def answer(data: bytes) -> None:
    """Headers and body of an error that a server answers: an error of kvsync's own."""
    headers, body = parsed(data, list, 2) or ({}, "")
    if not (isinstance(headers, dict) and isinstance(body, str)):
        return
    got = Response(400, {str(name).lower(): str(value) for name, value in headers.items()}, to_bytes(body))
    now, clock = 1_800_000_000.0, Clock()
    for is_secret in (False, True):
        str(failure("store", Request("PUT", "/", "writing", is_secret=is_secret), got, None, now)).encode()
    retry_after(got.headers, now)
    ahead_of_server(got, now)
    with suppress(ValueError):
        next_target(got, parsed(got.body, object))
    etag_of(got)
    Rate(60, clock).observe(got.headers)
    Quota(60, 1.0, clock).observe(got.headers)
    SyncTokens().observe(got.headers)
    elsewhere = RedirectFollower("store", clock, Traffic(), ClientOptions(), allow_insecure=False)
    with suppress(StoreError):
        elsewhere._checked("https://api/v2", got.headers.get("location", ""), Request("GET", "/", "reading"))


@target("Endpoint=https://a.azconfig.io;Id=x;Secret=AAAA", words="Endpoint= Id= Secret= https:// ;")
def connection_string(data: bytes) -> None:
    """The connection string of App Configuration."""
    with suppress(ValueError):
        ConnectionString.parse(data.decode("utf-8", "surrogateescape"))


@target(
    "fatal: not found", "error: RPC failed\nfatal: early EOF", words="fatal: error: ssh: timed out Permission denied"
)
def git_failure(data: bytes) -> None:
    """What git says of a failure."""
    str(explained("https://git", GitFailed("fetch", 128, data.decode("utf-8", "replace")))).encode()


@cache
def _redactor() -> Redactor:
    redactor = Redactor()
    redactor.register("S3cr3t-Value/with+signs", "short1", "émoji-❤-schlüssel", b"\x00\xff\x80binary\x01")
    return redactor


@target(
    "S3cr3t-Value/with+signs",
    "%53%33cr3t",
    '"\\u0053\\x33cr3t-Value"',
    "UzNjcjN0LVZhbHVlL3dpdGgrc2lnbnM=",
    "533363723374",
    words="%41 \\u0041 \\ud83d\\ude00 \\x41 \\101 &#65; &amp; UzNj 5333 short1 ***",
)
def redaction(data: bytes) -> None:
    """Text that secrets are taken out of, whatever it looks like."""
    for text in (
        data.decode("utf-8", "surrogateescape"),
        data.decode("latin-1"),
        data[: len(data) // 2 * 2].decode("utf-16-le", "replace"),
    ):
        for clean in (_redactor().redact(text), _redactor().redact_foreign(text)):
            assert "S3cr3t-Value/with+signs" not in clean
        _redactor().redact_data({"text": text, text: [text]})
