from __future__ import annotations

import io
from collections.abc import Iterator

import pytest

from kvsync.logs import configure
from tests.daemon.support import Log


@pytest.fixture
def log() -> Iterator[Log]:
    """The daemon's log, as JSON, from debug on."""
    stream = io.StringIO()
    configure("json", "debug", stream=stream)
    yield Log(stream)
    configure("json", "error", stream=io.StringIO())
