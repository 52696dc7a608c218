"""A repository, its machines and its clock, for one Voximplant application."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.stores.emulated import FREELY, StoreRepo


class Repo(StoreRepo):
    """A folder with `kvsync.yaml` and state files for one store. A machine is known by its state directory."""

    store = "telephony"

    def __init__(
        self, root: Path, service: Any, *, ledger: str = "local", application: str = "application_id: 1", **given: str
    ) -> None:
        self.ledger, self.application = ledger, application
        super().__init__(root, service, **{"policy": FREELY, **given})

    def options(self) -> str:
        return (
            f"    type: voximplant\n    credentials: {{env: VOXIMPLANT_CREDENTIALS}}\n    {self.application}\n"
            f"    requests_per_second: 100000\n    ledger: {self.ledger}\n    endpoint: {self.service.url}\n"
        )

    def use(self, application: str, extra: str = "") -> None:
        """Write `kvsync.yaml` with this application, of the service that `service` is at the moment."""
        self.application = application
        self.configure(extra)
