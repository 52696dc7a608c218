"""What reads the input of others raises nothing but errors that are expected of it."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz.mutation import inputs
from tests.fuzz.targets import TARGETS
from tests.support.examples import examples

FOUND = sorted((Path(__file__).parent / "found").glob("*/*"))


@pytest.mark.parametrize("file", FOUND, ids=lambda file: f"{file.parent.name}/{file.name}")
def test_an_input_that_was_found(file: Path) -> None:
    """An input that once raised an unexpected error does not do so any more."""
    TARGETS[file.parent.name].read(file.read_bytes())


@pytest.mark.parametrize("name", TARGETS)
def test_inputs_to_begin_with(name: str) -> None:
    """What fuzzing begins with is read without an error."""
    for seed in TARGETS[name].seeds:
        TARGETS[name].read(seed)


@pytest.mark.parametrize("name", TARGETS)
@given(data=st.data())
@settings(max_examples=examples(60), deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_input(name: str, data: st.DataObject) -> None:
    """Whatever stands in a file, a store or a request: it is read, or refused by an error of kvsync's own."""
    TARGETS[name].read(data.draw(inputs(TARGETS[name])))
