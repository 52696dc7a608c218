"""A Voximplant account for tests: the emulator in a thread, and plain HTTP as another program that knows nothing of kvsync."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from kvsync.config.model import Credential, CredentialKind, StoreConfig
from kvsync.stores.base import Store, StoreContext
from kvsync.stores.registry import open_store
from kvsync.util.clock import Clock
from tests.stores.emulated import EmulatedService, ask

CREDENTIALS = Credential(CredentialKind.ENV, "VOXIMPLANT_CREDENTIALS")
SET, GET, DELETE = "SetKeyValueItem", "GetKeyValueItem", "DelKeyValueItem"
ITEMS, KEYS = "GetKeyValueItems", "GetKeyValueKeys"
APPLICATIONS = "GetApplications"


class Service(EmulatedService):
    """One running emulator."""

    type = "voximplant"

    def open_store(self, *arguments: Any, **options: Any) -> Store:
        """A connection of kvsync's to it."""
        return voximplant_store(self, *arguments, **options)

    def reset(self) -> None:
        """Healed, empty, counters at nought."""
        self.prepare()

    def time(self, moment: float) -> None:
        """Let time stand still at this moment, and the server's own clock be there too."""
        self.control("PUT", "clock", {"frozen": True, "now": moment, "skew": moment - time.time()})

    def skew(self, seconds: float) -> None:
        """Let the server's clock be wrong by so much."""
        self.control("PUT", "clock", {"skew": seconds})

    def requests(self) -> dict[str, int]:
        """Requests since `clear_requests` by method of the API."""
        counts = self.control("GET", "stats")["routes"]
        return {route.rpartition("/")[2]: count for route, count in counts.items()}

    def put(self, key: str, value: str, **parameters: Any) -> None:
        """Write one item."""
        self.api(SET, key=key, value=value, **parameters)

    def delete(self, key: str) -> None:
        """Delete one item."""
        self.api(DELETE, key=key)

    def items(self, start: str = "", *, application: int = 1) -> dict[str, dict[str, Any]]:
        """All items whose keys begin so, as the API reads them, but for what is kvsync's own."""
        found = self.everything(start, application=application)
        return {key: item for key, item in found.items() if "#kvsync." not in key}

    def everything(self, start: str = "", *, application: int = 1) -> dict[str, dict[str, Any]]:
        """All items whose keys begin so."""
        found: dict[str, dict[str, Any]] = {}
        for namespace in {key.partition(":")[0] for key in self.keys(application)}:
            page: list[dict[str, Any]] = [{}]
            offset = 0
            while page:
                page = self.api(ITEMS, key=namespace, count=50, offset=offset, application_id=application)
                found |= {item["key"]: item for item in page}
                offset += 50
        return {key: item for key, item in found.items() if key.startswith(start)}

    def keys(self, application: int = 1) -> list[str]:
        """All keys."""
        keys: list[str] = []
        while True:
            page = [one["key"] for one in self.api(KEYS, count=50, offset=len(keys), application_id=application)]
            keys += page
            if len(page) < 50:
                return keys

    def key_file(self) -> dict[str, Any]:
        """What the key file of the service account holds."""
        found: dict[str, Any] = json.loads(Path(self.env[CREDENTIALS.name]).read_text())
        return found

    def values(self, start: str = "", *, application: int = 1) -> dict[str, str]:
        """What those items hold."""
        return {key: item["value"] for key, item in self.items(start, application=application).items()}

    def rename(self, application: int, name: str) -> None:
        """Give an application another short name."""
        self.api("SetApplicationInfo", application_id=application, application_name=name)

    def add_application(self, name: str) -> int:
        """Add an application; returns its id."""
        self.api("AddApplication", application_name=name)
        found: int = max(one["application_id"] for one in self.api(APPLICATIONS, application_id=""))
        return found

    def delete_application(self, application: int) -> None:
        """Delete an application with what it holds."""
        self.api("DelApplication", application_id=application)

    def replace_application(self, application: int, name: str) -> int:
        """Rename the application of this name and add another one with it, as people do who start over; returns the new id."""
        self.rename(application, f"{name}-old")
        return self.add_application(name)

    def copy(self, source: int, destination: int) -> None:
        """Copy all items of one application to another, what is kvsync's own included."""
        for key, item in self.everything(application=source).items():
            self.put(key, item["value"], expires_at=item["expires_at"], application_id=destination)

    def api(self, method: str, **parameters: Any) -> Any:
        """Ask the API itself, with the older credentials."""
        known = {"account_id": self.env["VOXIMPLANT_ACCOUNT_ID"], "api_key": self.env["VOXIMPLANT_API_KEY"]}
        body = urlencode({"application_id": 1, **known, **parameters}).encode()
        answer = json.loads(ask("POST", f"{self.url}/platform_api/{method}", body)[1])
        assert "error" not in answer, answer
        return answer["result"]


def voximplant_store(
    found: Service,
    clock: Clock | None = None,
    *,
    read_only: bool = False,
    options: Mapping[str, Any] | None = None,
    credentials: str | None = None,
    **fields: Any,
) -> Store:
    """A connection to a service, as fast as it goes. `credentials` is what a key file holds."""
    given = {"credentials": CREDENTIALS, "requests_per_second": 100_000.0} | dict(options or {})
    if not given.keys() & {"application_id", "application"}:
        given["application_id"] = 1
    text = credentials or Path(found.env[CREDENTIALS.name]).read_text()
    context = StoreContext(Path(), None, lambda _: text, clock or Clock(), read_only, "conformance")
    return open_store(StoreConfig("telephony", "voximplant", given, endpoint=found.url, **fields), context)
