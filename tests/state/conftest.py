from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from kvsync.state import StateDir
from kvsync.state.claims import unbound
from tests.support.postgres import Cluster, running_cluster

Opener = Callable[..., StateDir]
"""Opens the state of one test, as often as it likes: `opener(writable=True, clock=…)`. A `path` gives another state."""

_NUMBERS = count()


@pytest.fixture(autouse=True)
def _bound_to_no_target_of_another_test() -> Iterator[None]:
    """A claim that a test binds ends with the test, and not with the process."""
    with unbound():
        yield


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state"


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    with running_cluster() as running:
        yield running


@pytest.fixture(params=["sqlite", "postgresql"])
def open_state(request: pytest.FixtureRequest, path: Path) -> Opener:
    """What holds for the state holds for both engines."""
    if request.param == "sqlite":
        return lambda of=path, **options: StateDir.open(of, **({"writable": True} | options))
    return _in_postgresql(request.getfixturevalue("cluster"), path)


def _in_postgresql(cluster: Cluster, path: Path) -> Opener:
    from kvsync.state.postgres_address import PostgresAddress
    from kvsync.state.postgres_database import upgrade

    made: dict[Path, PostgresAddress] = {}

    def opener(of: Path = path, **options: Any) -> StateDir:
        if of not in made:
            made[of] = PostgresAddress.of(cluster.new_database(f"state_{next(_NUMBERS)}"))
            upgrade(made[of], create=True)
        return StateDir.open_postgres(of, made[of], **({"writable": True} | options))

    return opener


@pytest.fixture
def state(open_state: Opener) -> Iterator[StateDir]:
    with open_state() as opened:
        yield opened


@pytest.fixture
def directory(path: Path) -> Iterator[StateDir]:
    """A state directory, for what only it has: a file, a lock, a key of its own."""
    with StateDir.open(path, writable=True) as opened:
        yield opened
