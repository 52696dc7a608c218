"""Raw HTTP to an emulator of Workers KV, and the keys that every part of it must carry."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import httpx

from kvsync.emulators.server import Running

AWKWARD = (
    *("a/b", "/lead", "a//b", "q?x=1&y=2", "100%", "%2F", "%252F", "#frag", "sp ace", "pl+us", "ключ/é", "emoji🎉"),
    *("a:b!c'(d)*", "...", "x/../y", "semi;colon", "back\\slash", '"quote"', "é" * 256),
)
REFUSED = (".", "..", "", "x" * 513)


class KvApi(httpx.Client):
    """Paths are below the namespaces of the account, or (with a slash in front) below `/client/v4`."""

    def __init__(self, server: Running, *, authorized: bool = True, **options: Any) -> None:
        token = {"Authorization": f"Bearer {server.env['CLOUDFLARE_API_TOKEN']}"} if authorized else {}
        options = {"headers": token} | options
        self.account = server.env["CLOUDFLARE_ACCOUNT_ID"]
        self.namespace = ""
        super().__init__(base_url=server.url, verify=False, trust_env=False, **options)
        self._origin = server.url.removesuffix("/client/v4")

    def at(self, path: str = "") -> str:
        """The path of something in the namespace in use."""
        return f"{self.all}/{self.namespace}{path}"

    @property
    def all(self) -> str:
        """The path of the namespaces."""
        return f"/accounts/{self.account}/storage/kv/namespaces"

    def use(self, namespace: str) -> None:
        """Let the following calls be about this namespace."""
        self.namespace = namespace

    def create(self, title: str) -> str:
        """Make a namespace; its id."""
        id_: str = ok(self.post(self.all, json={"title": title}))["id"]
        return id_

    def value(self, key: str) -> str:
        """The path of a value."""
        return self.at(f"/values/{quote(key, safe='')}")

    def write(self, *pairs: dict[str, Any], **values: str) -> Any:
        """Bulk put that must succeed."""
        named = [{"key": key, "value": value} for key, value in values.items()]
        return ok(self.put(self.at("/bulk"), json=[*pairs, *named]))

    def read(self, *keys: str, **options: Any) -> Any:
        """Bulk get that must succeed."""
        return ok(self.post(self.at("/bulk/get"), json={"keys": keys, **options}))["values"]

    def pages(self, **params: Any) -> list[dict[str, Any]]:
        """All pages of the keys."""
        found = [self.get(self.at("/keys"), params=params).json()]
        while cursor := found[-1]["result_info"]["cursor"]:
            found.append(self.get(self.at("/keys"), params=params | {"cursor": cursor}).json())
        return found

    def keys(self, **params: Any) -> list[str]:
        """The names of all keys."""
        return [key["name"] for page in self.pages(**params) for key in page["result"]]

    def control(self, method: str, path: str, body: Any = None) -> Any:
        """Talk to `/_emulator/`."""
        answer = self.request(method, f"{self._origin}/_emulator/{path}", json=body)
        assert answer.status_code == 200, answer.text
        return answer.json()


def ok(answer: httpx.Response) -> Any:
    """The result of a success."""
    document = answer.json()
    assert answer.status_code == 200, answer.text
    assert (document["success"], document["errors"]) == (True, [])
    return document["result"]


def error(answer: httpx.Response) -> tuple[int, int, str]:
    """Status, code and message of a failure with one error, in its envelope."""
    document = answer.json()
    assert (document["success"], document["result"], document["messages"]) == (False, None, [])
    (only,) = document["errors"]
    return answer.status_code, only["code"], only["message"]
