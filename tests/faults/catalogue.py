"""What can happen to one call on its way to a service and back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Final

from tests.faults.proxy import Answer, Call, Fault

HTML: Final = b"<html><body>Please log in</body></html>"
_PIECES: Final = 20
_DRIP_SECONDS: Final = 0.005


def _sent(answer: Callable[[Call], Answer]) -> Fault:
    return lambda call: iter([answer(call).encoded()])


def _instead(status: int, body: bytes, kind: str = "application/json", *headers: tuple[str, str]) -> Fault:
    """A response from a proxy; the request never reaches the service."""
    return _sent(lambda _call: Answer(status, (("Content-Type", kind), *headers), body))


def _after(status: int, body: bytes, kind: str = "application/json") -> Fault:
    """The service carries out the request, but a proxy replaces its response."""

    def answer(call: Call) -> Answer:
        call.forward()
        return Answer(status, (("Content-Type", kind),), body)

    return _sent(answer)


def _changed(change: Callable[[Answer], Answer]) -> Fault:
    """The service's own answer, changed on the way."""
    return _sent(lambda call: change(call.forward()))


def cut_before(_call: Call) -> Iterator[bytes]:
    """The connection ends before the service is asked."""
    return iter(())


def cut_after(call: Call) -> Iterator[bytes]:
    """The service does what is asked, and its answer is lost."""
    call.forward()
    return iter(())


def cut_within_request(call: Call) -> Iterator[bytes]:
    """Half of the request's body arrives, with the length of all of it."""
    call.forward_half()
    return iter(())


def cut_within_head(call: Call) -> Iterator[bytes]:
    """The answer ends within its headers."""
    yield call.forward().encoded()[:20]


def cut_within_body(call: Call) -> Iterator[bytes]:
    """The answer ends within its body."""
    answer = call.forward()
    yield answer.encoded()[: -max(1, len(answer.body) // 2)]


def duplicated(call: Call) -> Iterator[bytes]:
    """The request arrives twice; the answer is that to the second."""
    call.forward()
    yield call.forward().encoded()


def dripping(call: Call) -> Iterator[bytes]:
    """The answer comes in small pieces, and is whole in the end."""
    data = call.forward().encoded()
    size = max(1, len(data) // _PIECES)
    for start in range(0, len(data), size):
        call.gone.wait(_DRIP_SECONDS)
        yield data[start : start + size]


def hanging(call: Call) -> Iterator[bytes]:
    """No answer at all, and the service was not asked."""
    call.gone.wait(5)
    return iter(())


def hanging_after(call: Call) -> Iterator[bytes]:
    """No answer at all, although the service did what was asked."""
    call.forward()
    call.gone.wait(5)
    return iter(())


def stale(call: Call) -> Iterator[bytes]:
    """What the same request was answered before; the first time it is passed on."""
    yield (call.stale or call.forward()).encoded()


def truncated(answer: Answer) -> Answer:
    """Half of the body, with a length that fits."""
    return replace(answer, body=answer.body[: len(answer.body) // 2])


def corrupted(answer: Answer) -> Answer:
    """A byte in the middle that is not UTF-8."""
    middle = len(answer.body) // 2
    return replace(answer, body=answer.body[:middle] + b"\xff" + answer.body[middle + 1 :])


def _headers(*, without: str = "", **named: str) -> Callable[[Answer], Answer]:
    def change(answer: Answer) -> Answer:
        kept = [(name, text) for name, text in answer.headers if name.lower() not in (without, *named)]
        return replace(answer, headers=(*kept, *((name.replace("_", "-"), text) for name, text in named.items())))

    return change


def _body(body: bytes) -> Callable[[Answer], Answer]:
    return lambda answer: replace(answer, body=body)


def _lengthened(call: Call) -> Iterator[bytes]:
    answer = call.forward()
    yield answer.encoded(len(answer.body) + 100)


def _shortened(call: Call) -> Iterator[bytes]:
    answer = call.forward()
    yield answer.encoded(len(answer.body) // 2)


STATUSES: Final = (400, 401, 403, 404, 409, 410, 412, 413, 423, 429, 500, 503)

FAULTS: Final[dict[str, Fault]] = {
    "cut before": cut_before,
    "cut within request": cut_within_request,
    "cut after": cut_after,
    "cut within head": cut_within_head,
    "cut within body": cut_within_body,
    "duplicated": duplicated,
    "drip": dripping,
    "hang": hanging,
    "hang after": hanging_after,
    "stale": stale,
    "truncated": _changed(truncated),
    "corrupted": _changed(corrupted),
    "emptied": _changed(_body(b"")),
    "another document": _changed(_body(b'{"hello": "world"}')),
    "an empty object": _changed(_body(b"{}")),
    "an empty list": _changed(_body(b"[]")),
    "null": _changed(_body(b"null")),
    "length too long": _lengthened,
    "length too short": _shortened,
    "no etag": _changed(_headers(without="etag")),
    "no type": _changed(_headers(without="content-type")),
    "plain text": _changed(_headers(content_type="text/plain")),
    "said to be zipped": _changed(_headers(content_encoding="gzip")),
    "portal instead": _instead(200, HTML, "text/html"),
    "portal after": _after(200, HTML, "text/html"),
    "nothing instead": _instead(200, b""),
    "no content instead": _instead(204, b""),
    "not modified instead": _instead(304, b""),
    "accepted instead": _instead(202, b"{}"),
    "redirect to nowhere": _instead(302, b"", "text/html", ("Location", "http://127.0.0.1:9/login")),
    "redirect that keeps the method": _instead(307, b"", "text/html", ("Location", "http://127.0.0.1:9/login")),
    "rest of a second": _instead(429, b"{}", "application/json", ("Retry-After", "1")),
    "rest of a day": _instead(503, b"{}", "application/json", ("Retry-After", "86400")),
    **{f"{status} as JSON": _instead(status, b'{"error": {"message": "x"}}') for status in STATUSES},
    **{f"{status} as a page": _instead(status, HTML, "text/html") for status in (403, 404, 407, 503)},
    **{f"{status} after": _after(status, b"{}") for status in (404, 412, 500, 504)},
}

LASTING: Final = (
    *(
        "cut before",
        "cut after",
        "hang",
        "hang after",
        "truncated",
        "an empty object",
        "portal instead",
        "portal after",
    ),
    *("429 as JSON", "503 as a page"),
)
"""Faults that are also tried on every call of the kind until the pass is over."""
