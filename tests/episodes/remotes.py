"""The stores of the episodes: what they hold, and how another program changes it."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from azure.appconfiguration import ConfigurationSetting

from tests.faults.proxy import Call, Proxy, proxied
from tests.faults.stores import KINDS
from tests.stores import apify_service, azure_service, cloudflare_service, voximplant_service
from tests.stores.emulated import ContainerService


@dataclass(frozen=True)
class Remote:
    """A store with one namespace, `web`. `config` are its lines in `kvsync.yaml`."""

    config: str
    environ: Mapping[str, str]
    values: Callable[[], dict[str, bytes]]
    put: Callable[[str, str], Any]
    delete: Callable[[str], Any]
    control: Callable[..., Any] | None = None
    """Talks to the service as its operator, where there is one."""
    proxy: Proxy | None = None
    kinds: tuple[str, ...] = ()
    touched: Callable[[Call], set[str]] = lambda _call: set()

    def let_time_be(self, now: float, ahead: float) -> None:
        """Set the time of entries, and the server's own clock."""
        if self.control is not None:
            self.control("PUT", "clock", {"now": now, "skew": ahead})

    def faults(self, spec: str, seed: int = 0) -> None:
        """Inject faults from now on; an empty text heals."""
        if self.control is not None:
            self.control("PUT", "faults", {"spec": spec, "seed": seed})


def sqlite(file: Path) -> Remote:
    """A store in a file, which another program edits with SQL."""

    def run(statement: str, *parameters: object) -> list[Any]:
        if not file.exists():
            return []
        with closing(sqlite3.connect(file, timeout=30)) as connection, connection:
            has_table = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'entries'").fetchall()
            return connection.execute(statement, parameters).fetchall() if has_table else []

    def put(key: str, value: str) -> None:
        if not run("UPDATE entries SET value = ? WHERE namespace = 'web' AND key = ? RETURNING 1", value.encode(), key):
            run("INSERT INTO entries(namespace, key, value) VALUES ('web', ?, ?)", key, value.encode())

    return Remote(
        f"type: sqlite, path: {file}",
        {},
        lambda: dict(run("SELECT key, value FROM entries WHERE namespace = 'web'")),
        put,
        lambda key: run("DELETE FROM entries WHERE namespace = 'web' AND key = ?", key),
    )


@contextmanager
def azure() -> Iterator[Remote]:
    """The vendor's SDK is the other program."""
    kind = KINDS["azure-appconfig"]
    with azure_service.Service.serve() as found, proxied(found.url, kind.kind_of) as proxy:
        name = azure_service.SECRET.name

        def in_present(act: Callable[[], Any]) -> Any:
            skew = found.control("GET", "clock")["skew"]
            found.control("PUT", "clock", {"skew": 0})  # the SDK goes by the time of this machine
            try:
                return act()
            finally:
                found.control("PUT", "clock", {"skew": skew})

        def values() -> dict[str, bytes]:
            held = in_present(lambda: list(found.sdk.list_configuration_settings(key_filter="web:*")))
            return {one.key[4:]: one.value.encode() for one in held}

        def put(key: str, value: str) -> None:
            setting = ConfigurationSetting(key=f"web:{key}", value=value)
            in_present(lambda: found.sdk.set_configuration_setting(setting))

        yield Remote(
            f"type: azure-appconfig, connection_string: {{env: {name}}}",
            {name: found.env[name].replace(found.url, proxy.url)},
            values,
            put,
            lambda key: in_present(lambda: found.sdk.delete_configuration_setting(f"web:{key}")),
            found.control,
            proxy,
            ("list", "write", "delete"),
            kind.touched,
        )


def control_of(service: ContainerService) -> Callable[..., Any]:
    """The controls of an emulator. A reset leaves nothing but an empty container `web`."""

    def control(method: str, path: str, body: Any = None) -> Any:
        answer = service.control(method, path, body)
        if path == "reset":
            service.prepare()
        return answer

    return control


@contextmanager
def cloudflare() -> Iterator[Remote]:
    """The other program writes in bulk, over plain HTTP."""
    kind = KINDS["cloudflare-kv"]
    with cloudflare_service.Service.serve() as found, proxied(found.url, kind.kind_of) as proxy:
        yield Remote(
            f"type: cloudflare-kv, account_id: {found.account}, token: {{env: CLOUDFLARE_API_TOKEN}}, endpoint: '{proxy.url}'",
            found.env,
            lambda: {key: value or b"" for key, value in found.values("web").items()},
            lambda key, value: found.put("web", key, value.encode()),
            lambda key: found.delete("web", key),
            control_of(found),
            proxy,
            ("list", "read", "write", "delete", "find"),
            kind.touched,
        )


def apify(ledger: str) -> Callable[[], Any]:
    """The other program writes records over plain HTTP."""

    @contextmanager
    def serve() -> Iterator[Remote]:
        kind = KINDS["apify"]
        with apify_service.Service.serve() as found, proxied(found.url, kind.kind_of) as proxy:

            def values() -> dict[str, bytes]:
                keys = [key for key in found.keys("web") if not key.startswith("kvsync.")]
                return {key: found.value("web", key) or b"" for key in keys}

            yield Remote(
                f"type: apify, token: {{env: APIFY_TOKEN}}, ledger: {ledger}, endpoint: '{proxy.url}'",
                found.env,
                values,
                lambda key, value: found.put("web", key, value),
                lambda key: found.delete("web", key),
                control_of(found),
                proxy,
                ("list", "read", "write", "delete", "find", *(["ledger"] if ledger == "store" else [])),
                kind.touched,
            )

    return serve


def voximplant(ledger: str) -> Callable[[], Any]:
    """The other program sets items with the older credentials."""

    @contextmanager
    def serve() -> Iterator[Remote]:
        kind = KINDS["voximplant"]
        with voximplant_service.Service.serve() as found, proxied(found.url, kind.kind_of) as proxy:

            def values() -> dict[str, bytes]:
                return {key[4:]: value.encode() for key, value in found.values("web:").items()}

            yield Remote(
                "type: voximplant, credentials: {env: VOXIMPLANT_CREDENTIALS}, application_id: 1, "
                f"requests_per_second: 100000, ledger: {ledger}, endpoint: '{proxy.url}'",
                found.env,
                values,
                lambda key, value: found.put(f"web:{key}", value, ttl=7_000_000),
                lambda key: found.delete(f"web:{key}"),
                found.control,
                proxy,
                ("list", "read", "write", "delete", *(["ledger"] if ledger == "store" else [])),
                kind.touched,
            )

    return serve


SERVED: Final[dict[str, Callable[[], Any]]] = {
    "azure-appconfig": azure,
    "cloudflare-kv": cloudflare,
    "apify": apify("local"),
    "apify with a ledger": apify("store"),
    "voximplant": voximplant("local"),
    "voximplant with a ledger": voximplant("store"),
}
NAMES: Final = ("sqlite", *SERVED)

KNOWN_HERE_ALONE: Final = ("apify", "voximplant")
"""Stores of which nothing but the state directory says what is ours."""
