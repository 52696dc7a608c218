"""The HTTP client works with httpx2 too, the continuation of httpx, so that kvsync can move to it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent

TRANSPORT = ("tests/http/test_transport.py", "tests/http/test_client.py")
STORE = ("tests/http", "tests/stores/test_cloudflare_store.py", "tests/stores/test_cloudflare_conformance.py")


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    "files", [TRANSPORT, pytest.param(STORE, marks=pytest.mark.system)], ids=["transport", "client and a store"]
)
def test_the_tests_pass_with_httpx2(files: tuple[str, ...]) -> None:
    """With httpx2 under the name of httpx, the tests of the transport and of a store pass."""
    pytest_with_httpx2 = [sys.executable, "-m", "pytest", "-p", "tests.http.with_httpx2", "-p", "no:cacheprovider"]
    options = ["--deselect=tests/http/test_httpx2.py", *files]
    done = subprocess.run([*pytest_with_httpx2, *options], cwd=ROOT, capture_output=True, text=True, timeout=590)
    assert done.returncode == 0, done.stdout[-5000:]
    assert "httpx is httpx2" in done.stdout
