"""What a server says, in kvsync's errors: cut, cleaned, and not at all where a sensitive value was sent."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kvsync.errors import StoreError
from kvsync.http.failures import cleaned, failure, server_message
from kvsync.http.model import Credentials, ErrorText, Request, Response
from kvsync.util.redaction import REDACTOR
from tests.support.examples import examples
from tests.support.hostile_text import HOSTILE, is_harmless

SECRET = "c4nary-Value/with+31 characters"


@pytest.fixture(autouse=True)
def _secret() -> None:
    """Let kvsync know the secret."""
    REDACTOR.register(SECRET)


STATUSES = [300, 400, 401, 403, 404, 408, 409, 412, 413, 422, 425, 429, 431, 500, 502, 503, 504]

hostile = st.one_of(st.sampled_from(HOSTILE), st.text(max_size=400))


class ExplainingCredentials:
    """Credentials that explain a refusal by what the server says."""

    async def sign(self, call: Request, host: str) -> dict[str, str]:
        return {}

    async def renew(self, _refused: Mapping[str, str] | None = None) -> bool:
        return False

    def explain(self, call: Request, answer: Response) -> ErrorText:
        return ErrorText("credential", f"not valid ({server_message(call, answer)})", "make a new one")


def answer_of(status: int, said: str) -> Response:
    """An answer that says it in every place in which APIs say something."""
    error = {"type": said, "code": 7, "msg": said, "message": said}
    body = {"title": said, "detail": said, "errors": [error], "error": error, "message": said}
    return Response(
        status,
        dict.fromkeys(("x-ms-request-id", "x-request-id", "cf-ray", "retry-after"), said),
        json.dumps(body).encode(),
    )


def failed(call: Request, status: int, said: str) -> StoreError:
    asked: Credentials = ExplainingCredentials()
    return failure("store edge", call, answer_of(status, said), asked, 0)


@pytest.mark.parametrize("status", STATUSES)
@given(said=hostile)
@settings(max_examples=examples(30))
def test_nothing_a_server_says_breaks_out(status: int, said: str) -> None:
    """Whatever a server says, the error is one short line in which nothing is hidden, and no command."""
    text = str(failed(Request("PUT", "/", "writing a"), status, said))
    assert is_harmless(text)
    assert len(text) < 1000


@pytest.mark.parametrize("status", STATUSES)
@given(
    start=st.integers(0, len(SECRET) - 8), size=st.integers(8, 20), form=st.sampled_from([str, str.upper, str.title])
)
@settings(max_examples=examples(30))
def test_pieces_of_a_secret_are_hidden(status: int, start: int, size: int, form: Any) -> None:
    """A piece of any secret of 8 bytes or more is hidden in what a server says, and in its name for the request."""
    said = form(SECRET[start : start + size])
    assert SECRET[start : start + 8].lower() not in str(failed(Request("GET", "/", "reading"), status, said)).lower()


@pytest.mark.parametrize("status", STATUSES)
@given(said=st.text(st.characters(categories=["L", "N"]), min_size=4, max_size=60))
@settings(max_examples=examples(30))
def test_a_sensitive_write_repeats_nothing(status: int, said: str) -> None:
    """Where a sensitive value was sent, the message does not depend on what the server says, whether it looks like a secret or
    not; only a name for the request is repeated, of the shape that such names have."""
    call = Request("PUT", "/", "writing", is_secret=True)
    text = str(failed(call, status, f"\u00a7{said}"))  # no name for a request
    assert text == str(failed(call, status, "\u00a7other words"))
    assert "\u00a7" not in text
    assert "because a sensitive value was sent" in text


def test_what_is_reported_of_a_sensitive_write() -> None:
    """Status, the API's codes and the request's id are reported, so that an operator can look it up."""
    answer = Response(422, {"x-request-id": "4f1c-22"}, b'{"message": "no"}')
    call = Request("PUT", "/", "writing", is_secret=True)
    assert server_message(call, answer, (10012,)).startswith("status 422, code 10012 (request 4f1c-22); ")
    assert "4711471147" not in server_message(call, answer, (4711471147,))


def test_long_words_are_cut() -> None:
    """What a server says is cut to what a person reads."""
    assert len(cleaned("word " * 10_000)) == 300
