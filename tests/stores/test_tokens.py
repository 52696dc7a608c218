"""Tokens that a store fetches or signs, which no credential of the configuration shows: they are secrets too."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from kvsync.config.model import Credential, CredentialKind, StoreConfig
from kvsync.errors import StoreError
from kvsync.model.entry import Identity
from kvsync.stores.base import StoreContext
from kvsync.stores.registry import open_store
from kvsync.util.clock import Clock
from kvsync.util.redaction import HIDDEN, REDACTOR
from tests.http.script_server import Exchange, says, serving

SECRET = Credential(CredentialKind.ENV, "SECRET")


@dataclass(frozen=True)
class Case:
    """A store that signs in: its options, the endpoint of the sign-in with its answer, and the header with the token."""

    options: Mapping[str, Any]
    header: str
    login: str = ""
    answer: Mapping[str, Any] | None = None


CASES = {
    "vault-kv": Case(
        {"mount": "secret", "role_id": "web", "secret_id": SECRET},
        *("x-vault-token", "/v1/auth/approle/login"),
        {"auth": {"client_token": "hvs.CAESIJ7fU3q0Zk2LxWm", "lease_duration": 3600}},
    ),
    "etcd": Case(
        {"username": "kvsync", "password": SECRET},
        *("authorization", "/v3/auth/authenticate"),
        {"token": "UoRqzVbNfLkHsWcY.17"},
    ),
    "voximplant": Case({"credentials": SECRET, "application_id": 1}, "authorization"),
}


def secret(kind: str) -> str:
    """What the store signs in with."""
    if kind != "voximplant":
        return "correct-horse"
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    return json.dumps({"account_id": 1, "key_id": "k", "private_key": pem})


@pytest.mark.parametrize("kind", CASES)
async def test_a_token_that_the_server_repeats_is_hidden(kind: str) -> None:
    """A server that repeats the token in an error puts it into no message."""
    case, seen = CASES[kind], set[str]()

    async def act(exchange: Exchange) -> None:
        if case.login and f" {case.login} " in exchange.line:
            await says(200, json.dumps(case.answer).encode())(exchange)
            return
        token = exchange.headers[case.header].removeprefix("Bearer ")
        seen.add(token)
        text = f"what is {token}?"
        refusal = {"errors": [text], "error": {"code": 492, "msg": text, "message": text}, "message": text, "code": 3}
        await says(200 if kind == "voximplant" else 400, json.dumps(refusal).encode())(exchange)

    text = secret(kind)
    async with serving(act) as server:
        context = StoreContext(Path(), None, lambda _: text, Clock())
        store = open_store(StoreConfig("core", kind, case.options, endpoint=server.origin, timeout=60), context)
        with pytest.raises(StoreError) as caught:
            await store.read("web", [Identity("a")])
        await store.aclose()
    (token,) = seen
    message = REDACTOR.redact(str(caught.value))
    assert "what is" in message
    assert HIDDEN in message
    for start in range(0, len(token) - 12, 8):
        assert token[start : start + 12] not in message
