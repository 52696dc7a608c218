"""Two machines that work on the store of a test module's `repo`, and the log events of their ledgers."""

from __future__ import annotations

import pytest

from tests.support.machines import LedgerEvents, Machine
from tests.support.memory_repository import MemoryRepository


@pytest.fixture
def ledger_events(monkeypatch: pytest.MonkeyPatch) -> LedgerEvents:
    return LedgerEvents(monkeypatch)


@pytest.fixture
def here(repo: MemoryRepository) -> Machine:
    return Machine(repo, "here")


@pytest.fixture
def there(repo: MemoryRepository) -> Machine:
    return Machine(repo, "there")
