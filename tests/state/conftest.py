from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from kvsync.state import StateDir


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state"


@pytest.fixture
def state(path: Path) -> Iterator[StateDir]:
    with StateDir.open(path, writable=True) as opened:
        yield opened
