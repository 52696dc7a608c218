from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.apply.harness import ApplyHarness


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., ApplyHarness]]:
    """Make benches over stores with the given capabilities."""
    made: list[ApplyHarness] = []

    def build(**capabilities: Any) -> ApplyHarness:
        made.append(ApplyHarness(tmp_path / f"state-{len(made)}", capabilities))
        return made[-1]

    yield build
    for harness in made:
        harness.state.close()


@pytest.fixture
def harness(make: Callable[..., ApplyHarness]) -> ApplyHarness:
    """A store that compares and sets, in calls of up to 1000 writes."""
    return make()
