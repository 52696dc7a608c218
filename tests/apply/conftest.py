from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.apply.bench import Bench


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., Bench]]:
    """Make benches over stores with the given capabilities."""
    made: list[Bench] = []

    def build(**capabilities: Any) -> Bench:
        made.append(Bench(tmp_path / f"state-{len(made)}", capabilities))
        return made[-1]

    yield build
    for bench in made:
        bench.state.close()


@pytest.fixture
def bench(make: Callable[..., Bench]) -> Bench:
    """A store that compares and sets, in calls of up to 1000 writes."""
    return make()
