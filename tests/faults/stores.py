"""The services behind the proxy: what their calls are, and what they hold, asked past the proxy."""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final
from urllib.parse import parse_qs, unquote, urlsplit

from tests.faults.proxy import Call
from tests.stores import apify_service, azure_service, cloudflare_service, voximplant_service
from tests.support.etcd import b64, running_members
from tests.support.openbao import ROOT_TOKEN, running_bao

FOREIGN: Final = ("foreign-1", "foreign-2")
"""Keys in the namespace that belong to another program."""


@dataclass(frozen=True)
class Backend:
    """One service, filled so far that its listing has a second page."""

    config: str
    """The store's lines in `kvsync.yaml`; `{url}` is where the proxy listens."""
    environ: Callable[[str], Mapping[str, str]]
    """What the command needs to know, by the address of the proxy."""
    url: str
    values: Callable[[], dict[str, bytes]]
    """What it holds in the namespace, by key: ours and the two foreign ones."""
    control: Callable[..., Any]
    """Talks to the service as its operator: method, path, body."""


@dataclass(frozen=True)
class Kind:
    """A store as the matrix tries it. `touched` gives the keys that a call writes or deletes."""

    serve: Callable[[], Any]
    kind_of: Callable[[Call], str]
    touched: Callable[[Call], set[str]]
    kinds: tuple[str, ...]


def _path(call: Call) -> list[str]:
    return [unquote(part) for part in urlsplit(call.target).path.strip("/").split("/")]


def _query(call: Call) -> dict[str, list[str]]:
    return parse_qs(urlsplit(call.target).query, keep_blank_values=True)


# -- Azure App Configuration ------------------------------------------------------------------------------------------


@contextmanager
def azure() -> Iterator[Backend]:
    with azure_service.Service.serve() as found:
        for number in range(110):
            found.set(f"web:filler-{number:03}", "x")
        for key in FOREIGN:
            found.set(f"web:{key}", f"of others {key}")

        def environ(url: str) -> Mapping[str, str]:
            name = azure_service.SECRET.name
            return {name: found.env[name].replace(found.url, url)}

        def values() -> dict[str, bytes]:
            skew = found.control("GET", "clock")["skew"]
            found.control("PUT", "clock", {"skew": 0})  # the vendor's client goes by the time of this machine
            held = list(found.sdk.list_configuration_settings(key_filter="web:*"))
            found.control("PUT", "clock", {"skew": skew})
            return {one.key[4:]: one.value.encode() for one in held if not one.key.startswith("web:filler")}

        config = "type: azure-appconfig, connection_string: {env: AZURE_APPCONFIG_CONNECTION_STRING}"
        yield Backend(config, environ, found.url, values, found.control)


def _azure_kind(call: Call) -> str:
    if call.method == "GET":
        is_list = _path(call)[-1] == "kv"
        return ("page2" if {"after", "After"} & _query(call).keys() else "list") if is_list else "read"
    return {"PUT": "write", "DELETE": "delete"}.get(call.method, call.method)


def _azure_touched(call: Call) -> set[str]:
    return {_path(call)[-1].removeprefix("web:")} if call.method in ("PUT", "DELETE") else set()


# -- Cloudflare Workers KV --------------------------------------------------------------------------------------------


@contextmanager
def cloudflare() -> Iterator[Backend]:
    with cloudflare_service.Service.serve() as found:
        found.reset("web")
        found.put_all("web", [{"key": f"filler-{number:04}", "value": "x"} for number in range(1_010)])
        for key in FOREIGN:
            found.put("web", key, f"of others {key}".encode())

        def values() -> dict[str, bytes]:
            keys = [key for key in found.listed("web") if not key.startswith("filler")]
            return {key: found.value("web", key) or b"" for key in keys}

        config = f"type: cloudflare-kv, account_id: {found.account}, token: {{env: CLOUDFLARE_API_TOKEN}}, endpoint: '{{url}}'"
        yield Backend(config, lambda _url: found.env, found.url, values, found.control)


def _cloudflare_kind(call: Call) -> str:
    path = _path(call)
    if path[-1] == "keys":
        return "page2" if _query(call).get("cursor", [""])[0] else "list"
    if path[-1] == "bulk":
        return "write"
    if path[-2:] == ["bulk", "delete"]:
        return "delete"
    return "read" if "values" in path or path[-2:] == ["bulk", "get"] else "find"


def _cloudflare_touched(call: Call) -> set[str]:
    kind, path = _cloudflare_kind(call), _path(call)
    if kind == "write":
        return {one["key"] for one in json.loads(call.body or b"[]")}
    if kind == "delete":
        return set(json.loads(call.body or b"[]"))
    return {path[-1]} if "values" in path and call.method in ("PUT", "DELETE") else set()


# -- Apify ------------------------------------------------------------------------------------------------------------


def apify(ledger: str) -> Callable[[], Any]:
    @contextmanager
    def serve() -> Iterator[Backend]:
        with apify_service.Service.serve() as found:
            found.reset("web")
            found.fill("web", 1_010)
            for key in FOREIGN:
                found.put("web", key, f"of others {key}")

            def values() -> dict[str, bytes]:
                keys = [key for key in found.keys("web") if not key.startswith(("filled", "kvsync."))]
                return {key: found.value("web", key) or b"" for key in keys}

            config = f"type: apify, token: {{env: APIFY_TOKEN}}, ledger: {ledger}, endpoint: '{{url}}'"
            yield Backend(config, lambda _url: found.env, found.url, values, found.control)

    return serve


def _apify_kind(call: Call) -> str:
    path = _path(call)
    if path[-1] == "keys":
        return "page2" if _query(call).get("exclusiveStartKey", [""])[0] else "list"
    if path[-2] == "records":
        if path[-1].startswith("kvsync."):
            return "ledger"
        return {"GET": "read", "HEAD": "read", "PUT": "write", "DELETE": "delete"}.get(call.method, call.method)
    return "find"


def _apify_touched(call: Call) -> set[str]:
    return {_path(call)[-1]} if _apify_kind(call) in ("write", "delete") else set()


# -- Voximplant -------------------------------------------------------------------------------------------------------


def voximplant(ledger: str) -> Callable[[], Any]:
    @contextmanager
    def serve() -> Iterator[Backend]:
        with voximplant_service.Service.serve() as found:
            for number in range(60):
                found.put(f"web:filler-{number:03}", "x", ttl=7_000_000)
            for key in FOREIGN:
                found.put(f"web:{key}", f"of others {key}", ttl=7_000_000)

            def values() -> dict[str, bytes]:
                held = found.values("web:").items()
                return {key[4:]: value.encode() for key, value in held if not key.startswith("web:filler")}

            config = (
                "type: voximplant, credentials: {env: VOXIMPLANT_CREDENTIALS}, application_id: 1, "
                f"requests_per_second: 100000, ledger: {ledger}, endpoint: '{{url}}'"
            )
            yield Backend(config, lambda _url: found.env, found.url, values, found.control)

    return serve


def _vox_parameters(call: Call) -> dict[str, list[str]]:
    return parse_qs(call.body.decode("utf-8", "replace"), keep_blank_values=True) | _query(call)


def _vox_kind(call: Call) -> str:
    parameters = _vox_parameters(call)
    method = parameters.get("cmd", [""])[0]
    if "#kvsync." in parameters.get("key", [""])[0]:
        return "ledger"
    if method in ("GetKeyValueItems", "GetKeyValueKeys"):
        return "page2" if parameters.get("offset", ["0"])[0] != "0" else "list"
    kinds = {"SetKeyValueItem": "write", "DelKeyValueItem": "delete", "GetKeyValueItem": "read"}
    return kinds.get(method, "find")


def _vox_touched(call: Call) -> set[str]:
    is_change = _vox_kind(call) in ("write", "delete")
    return {_vox_parameters(call)["key"][0].removeprefix("web:")} if is_change else set()


# -- etcd -------------------------------------------------------------------------------------------------------------


@contextmanager
def etcd() -> Iterator[Backend]:
    with TemporaryDirectory() as folder, running_members(Path(folder), 1, "--unsafe-no-fsync") as (member,):
        for key in FOREIGN:
            member.put(f"web/{key}", f"of others {key}")

        def values() -> dict[str, bytes]:
            found = member.ask("kv/range", key=b64("web/"), range_end=b64("web0")).get("kvs", ())
            return {b64decode(one["key"]).decode()[4:]: b64decode(one.get("value", "")) for one in found}

        yield Backend("type: etcd, endpoint: '{url}'", lambda _url: {}, member.url, values, _no_control)


def _no_control(*_arguments: Any) -> None:
    """A real server goes by the real time."""


def _etcd_kind(call: Call) -> str:
    if not call.target.endswith("/kv/txn"):
        return "find"
    if b'"request_put"' in call.body:
        return "write"
    if b'"request_delete_range"' in call.body:
        return "delete"
    return "read" if b'"request_txn"' in call.body else "list"


def _etcd_touched(call: Call) -> set[str]:
    operations = _operations(json.loads(call.body)) if _etcd_kind(call) in ("write", "delete") else ()
    keys = {b64decode(one["key"]).decode() for one in operations}
    return {key.removeprefix("web/") for key in keys if key.startswith("web/") and not key.endswith("\0")}


def _operations(found: Any) -> Iterator[Mapping[str, Any]]:
    """All puts and deletes of a transaction, nested ones too."""
    if isinstance(found, list):
        for one in found:
            yield from _operations(one)
    elif isinstance(found, dict):
        for name, member in found.items():
            if name in ("request_put", "request_delete_range"):
                yield member
            else:
                yield from _operations(member)


# -- Vault and OpenBao ------------------------------------------------------------------------------------------------


@contextmanager
def vault() -> Iterator[Backend]:
    with TemporaryDirectory() as folder, running_bao(Path(folder)) as server:
        for key in FOREIGN:
            server.put(f"web/{key}", {"value": f"of others {key}"})

        def values() -> dict[str, bytes]:
            held = {path: server.get(path) for path in server.paths()}
            return {path[4:]: str(found["value"]).encode() for path, found in held.items() if found is not None}

        config = "type: vault-kv, endpoint: '{url}', token: {env: VAULT_TOKEN}"
        yield Backend(config, lambda _url: {"VAULT_TOKEN": ROOT_TOKEN}, server.url, values, _no_control)


def _vault_kind(call: Call) -> str:
    kind = "/".join(_path(call)[2:3])
    kinds = {
        ("GET", "detailed-metadata"): "list",
        ("GET", "data"): "read",
        ("POST", "data"): "write",
        ("PATCH", "metadata"): "mark",
        ("POST", "metadata"): "mark",
        ("POST", "delete"): "delete",
    }
    return kinds.get((call.method, kind), "find")


def _vault_touched(call: Call) -> set[str]:
    return {_path(call)[-1]} if _vault_kind(call) in ("write", "mark", "delete") else set()


_PAGES: Final = ("list", "page2", "read", "write", "delete")
_EMULATED: Final = (_apify_kind, _apify_touched)
_VOX: Final = (_vox_kind, _vox_touched)

KINDS: Final[dict[str, Kind]] = {
    "azure-appconfig": Kind(azure, _azure_kind, _azure_touched, ("list", "page2", "write", "delete")),
    "cloudflare-kv": Kind(cloudflare, _cloudflare_kind, _cloudflare_touched, (*_PAGES, "find")),
    "apify": Kind(apify("local"), *_EMULATED, (*_PAGES, "find")),
    "apify with a ledger": Kind(apify("store"), *_EMULATED, ("ledger", "write")),
    "voximplant": Kind(voximplant("local"), *_VOX, _PAGES),
    "voximplant with a ledger": Kind(voximplant("store"), *_VOX, ("ledger", "write")),
    "etcd": Kind(etcd, _etcd_kind, _etcd_touched, ("list", "write", "delete", "find")),
    "vault-kv": Kind(vault, _vault_kind, _vault_touched, ("list", "write", "mark", "delete", "find")),
}
"""The stores, and the kinds of calls that a pass makes to each."""
