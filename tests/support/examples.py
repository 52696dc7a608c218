"""How much of a test `make test` tries, and how much more `make test-system` does: for properties, by Hypothesis's profile
(`quick` or `full`)."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import settings

FULL = 100
"""Examples of a test that says nothing else, in the profile `full`."""


def examples(count: int) -> int:
    """Return how many examples to try in the present profile, where `count` is the number for `full`."""
    return max(5, round(count * settings().max_examples / FULL))


def one_and_more(one: str, *more: str) -> list[Any]:
    """Parameters of a test: `make test` tries the one, and `make test-system` the others, which take long and find less."""
    return [one, *(pytest.param(value, marks=pytest.mark.system) for value in more)]
