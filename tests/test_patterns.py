"""Regular expressions over text that others write: none takes more than linear time, since it holds every other thread."""

from __future__ import annotations

import importlib
import pkgutil
import re
from collections.abc import Callable, Iterator

import pytest

import kvsync
from kvsync.util.patterns import LazyPattern
from tests.support.cpu import grows_too_fast

OF_THE_OPERATOR = "kvsync.emulators"
"""Emulators are for tests: nobody else writes to them."""

COVERED = {
    "kvsync.yaml.decoders._UNCLOSED": "patterns of more than 1,000 characters are refused before",
} | dict.fromkeys(
    ("kvsync.yaml.simple._AFTER", "kvsync.yaml.simple._ITEM", "kvsync.yaml.simple._PAIR"),
    "anchored, so a mismatch costs one attempt; tests/yaml/test_simple.py covers whole lines",
)

REPEATED = (*" \n\t;:,.<>\"'#[]{}/\\_-=?&%@`aA0x", "store ", "; ", "\\u", "<a>;", "a b ", "://", '";', "**")
AROUND = (("", "!"), ("x: ", "!"), ("<", "\0"))


def patterns() -> Iterator[tuple[str, re.Pattern[str] | re.Pattern[bytes]]]:
    for module in pkgutil.walk_packages(kvsync.__path__, "kvsync."):
        if not module.name.startswith(OF_THE_OPERATOR) and not module.name.endswith("__main__"):
            loaded = importlib.import_module(module.name)
            for name, one in vars(loaded).items():
                if isinstance(one, (re.Pattern, LazyPattern)):
                    yield f"{module.name}.{name}", one.compiled() if isinstance(one, LazyPattern) else one


@pytest.mark.parametrize("pattern", [pytest.param(one, id=name) for name, one in patterns() if name not in COVERED])
def test_a_pattern_costs_in_proportion_to_the_text(pattern: re.Pattern[str] | re.Pattern[bytes]) -> None:
    """Whatever is repeated in the text, and whatever ends it."""
    for repeated in REPEATED:
        for before, after in AROUND:

            def search(size: int, parts: tuple[str, str, str] = (before, repeated, after)) -> Callable[[], object]:
                text = parts[0] + parts[1] * size + parts[2]
                given = text if isinstance(pattern.pattern, str) else text.encode()
                return lambda: list(pattern.finditer(given))  # type: ignore[arg-type]

            assert not grows_too_fast(search, 1000), repeated
