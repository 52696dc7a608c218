"""Pytest plugin that runs tests with httpx2 in the place of httpx: `pytest -p tests.http.with_httpx2 tests/http`."""

from __future__ import annotations

import sys
from pathlib import Path

import httpx2

httpx2.alias_httpx()


def pytest_report_header() -> str:
    """Name the library that `import httpx` gives in this process."""
    return f"httpx is {Path(sys.modules['httpx'].__file__ or '').parent.name} {httpx2.__version__}"


def pytest_sessionfinish() -> None:
    """Fail unless kvsync's transport ran on httpx2."""
    assert sys.modules["kvsync.http.transport"].__dict__["httpx"] is httpx2
