"""Raw HTTP to an emulator of Voximplant's key-value storage, with tokens signed by hand."""

from __future__ import annotations

import json
import time
from functools import cache
from pathlib import Path
from typing import Any

import httpx
import jwt

from kvsync.emulators.server import Running

NOON = 1_766_577_600  # 2025-12-24T12:00:00Z
DAY = 86_400
SET, GET, DELETE = "SetKeyValueItem", "GetKeyValueItem", "DelKeyValueItem"
ITEMS, KEYS = "GetKeyValueItems", "GetKeyValueKeys"


def account(server: Running) -> dict[str, Any]:
    """The file of the service account, read."""
    found: dict[str, Any] = json.loads(Path(server.env["VOXIMPLANT_CREDENTIALS"]).read_text(encoding="utf-8"))
    return found


def token(server: Running, *, kid: str | None = None, key: str | None = None, **claims: Any) -> str:
    """A token that opens, but for what is given; claims of None are left out."""
    known, now = account(server), int(time.time())
    payload = {"iss": str(known["account_id"]), "iat": now - 5, "exp": now + 600} | claims
    payload = {name: value for name, value in payload.items() if value is not None}
    text, headers = json.dumps(payload).encode(), {"kid": kid or known["key_id"]}
    return jwt.PyJWS().encode(text, _key(key or known["private_key"]), "RS256", headers)


@cache
def _key(pem: str) -> Any:
    """A private key, read. That takes a while."""
    return jwt.algorithms.RSAAlgorithm(jwt.algorithms.RSAAlgorithm.SHA256).prepare_key(pem)


class VoxApi(httpx.Client):
    """Calls methods by their name in the path, with parameters in an urlencoded body, about application 1."""

    def __init__(self, server: Running, *, authorized: bool = True, **options: Any) -> None:
        headers = {"Authorization": f"Bearer {token(server)}"} if authorized else {}
        options = {"headers": headers} | options
        super().__init__(base_url=server.url, verify=False, trust_env=False, **options)

    def ask(self, method: str, **parameters: Any) -> httpx.Response:
        """The answer, whatever it is."""
        return self.post(f"/platform_api/{method}", data={"application_id": 1} | parameters)

    def call(self, method: str, **parameters: Any) -> Any:
        """The result of a success."""
        return result(self.ask(method, **parameters))

    def code(self, method: str, **parameters: Any) -> int:
        """The code of a refusal."""
        return error(self.ask(method, **parameters))[1]

    def set(self, key: str, value: str = "v", **parameters: Any) -> Any:
        """Set that must succeed."""
        return self.call(SET, key=key, value=value, **parameters)

    def value(self, key: str) -> str | None:
        """What a key holds; None for nothing, however that is said."""
        document = self.ask(GET, key=key).json()
        if "error" in document:
            assert document["error"]["code"] == 341
            return None
        found: str | None = (document.get("result") or {}).get("value")
        return found

    def all(self, method: str = KEYS, size: int = 50, **parameters: Any) -> list[dict[str, Any]]:
        """The entries of all pages, read until one is short."""
        found: list[dict[str, Any]] = []
        while True:
            page = self.call(method, count=size, offset=len(found), **parameters)
            found += page
            if len(page) < size:
                return found

    def keys(self, **parameters: Any) -> list[str]:
        """The keys of all pages."""
        return [entry["key"] for entry in self.all(**parameters)]

    def control(self, method: str, path: str, body: Any = None) -> Any:
        """Talk to `/_emulator/`."""
        answer = self.request(method, f"/_emulator/{path}", json=body)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def stop_at(self, moment: float) -> None:
        """Let virtual time stand still at a moment."""
        self.control("PUT", "clock", {"now": moment, "frozen": True})


def result(answer: httpx.Response) -> Any:
    """The result of a success; None where there is none."""
    document = answer.json()
    assert (answer.status_code, document.get("error")) == (200, None), answer.text
    return document.get("result")


def error(answer: httpx.Response) -> tuple[int, int, str]:
    """Status, code and message of a refusal in its envelope."""
    document = answer.json()
    assert list(document) == ["error"], answer.text
    assert set(document["error"]) == {"code", "msg"}
    return answer.status_code, document["error"]["code"], document["error"]["msg"]
