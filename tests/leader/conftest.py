from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from tests.cli.conftest import repo, runner
from tests.support.etcd import running_etcd

__all__ = ["repo", "runner"]


@pytest.fixture(scope="session")
def etcd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The gateway of a real etcd."""
    folder: Path = tmp_path_factory.mktemp("etcd")
    with running_etcd(folder) as url:
        yield url


@pytest.fixture
def key() -> str:
    """A key that no other test uses."""
    return f"kvsync/{uuid4()}"
