"""Redaction: no form of a registered secret survives, and what is secret by its place is hidden unregistered."""

from __future__ import annotations

import html
import json
import re
import string
import textwrap
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus, unquote, urlencode

import httpx
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from kvsync.util.escaping import quote_text
from kvsync.util.redaction import HIDDEN, SHORTEST, Redactor, is_secret_name
from tests.support.calls import counted_calls
from tests.support.examples import examples
from tests.test_growth import counting

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


def test_of_a_connection_string_the_address_stays() -> None:
    """Where a call went must be reported; the key, its id and whatever else there is are taken out."""
    redactor = redactor_of("Endpoint=https://settings.example:8443;Id=key-id-17;Secret=c2VjcmV0LXNlY3JldA==;More")
    for said in ("no connection to settings.example:8443: refused", "GET https://settings.example:8443/kv"):
        assert redactor.redact_foreign(said) == redactor.redact(said) == said
    for part in ("key-id-17", "c2VjcmV0LXNlY3JldA==", "VjcmV0LX", "secret-secret"):
        assert part not in redactor.redact_foreign(f"<{part}>")


@example(secret="abcd'\x00", form="html")
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
    """Names of kvsync's own fields are not secrets."""
    assert not is_secret_name(name)


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("Authorization: Bearer abcdef.123456", "Authorization: Bearer ***"),
        ("GET https://user:pa55@host/x", "GET https://user:***@host/x"),
        ("GET /x?a=1&access_token=abc&b=2", "GET /x?a=1&access_token=***&b=2"),
        ("the bearer of news", "the bearer of news"),
        ("token: secrets are not allowed in this file", "token: secrets are not allowed in this file"),
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
    """An object that is not plain data is shown as its text, redacted."""
    assert redactor_of("hunter22").redact_data([ValueError("no hunter22"), Path("/x")]) == ["no ***", "/x"]


def test_a_redactor_shows_nothing() -> None:
    """The repr of a redactor holds no secret."""
    assert "hunter22" not in repr(redactor_of("hunter22"))


# -- pieces, in every encoding ----------------------------------------------------------------------------------------

ALPHABET = string.ascii_letters + string.digits + "!#$%&()*+,-./:;<=>?@[]^_{|}~ \"'\\"

canaries = st.text(ALPHABET, min_size=24, max_size=40).filter(lambda text: text == text.strip())
"""Values as people and programs make them up; what stands around them is of other characters."""


def _utf16(text: str) -> str:
    return text.encode("utf-16-le").decode("latin-1")


ENCODINGS: dict[str, Callable[[str], str]] = {
    **FORMS,
    "every byte in percent": lambda text: "".join(f"%{byte:02x}" for byte in text.encode()),
    "every character as JSON escape": lambda text: "".join(f"\\u{ord(char):04x}" for char in text),
    "every byte as C escape": lambda text: "".join(f"\\x{byte:02X}" for byte in text.encode()),
    "every byte in octal": lambda text: "".join(f"\\{byte:03o}" for byte in text.encode()),
    "every character as HTML entity": lambda text: "".join(f"&#{ord(char)};" for char in text),
    "hexadecimal HTML entities": lambda text: "".join(f"&#x{ord(char):X};" for char in text),
    "hexadecimal": lambda text: text.encode().hex(),
    "upper-case hexadecimal": lambda text: text.encode().hex().upper(),
    "upper case": str.upper,
    "UTF-16": _utf16,
    "UTF-16 in base64": lambda text: b64encode(text.encode("utf-16-le")).decode(),
    "UTF-16 in hexadecimal": lambda text: text.encode("utf-16-be").hex(),
    "UTF-16 in JSON": lambda text: json.dumps(_utf16(text)),
    "base64, one place on": lambda text: b64encode(b"=" + text.encode()).decode(),
    "base64, two places on": lambda text: b64encode(b"==" + text.encode()).decode(),
    "base64 in lines": lambda text: "\n".join(textwrap.wrap(b64encode(text.encode()).decode(), 20)),
    "base64 in a URL": lambda text: quote(b64encode(text.encode()).decode(), safe=""),
    "JSON in JSON": lambda text: json.dumps(json.dumps({"value": text})),
    "JSON in JSON in JSON": lambda text: json.dumps(json.dumps(json.dumps({"value": text}))),
    "JSON in base64": lambda text: b64encode(json.dumps(text).encode()).decode(),
    "base64 in base64": lambda text: b64encode(b64encode(text.encode())).decode(),
    "JSON in a query in HTML": lambda text: html.escape(urlencode({"q": json.dumps(text)})),
    "as kvsync spells it out": lambda text: quote_text(text),
}


def plain_pieces(text: str, secret: str, size: int) -> list[str]:
    """The pieces of a secret, as they are, that are in a text."""
    lower = text.lower()
    return [piece for at in range(len(secret) - size + 1) if (piece := secret[at : at + size].lower()) in lower]


@pytest.mark.parametrize("encoding", sorted(set(ENCODINGS) - {"base64 in base64", "base64 in lines"}))
@settings(max_examples=examples(30))
@given(secret=canaries)
def test_no_encoding_hides_a_secret(encoding: str, secret: str) -> None:
    """A whole secret is found in kvsync's own text in every encoding, and nothing around it is lost."""
    written = ENCODINGS[encoding](secret)
    clean = redactor_of(secret).redact(f"§ {written} §")
    assert HIDDEN in clean
    assert written not in clean
    assert clean.startswith("§ ")
    assert clean.endswith(" §")


@pytest.mark.parametrize("encoding", sorted(ENCODINGS))
@settings(max_examples=examples(30))
@given(data=st.data(), secret=canaries)
def test_a_value_cut_short_is_found_in_foreign_text(encoding: str, data: st.DataObject, secret: str) -> None:
    """A server that repeats any part of a value, in any encoding, does not get it shown: 15 characters are enough in all of
    them, also where base64 of base64 mixes them with their neighbours twice."""
    start = data.draw(st.integers(0, len(secret) - 15))
    part = secret[start : data.draw(st.integers(start + 15, len(secret)))]
    clean = redactor_of(secret).redact_foreign(f"value «{ENCODINGS[encoding](part)}» is invalid")
    assert HIDDEN in clean
    assert plain_pieces(html.unescape(unquote(clean)), secret, 8) == []


@given(data=st.data(), secret=canaries, before=st.text("§«»", max_size=9), after=st.text("§«»", max_size=9))
def test_eight_bytes_are_enough_in_foreign_text(data: st.DataObject, secret: str, before: str, after: str) -> None:
    """Of a text of others, every piece of 8 bytes that is in a secret is hidden, wherever it begins; shorter ones stay."""
    start, size = data.draw(st.integers(0, len(secret) - 8)), data.draw(st.integers(5, 8))
    part = secret[start : start + size]
    clean = redactor_of(secret).redact_foreign(f"{before}{part}{after}")
    assert (clean != f"{before}{part}{after}") == (size == 8) or not part.strip()


@given(st.data(), st.binary(min_size=8, max_size=40))
def test_bytes_that_are_not_text(data: st.DataObject, secret: bytes) -> None:
    """A binary secret is found in base64 and hexadecimal too."""
    redactor = Redactor()
    redactor.register(secret)
    assume(len(secret.decode("utf-8", "surrogateescape")) >= SHORTEST)
    for written in (b64encode(secret).decode(), secret.hex()):
        assert HIDDEN in redactor.redact_foreign(f"§{written}§")


@given(secret=st.text("abcdefghijklmnopqrstuvwxyz", min_size=12, max_size=30), word=st.integers(0, 4))
def test_words_of_a_secret_stay_in_own_text(secret: str, word: int) -> None:
    """kvsync's own text keeps words that also occur in a sensitive value; the whole value is hidden, and text of others is not
    trusted with the words either."""
    redactor = redactor_of(secret)
    assert redactor.redact(f"§{secret[word : word + 8]}§") == f"§{secret[word : word + 8]}§"
    assert redactor.redact(f"§{secret}§") == f"§{HIDDEN}§"
    assert redactor.redact_foreign(f"§{secret[word : word + 8]}§") == f"§{HIDDEN}§"


def test_a_sensitive_url_hides_no_other() -> None:
    """A sensitive connection string takes neither scheme, host nor database out of what else is said."""
    redactor = redactor_of("postgres://app:S3cr3t-Passw0rd@db.example.com:5432/production")
    text = "postgres: https://example.com/docs, environment production, port 5432"
    assert redactor.redact(text) == text
    assert redactor.redact("it was S3cr3t-Passw0rd") == f"it was {HIDDEN}"


@given(st.lists(canaries, min_size=1, max_size=30), st.text(max_size=200))
def test_other_text_stays(secrets_: list[str], text: str) -> None:
    """Text without 8 bytes of a secret stays as it is, however many secrets there are."""
    assume(not any(plain_pieces(text, secret, 5) for secret in secrets_))
    assert redactor_of(*secrets_).redact_foreign(f"§{text}§").count("§") >= 2


def test_thousands_of_secrets_cost_no_more_than_one() -> None:
    """What is looked at does not grow with the number of secrets: each further one adds to the index, not to the looks."""
    redactor = redactor_of(
        *(f"{number:05}-{number * 7919:x}-secret" for number in range(3000)), *(f"pin{n:04}" for n in range(3000))
    )
    assert redactor.redact("nothing of them") == "nothing of them"
    assert redactor.redact(f"00042-{42 * 7919:x}-secret and pin0815") == f"{HIDDEN} and {HIDDEN}"


def test_a_large_secret_is_known_by_its_ends() -> None:
    """Of a secret of a megabyte, the beginning and the end are known in pieces, and the whole as such; memory stays small."""
    secret = "".join(f"{number:x}~" for number in range(200_000))
    redactor = redactor_of(secret)
    assert redactor.redact_foreign(f"§{secret[100:120]}§") == f"§{HIDDEN}§"
    assert redactor.redact_foreign(f"§{secret[-30:]}§") == f"§{HIDDEN}§"
    assert redactor.redact(f"§{secret}§") == f"§{HIDDEN}§"


# -- written so that it is hard to find ---------------------------------------------------------------------------------

APART = ("", " ", "-", ".", "\u200b", "\u2060", "\ufeff", "\u00ad", " - ", "\t", "_")


@pytest.mark.parametrize("backwards", [False, True])
@given(secret=canaries, apart=st.sampled_from(APART))
def test_separators_hide_no_secret(secret: str, apart: str, *, backwards: bool) -> None:
    """A secret is found backwards, and with blanks, dashes or invisible characters between its characters, in any text."""
    assume(len(re.sub("[^a-zA-Z0-9]", "", secret)) >= 12)
    written = apart.join(secret[::-1] if backwards else secret)
    for redact in (redactor_of(secret).redact, redactor_of(secret).redact_foreign):
        assert written.strip() not in redact(f"§ {written} §")
        assert HIDDEN in redact(f"§ {written} §")


@given(data=st.data(), secret=canaries, apart=st.sampled_from(APART))
def test_separators_hide_no_piece_in_foreign_text(data: st.DataObject, secret: str, apart: str) -> None:
    """A server that spells a part of a value out, or turns it round, does not get it shown."""
    letters = re.sub("[^a-zA-Z0-9]", "", secret)
    assume(len(letters) >= 12)
    start = data.draw(st.integers(0, len(letters) - 12))
    part = letters[start : start + 12]
    for written in (apart.join(part), apart.join(part[::-1])):
        assert HIDDEN in redactor_of(letters).redact_foreign(f"value «{written}» is invalid")


def test_the_work_grows_with_the_text() -> None:
    """Twice the text, in which a secret is spelled out again and again, is about twice the lines that run."""

    def lines_of(size: int) -> int:
        redactor, text = redactor_of("S3cr3t-Passw0rd-9x"), "S\u200b3-c r.3 t-P a s s w 0 r d-9 x, " * size
        with counting() as lines:
            redactor.redact_foreign(text)
        return lines.count

    assert lines_of(400) < 2.3 * lines_of(200)


# -- what authors choose ------------------------------------------------------------------------------------------------

SAID = (
    "local/backend: would delete 12 of 30 entries (40 %); the limit is 30 % (guard.max_delete_pct)\n"
    '{"action": "delete", "class": "drifted", "outcome": "not-attempted", "namespace": "payment_x", "before": null}\n'
    "parked; approve with: kvsync approve 3f9ad1c2b7e0 <!-- kvsync plan --> state/payments.yaml:3:1: unknown field"
)
WEAK = (
    "payment_", "payment_x", "delete", "local/backend", "kvsync", "parked", "drifted", "would delete", "ould delet",
    "of 30 entries", '"action": "delete"', '": null}', "approve with:", "not-attempted", "max_delete_pct", "namespace",
    "before", "payments.yaml:3", "--------", "kvsync approve", "12 of 30",
)  # fmt: skip


def author_of(*values: str) -> Redactor:
    redactor = Redactor()
    redactor.add_open_words("local", "backend", "payment_x", "state/payments.yaml")
    redactor.register_values(*values)
    return redactor


@pytest.mark.parametrize("value", WEAK)
def test_a_sensitive_value_takes_no_word_of_kvsync(value: str) -> None:
    """A sensitive value that is a word of kvsync's, a name, or a part of its output leaves all of that as it is, also spelled
    out, backwards or next to other characters, in text, in documents and in log events."""
    assert author_of(value).is_weak(value)
    for spelled in (value, value[::-1], value.replace(" ", ""), f"Zq9-{value} x", f"x{value}!Qz7", " ".join(value)):
        redactor = author_of(spelled)
        assert redactor.redact(SAID) == SAID
        assert redactor.redact_data({"action": SAID, "event": "target.parked"}) == {
            "action": SAID,
            "event": "target.parked",
        }
        assert redactor.clean({"action": "delete", "message": SAID}) == {"action": "delete", "message": SAID}


@pytest.mark.parametrize(
    "value",
    ["correct horse battery", "S3cr3t-Passw0rd", "4111 1111 1111 1111", "83719264", "delete-7fQ2", "пароль-секрет"],
)
def test_a_real_sensitive_value_is_hidden(value: str) -> None:
    """What is not a word of kvsync's is taken out, also between such words."""
    redactor = author_of(value)
    assert not redactor.is_weak(value)
    assert redactor.redact(f"would delete {value} of 30 entries") == f"would delete {HIDDEN} of 30 entries"


def test_a_credential_of_words_is_hidden() -> None:
    """What the operator chose is taken out, whatever it is made of."""
    redactor = author_of()
    redactor.register("delete-policy")
    assert redactor.redact("the token delete-policy") == f"the token {HIDDEN}"


@pytest.mark.parametrize(
    ("url", "secret"),
    [
        ("postgresql://kv:hunter%2222@db.example:5432/state", "hunter%2222"),
        ("postgresql://kv:hunter%2222@db.example:5432/state", 'hunter"22'),
        ("postgres://db.example/state?sslmode=require&password=hunter2222", "hunter2222"),
    ],
)
def test_of_a_database_url_only_the_password_is_secret(url: str, secret: str) -> None:
    """Messages name the server and the database, never the password, as it is written or as it is meant."""
    redactor = Redactor()
    redactor.register(url)
    assert secret not in redactor.redact(f"cannot connect: {secret} refused")
    assert redactor.redact("db.example:5432/state is down") == "db.example:5432/state is down"


class Holder:
    """Something that has tokens."""


def test_of_tokens_that_follow_each_other_the_last_two_are_hidden() -> None:
    """A token and the one before it are hidden, in every form; older ones, and those of holders that are gone, are forgotten.
    Thousands of them take no more memory than a few."""
    redactor, one, other = Redactor(), Holder(), Holder()
    tokens = [f"hvs.{sha256(str(number).encode()).hexdigest()}" for number in range(1000)]
    redactor.register_token(other, "a-token-of-another-holder-5")
    for token in tokens:
        redactor.register_token(one, token)
        redactor.register_token(one, token)
    for token in (*tokens[-2:], "a-token-of-another-holder-5"):
        for form in (token, b64encode(token.encode()).decode(), quote(token)):
            assert redactor.redact(f"say {form}!") == f"say {HIDDEN}!"
    assert redactor.redact(f"say {tokens[0]}!") == f"say {tokens[0]}!"
    assert len(redactor._tokens.fragments._windows) < 10_000
    del other
    redactor.register_token(one, "the-last-token-of-all-9")
    assert "another-holder" in redactor.redact("a-token-of-another-holder-5")


def test_registering_a_known_credential_again_costs_nearly_nothing() -> None:
    """A credential is read again for each request: only the first time its parts and forms are found."""
    redactor = redactor_of("a-long-credential")
    with counted_calls() as calls:
        redactor.register("a-long-credential")
    assert calls.count < 5
    assert redactor.redact("it is a-long-credential.") == f"it is {HIDDEN}."
