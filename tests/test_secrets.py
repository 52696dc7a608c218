"""Redaction: no form of a registered secret survives, and what is secret by its place is hidden unregistered."""

from __future__ import annotations

import html
import json
import re
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus, urlencode

import httpx
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from kvsync.secrets import HIDDEN, SHORTEST, Redactor, is_secret_name

secrets = st.text(st.characters(exclude_categories=["Cs"]), min_size=SHORTEST, max_size=40)
surroundings = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)

FORMS: dict[str, Callable[[str], str]] = {
    "plain": str,
    "url": lambda secret: quote(secret, safe=""),
    "url path": quote,
    "url query": quote_plus,
    "form": lambda secret: urlencode({"x": secret}),
    "lower-case url": lambda secret: re.sub("%..", lambda match: match[0].lower(), quote(secret, safe="")),
    "json": json.dumps,
    "json with unicode": lambda secret: json.dumps(secret, ensure_ascii=False),
    "html": html.escape,
    "repr": repr,
    "repr of bytes": lambda secret: repr(secret.encode()),
    "base64": lambda secret: b64encode(secret.encode()).decode(),
    "url-safe base64": lambda secret: urlsafe_b64encode(secret.encode()).decode(),
}


def redactor_of(*values: str) -> Redactor:
    redactor = Redactor()
    redactor.register(*values)
    return redactor


@given(secret=secrets, before=surroundings, after=surroundings)
def test_no_secret_survives(secret: str, before: str, after: str) -> None:
    """A registered secret never appears in redacted text, whatever stands around it."""
    assume(secret not in HIDDEN)
    assert secret not in redactor_of(secret).redact(before + secret + after + secret)


@given(secret=secrets, form=st.sampled_from(sorted(FORMS)))
def test_no_form_survives(secret: str, form: str) -> None:
    """A secret is found in URLs, JSON, HTML, reprs and base64."""
    written = FORMS[form](secret)
    clean = redactor_of(secret).redact(f"<{written}>")
    assert HIDDEN in clean
    assert written not in clean


@given(user=st.text("abc", max_size=4), secret=st.text(st.characters(codec="ascii"), min_size=9, max_size=30))
def test_inside_a_longer_base64(user: str, secret: str) -> None:
    """A secret within a longer base64 text, as in basic authentication, leaves too little to be found out."""
    header = b64encode(f"{user}:{secret}".encode()).decode()
    clean = redactor_of(secret).redact(f"Basic {header}")
    left = clean.removeprefix("Basic ").replace(HIDDEN, "")
    assert len(left) <= len(b64encode(f"{user}:".encode())) + 4


@given(st.lists(st.text("ab", min_size=SHORTEST, max_size=10), min_size=1, max_size=4), st.text("ab*", max_size=30))
def test_overlapping_secrets(values: list[str], text: str) -> None:
    """Secrets that overlap, contain each other, or join once something is taken out from between, all vanish."""
    clean = redactor_of(*values).redact(text)
    assert not [value for value in values if value in clean]


@given(st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=3) | st.tuples(inner) | st.dictionaries(st.text(), inner, max_size=3),
), secrets)  # fmt: skip
def test_data(data: Any, secret: str) -> None:
    """In data of any shape, no text, bytes, number or name holds the secret."""
    assume(secret not in HIDDEN)
    clean = redactor_of(secret).redact_data([data, secret, {secret: secret.encode()}, {"deep": [(secret,)]}])
    assert secret not in list(_leaves(clean))
    assert not any(secret in leaf for leaf in _leaves(clean))


def _leaves(data: Any) -> list[str]:
    if isinstance(data, dict):
        return [leaf for pair in data.items() for item in pair for leaf in _leaves(item)]
    if isinstance(data, list | tuple):
        return [leaf for item in data for leaf in _leaves(item)]
    return [data.decode(errors="replace") if isinstance(data, bytes) else str(data)]


def test_data_keeps_its_shape() -> None:
    """What holds no secret comes back equal, types included."""
    data = {"a": [1, 2.5, None, True, "x", b"\xff\x00"], "b": ("y",), "c": {"d": 10**30}}
    assert redactor_of("hunter22").redact_data(data) == data


def test_a_number_may_be_a_secret() -> None:
    """A secret of digits is also hidden where it stands as a number."""
    assert redactor_of("81234567").redact_data({"pin": 81234567, "other": 7}) == {"pin": HIDDEN, "other": 7}


@pytest.mark.parametrize(
    "name",
    ["token", "access_token", "API_TOKEN", "password", "client_secret", "Authorization", "connection_string",
     "connectionString", "X-Api-Key", "private_key", "accessToken", "credentials", "Set-Cookie"],
)  # fmt: skip
def test_secret_by_name(name: str) -> None:
    """What stands under the name of a secret is hidden whole, registered or not, also in a mapping or as a number."""
    assert is_secret_name(name)
    assert Redactor().redact_data({"x": {name: "ab"}}) == {"x": {name: HIDDEN}}
    assert Redactor().redact_data({name: {"deep": 1}, "n": 1}) == {name: HIDDEN, "n": 1}
    assert Redactor().redact_data({name: None}) == {name: None}


@pytest.mark.parametrize("name", ["key", "tokens_used", "secretary", "store", "etag", "fingerprint", "keys", "passed"])
def test_not_secret_by_name(name: str) -> None:
    """Names of kvsync's own fields are no secrets."""
    assert not is_secret_name(name)


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("Authorization: Bearer abcdef.123456", "Authorization: Bearer ***"),
        ("GET https://user:pa55@host/x", "GET https://user:***@host/x"),
        ("GET /x?a=1&access_token=abc&b=2", "GET /x?a=1&access_token=***&b=2"),
        ("the bearer of news", "the bearer of news"),
        ("token: a secret must not stand in the file", "token: a secret must not stand in the file"),
        ("edge/web:12:3: ttl=5", "edge/web:12:3: ttl=5"),
    ],
)
def test_secret_by_place(text: str, clean: str) -> None:
    """Bearer tokens, passwords in URLs and tokens in queries are hidden unregistered; other text stays as it is."""
    assert Redactor().redact(text) == clean


def test_short_secrets_stay_in_text() -> None:
    """A secret of fewer than 4 characters is not taken out of text, which it would destroy, but hidden by its name."""
    redactor = redactor_of("1", "abc", "")
    assert redactor.redact("1 abc") == "1 abc"
    assert redactor.redact_data({"token": "abc"}) == {"token": HIDDEN}


def test_the_parts_of_a_connection_string() -> None:
    """The secret inside a connection string is a secret on its own; the rest of it is not."""
    redactor = redactor_of("Endpoint=https://kv.example;Id=ab-l0-s0:x;Secret=c2VjcmV0LXZhbHVl")
    assert redactor.redact("key c2VjcmV0LXZhbHVl at https://kv.example") == "key *** at https://kv.example"


def test_the_parts_of_a_key_file() -> None:
    """The lines of a private key in a JSON credential are secrets; its account number is not."""
    key = "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG\n-----END PRIVATE KEY-----\n"
    redactor = redactor_of(json.dumps({"account_id": 123456, "private_key": key}))
    assert redactor.redact("line MIIEvQIBADANBgkqhkiG of 123456") == "line *** of 123456"


def test_what_a_real_client_sends() -> None:
    """A secret is found in the URL and the header that a real HTTP client makes of it."""
    secret = "p@ss w/ö&rd=%+~'"
    request = httpx.Request("GET", "https://host/path", params={"q": secret})
    sent = next(httpx.BasicAuth("user", secret).sync_auth_flow(request))
    path = httpx.Request("GET", f"https://host/{secret.replace('%', '%25').replace('/', '%2F')}")
    clean = redactor_of(secret).redact(f"{sent.url} {path.url}")
    assert clean == "https://host/path?q=*** https://host/***"
    assert redactor_of(secret).redact(sent.headers["Authorization"]) != sent.headers["Authorization"]


def test_threads() -> None:
    """Registering in many threads while others redact loses nothing and breaks nothing."""
    redactor = Redactor()

    def work(number: int) -> str:
        redactor.register(f"secret-number-{number:04d}")
        return redactor.redact(f"x secret-number-{number:04d} y")

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(work, range(400))) == {"x *** y"}


def test_objects_become_text() -> None:
    """An object that is no plain data is shown as its text, redacted."""
    assert redactor_of("hunter22").redact_data([ValueError("no hunter22"), Path("/x")]) == ["no ***", "/x"]


def test_a_redactor_shows_nothing() -> None:
    """The repr of a redactor holds no secret."""
    assert "hunter22" not in repr(redactor_of("hunter22"))
