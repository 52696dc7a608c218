from __future__ import annotations

import io
from collections.abc import Iterator

import pytest

from kvsync.logs import EVENTS, configure
from tests.daemon.support import Log


@pytest.fixture
def log() -> Iterator[Log]:
    """The daemon's log, as JSON, from debug on. Only registered fields may be in it."""
    stream = io.StringIO()
    configure("json", "debug", stream=stream)
    yield Log(stream)
    for event in Log(stream).events():
        unregistered = event.keys() - {*EVENTS[event["event"]].fields, "event", "level", "timestamp", "exception"}
        assert not unregistered, f"{event['event']} has fields that are not registered: {unregistered}"
    configure("json", "error", stream=io.StringIO())
