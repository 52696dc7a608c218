"""What holds for all tests."""

from __future__ import annotations

import gc
import re
import sys
import warnings
from collections.abc import Generator, Iterator
from typing import Any

import pytest
from hypothesis import settings

from kvsync.util.redaction import REDACTOR

# How long an example takes says how busy the machine is, nothing about kvsync.
settings.register_profile("full", deadline=None)
settings.register_profile("quick", deadline=None, max_examples=40)
settings.load_profile("quick")  # --hypothesis-profile full on the command line wins (make test-system)


@pytest.fixture(autouse=True)
def _no_secrets_of_other_tests() -> Iterator[None]:
    """What a test registers as secret is not taken out of what the next one reads."""
    yield
    REDACTOR.__init__()  # type: ignore[misc]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, Any, Any]:
    """Collect what a failed test left open before the next test begins: its warnings would be errors of that one."""
    before = item.session.testsfailed
    result = yield
    if item.session.testsfailed > before:
        _collect_leftovers()
    return result


def _collect_leftovers() -> None:
    for name in ("last_exc", "last_type", "last_value", "last_traceback"):  # they hold the frames of the failed test
        vars(sys).pop(name, None)
    hook, sys.unraisablehook = sys.unraisablehook, lambda _: None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            gc.collect()
    finally:
        sys.unraisablehook = hook


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_collection() -> Generator[None, Any, Any]:
    """Collect no garbage while tests are collected, and leave all of them out of later collections of garbage: they stay."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


_PATTERNS = {
    "system": re.compile(r"mark\.system|one_and_more"),
    "hypothesis": re.compile(r"^(from|import) hypothesis", re.M),
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The Makefile finds files by these patterns before it runs `make test-system`: no test may be marked another way."""
    for path, mark in sorted(
        {(item.path, mark) for item in items for mark in _PATTERNS if item.get_closest_marker(mark)}
    ):
        if not _PATTERNS[mark].search(path.read_text()):
            raise pytest.UsageError(f"{path}: has tests marked {mark}, and `make test-system` would not find them")


@pytest.hookimpl(wrapper=True)
def pytest_report_to_serializable() -> Generator[None, Any, Any]:
    """Spell out halves of characters in reports: they cannot be sent to the process that collects what the others report."""
    return _spelled_out((yield))


def _spelled_out(report: Any) -> Any:
    match report:
        case str():
            return report.encode("utf-8", "backslashreplace").decode()
        case dict():
            return {name: _spelled_out(value) for name, value in report.items()}
        case list() | tuple():
            return type(report)(map(_spelled_out, report))
        case _:
            return report
