"""Imports of packages that import more than kvsync needs."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast


@contextmanager
def left_out(module: str) -> Iterator[None]:
    """Import what is imported inside as if `module`, which it can do without, were not installed. Later imports find it."""
    modules = cast("dict[str, object]", sys.modules)
    is_absent = module not in modules
    if is_absent:
        modules[module] = None  # as Python documents it: importing the module raises ModuleNotFoundError
    try:
        yield
    finally:
        if is_absent:
            modules.pop(module, None)
