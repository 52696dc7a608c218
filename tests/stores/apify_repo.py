"""A repository for one Apify account, as the tests of whole passes use it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from kvsync.util.redaction import Redactor
from tests.stores.emulated import StoreRepo


class Repo(StoreRepo):
    """A folder with `kvsync.yaml` and state files for one store, on one machine."""

    store = "scraper"

    def __init__(self, root: Path, service: Any, ledger: str = "local", **given: str) -> None:
        self.ledger = ledger
        super().__init__(root, service, **given)

    def options(self) -> str:
        return (
            "    type: apify\n    token: {env: APIFY_TOKEN}\n"
            f"    endpoint: {self.service.url}\n    ledger: {self.ledger}\n"
        )

    def elsewhere(self, root: Path) -> Repo:
        """A fresh checkout of the same files on another machine."""
        shutil.copytree(self.root, root, ignore=shutil.ignore_patterns(".kvsync"))
        other = object.__new__(Repo)
        other.root, other.service, other.clock, other.redactor = root, self.service, self.clock, Redactor()
        return other

    def forget(self) -> None:
        """Lose the state directory."""
        shutil.rmtree(self.root / ".kvsync")
