"""Numbers of examples of property tests, by Hypothesis's profile: `quick` in `make test`, `full` in `make test-system`."""

from __future__ import annotations

from hypothesis import settings

FULL = 100
"""Examples of a test that says nothing else, in the profile `full`."""


def examples(count: int) -> int:
    """Return how many examples to try in the present profile, where `count` is the number for `full`."""
    return max(5, round(count * settings().max_examples / FULL))
