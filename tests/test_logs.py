"""The log: one registered event a line, without secrets, and without the price of structlog before it is needed."""

from __future__ import annotations

import ast
import io
import json
import logging
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import kvsync
from kvsync.logs import EVENTS, LEVELS, Log, background, configure, events_table, get_logger, in_background
from kvsync.logs.handler import LogHandler
from kvsync.model.change import OutcomeKind
from kvsync.util.redaction import Redactor
from tests.support.hostile_text import HOSTILE, MARK, is_harmless

PACKAGE = Path(kvsync.__file__).parent


@pytest.fixture(autouse=True)
def _quiet_again() -> Iterator[None]:
    """Leave logging as it was found."""
    root = logging.getLogger()
    level = root.level
    yield
    root.setLevel(level)
    for handler in [handler for handler in root.handlers if isinstance(handler, LogHandler)]:
        root.removeHandler(handler)
    get_logger.cache_clear()


def lines_of(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def to_json(level: str = "info", *secrets: str) -> io.StringIO:
    redactor = Redactor()
    redactor.register(*secrets)
    stream = io.StringIO()
    configure("json", level, redactor, stream)
    return stream


def test_json_is_one_object_a_line() -> None:
    """In JSON, an event is one line that begins with its time in UTC, its level and its name, then its fields."""
    stream = to_json()
    get_logger().info("drift.detected", store="edge", key="a\nb", label=None, before="00ff")
    [line] = stream.getvalue().splitlines()
    event = json.loads(line)
    assert list(event) == ["timestamp", "level", "event", "store", "key", "label", "before"]
    assert event["event"] == "drift.detected"
    assert event["level"] == "info"
    assert event["key"] == "a\nb"
    assert abs(datetime.now(UTC) - datetime.fromisoformat(event["timestamp"])).total_seconds() < 3600


@pytest.mark.parametrize("level", sorted(LEVELS))
def test_levels(level: str) -> None:
    """Events below the level are not written, those from it on are."""
    stream = to_json(level)
    log = get_logger()
    for name in LEVELS:
        getattr(log, name)("daemon.started")
    assert [event["level"] for event in lines_of(stream)] == [name for name in LEVELS if LEVELS[name] >= LEVELS[level]]
    assert [name for name in LEVELS if log.is_enabled(name)] == [event["level"] for event in lines_of(stream)]


def test_silent_until_configured(capfd: pytest.CaptureFixture[str]) -> None:
    """A library that uses kvsync and does not ask for a log gets none."""
    Log().error("http.failed", error="x")
    assert capfd.readouterr() == ("", "")


def test_secrets_are_hidden_everywhere() -> None:
    """Values, names, nested data, exceptions and other libraries' records: nothing shows a secret, nor a local variable."""
    stream = to_json("info", "hunter22")
    try:
        _fail_with("hunter22")
    except ValueError:
        get_logger().error(
            "pass.failed", error="hunter22", exc_info=True, reasons=[{"hunter22": ("hunter22", b"hunter22")}]
        )
    get_logger().info("change.applied", token="unregistered")
    logging.getLogger("httpx").warning("GET %s", "https://x/?q=hunter22")
    logging.getLogger("other").error("failed", exc_info=ValueError("hunter22"), extra={"password": "x"})
    assert len(lines_of(stream)) == 4
    for hidden in ("hunter22", "unregistered", "a-local-value"):
        assert hidden not in stream.getvalue()
    assert "no ***" in stream.getvalue()


def _fail_with(secret: str) -> None:
    local = "a-local-value"
    raise ValueError(f"no {secret}" if local else "")


def test_exceptions_hide_secrets_from_people_too() -> None:
    """On a console as well: the exception is shown, redacted, without the values of variables."""
    redactor, stream = Redactor(), io.StringIO()
    redactor.register("hunter22")
    configure("console", "info", redactor, stream)
    try:
        _fail_with("hunter22")
    except ValueError:
        get_logger().error("pass.failed", exc_info=True)
    assert "ValueError: no ***" in stream.getvalue()
    assert "hunter22" not in stream.getvalue()
    assert "local = 'a-local-value'" not in stream.getvalue()


def test_other_libraries_join_from_warning_on() -> None:
    """httpx and apscheduler log whole URLs and every tick at INFO: only their warnings come through."""
    stream = to_json("debug")
    for name in ("httpx", "httpcore.connection", "apscheduler.scheduler", "anything"):
        logging.getLogger(name).info("no")
        logging.getLogger(name).warning("yes")
    assert [event["event"] for event in lines_of(stream)] == ["yes"] * 4
    assert lines_of(stream)[0]["logger"] == "httpx"


def test_console_is_readable() -> None:
    """For people: time, level, event, what it is about in one word, then fields that say something."""
    stream = io.StringIO()
    configure("console", "info", Redactor(), stream)
    names = {"store": "edge", "namespace": "web", "key": "greeting", "label": "prod"}
    get_logger().info("change.applied", **names, reasons=("value", "ttl"), etag="7", origin=None)
    assert re.fullmatch(
        r"\d\d:\d\d:\d\d \[info +\] change\.applied +entry='edge/web/greeting \[prod\]' reasons=value,ttl\n",
        stream.getvalue(),
    )


def test_console_says_the_day_of_what_is_far_away() -> None:
    """The next pass is shown as a time today, and with its day when it is another."""
    stream = io.StringIO()
    configure("console", "info", Redactor(), stream)
    get_logger().info("pass.finished", store="edge", namespace="web", next=time.time() + 60 * 86400)
    assert re.search(r"next=\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\n", stream.getvalue())


def test_console_says_where_a_file_is_wrong_in_one_piece() -> None:
    """file:line:column is one word that editors and terminals can open."""
    stream = io.StringIO()
    configure("console", "info", Redactor(), stream)
    get_logger().error("source.invalid", file="state/web.yaml", line=9, column=10, error="no")
    assert "at=state/web.yaml:9:10 error=no" in stream.getvalue()


@given(st.text())
def test_console_cannot_be_steered(key: str) -> None:
    """Whatever stands in a key, a console line stays one line without control characters."""
    stream = io.StringIO()
    log = Log()
    log.configure("console", "info", Redactor(), stream)
    log.info("change.applied", key=key)
    logging.getLogger("other").warning("%s", key)
    lines = stream.getvalue().split("\n")
    assert len(lines) == 3
    assert all(character.isprintable() for line in lines for character in line)


def test_configured_twice() -> None:
    """A second call replaces the first: no line is written twice, none to the old stream."""
    first, second = to_json(), to_json()
    get_logger().info("daemon.started")
    assert (first.getvalue(), len(lines_of(second))) == ("", 1)


def test_a_closed_stream() -> None:
    """A stream that went away ends no one and prints nothing."""
    stream = to_json()
    stream.close()
    get_logger().info("daemon.started")


def test_unregistered_event() -> None:
    """An event that is not registered is a mistake, found by the first test that runs into it, whatever the level."""
    with pytest.raises(AssertionError, match="not registered"):
        Log().debug("no.such.event")


@pytest.mark.parametrize("log_format", ["console", "json"])
def test_journal_priorities(log_format: str) -> None:
    """Where systemd's journal reads the stream, and only there, each line begins with its priority; what follows is the line
    as it is everywhere else."""
    program = (
        "import sys, os; from kvsync.logs import *\n"
        "if sys.argv[1] == 'journal':\n"
        "    s = os.fstat(2); os.environ['JOURNAL_STREAM'] = f'{s.st_dev}:{s.st_ino}'\n"
        f"configure('{log_format}', 'debug'); log = get_logger()\n"
        "log.debug('daemon.started'); log.info('daemon.started'); log.warning('daemon.started')\n"
        "try: 1 / 0\n"
        "except ZeroDivisionError: log.error('http.failed', exc_info=True)\n"
    )
    run = [sys.executable, "-c", program]
    environ = os.environ | {"JOURNAL_STREAM": "1:1", "PYTHONPATH": str(PACKAGE.parent)}
    journal = subprocess.run([*run, "journal"], env=environ, capture_output=True, text=True, check=True).stderr
    assert [line[:3] for line in journal.splitlines()][:4] == ["<7>", "<6>", "<4>", "<3>"]
    assert all(line.startswith("<3>") for line in journal.splitlines()[3:])
    if log_format == "json":
        assert [json.loads(line[3:])["level"] for line in journal.splitlines()] == ["debug", "info", "warning", "error"]
    other = subprocess.run([*run, "other"], env=environ, capture_output=True, text=True, check=True).stderr
    assert "http.failed" in other
    assert "<3>" not in other


def test_structlog_waits_for_the_first_event() -> None:
    """Neither configuring nor an event below the level imports structlog."""
    program = (
        "import sys; from kvsync.logs import *; configure('json', 'warning'); get_logger().info('daemon.started')\n"
        "assert 'structlog' not in sys.modules\n"
        "get_logger().error('http.failed'); assert 'structlog' in sys.modules\n"
    )
    environ = os.environ | {"PYTHONPATH": str(PACKAGE.parent)}
    done = subprocess.run([sys.executable, "-c", program], env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_registry() -> None:
    """Names are dotted words, levels exist, meanings are one sentence."""
    for event in EVENTS.values():
        assert re.fullmatch(r"[a-z]+\.[a-z]+", event.name)
        assert event.level in LEVELS
        assert event.meaning.endswith(".")
        assert "\n" not in event.meaning


def test_table() -> None:
    """The table for the docs has a row for every event."""
    rows = events_table().splitlines()
    assert rows[0] == "| event | level | fields | meaning |"
    assert len(rows) == len(EVENTS) + 2
    assert all(row.count("|") == 5 for row in rows)


def _logged() -> Iterator[tuple[str, str, str, tuple[str, ...]]]:
    """Every call in the package that logs a literal event: place, level, event, names of fields."""
    for file in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in LEVELS):
                continue
            match node.args:
                case [ast.Constant(value=str(event)), *_] if re.fullmatch(r"[a-z]+\.[a-z_.]+", event):
                    names = tuple(keyword.arg for keyword in node.keywords if keyword.arg)
                    yield f"{file.relative_to(PACKAGE)}:{node.lineno}", node.func.attr, event, names


_COUNTED = {str(kind) for kind in OutcomeKind} - {"unchanged", "skipped", "not-attempted"}
"""Outcomes whose names are fields of `pass.finished`, put there by their numbers."""


def _words_by_module() -> dict[str, set[str]]:
    """Every literal text and every name of an argument in each module of the package but the registry."""
    found: dict[str, set[str]] = {}
    for file in sorted(PACKAGE.rglob("*.py")):
        nodes = list(ast.walk(ast.parse(file.read_text()))) if file != PACKAGE / "logs/events.py" else []
        texts = {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}
        found[str(file)] = texts | {node.arg for node in nodes if isinstance(node, ast.keyword) and node.arg}
    return found


def test_every_registered_event_is_logged() -> None:
    """The registry, and so the documentation, promises no event and no field that the code never logs."""
    words = _words_by_module().values()
    made_up = []
    for event in EVENTS.values():
        homes = [known for known in words if event.name in known]
        spoken: set[str] = set().union(*homes) | {"exception"} | _COUNTED
        made_up += [event.name] if not homes else [f"{event.name}: {one}" for one in set(event.fields) - spoken]
    assert made_up == []


def test_every_logged_event_is_registered() -> None:
    """What the code logs is what the registry, and so the documentation, says: name, level and fields."""
    for place, level, event, names in _logged():
        assert event in EVENTS, f"{place}: {event} is not registered in kvsync/logs/events.py"
        assert level == EVENTS[event].level, f"{place}: {event} is registered as {EVENTS[event].level}"
        unknown = set(names) - set(EVENTS[event].fields) - {"exc_info"}
        assert not unknown, f"{place}: {event} has no fields {sorted(unknown)} in kvsync/logs/events.py"


@pytest.mark.parametrize("form", ["console", "json"])
@pytest.mark.parametrize("evil", HOSTILE)
def test_nothing_hostile_gets_out_of_a_line(form: Any, evil: str) -> None:
    """Whatever a field, a foreign record or an exception holds, an event is a line of its own: nothing in it looks like another
    event, or is a command to a terminal or a CI system."""
    stream = io.StringIO()
    configure(form, "info", Redactor(), stream)
    get_logger().warning(
        "entry.contended", store=evil, namespace=evil, key=evil, label=evil, times=evil, retry_in=[evil]
    )
    logging.getLogger("others").warning("%s", evil)
    try:
        raise ValueError(f"{evil}\n12:00:00 [error    ] pass.failed {evil}")
    except ValueError:
        get_logger().error("pass.failed", store=evil, error=evil, exc_info=True)
    lines = stream.getvalue().split("\n")
    assert all(map(is_harmless, lines))
    events = [line for line in lines if not line.startswith("  | ")]
    assert len(events) == 4  # three, and what is after the last line end
    assert not [line for line in events if line.lstrip().startswith(MARK)]
    if form == "json":
        assert [json.loads(line)["level"] for line in lines if line] == ["warning", "warning", "error"]


@pytest.mark.parametrize("form", ["console", "json"])
def test_a_stream_that_is_gone_before_the_first_event_ends_nothing(form: Any) -> None:
    """Whoever closes standard error loses the log, and nothing else."""
    stream = io.StringIO()
    configure(form, "info", Redactor(), stream)
    stream.close()
    get_logger().warning("daemon.stopped", reason="SIGTERM")


def test_a_log_that_nobody_reads_holds_up_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Logging goes on while the pipe is full; what does not fit is dropped whole, counted, and reported once there is room."""
    monkeypatch.setattr(background, "MOST_BYTES", 10_000)
    reader, writer = os.pipe()
    reported: list[int] = []
    told = threading.Event()

    def dropped(count: int) -> None:
        reported.append(count)
        told.set()

    stream = background.BackgroundStream(writer, dropped)
    line = "x" * 999 + "\n"
    for _ in range(500):
        stream.write(line)
    received = b""
    while not told.is_set():
        received += os.read(reader, 65536)
    os.set_blocking(reader, False)
    stream.close()
    with suppress(BlockingIOError):
        received += os.read(reader, 2**20)
    lines = received.decode().splitlines(keepends=True)
    assert set(lines) == {line}
    assert len(lines) + sum(reported) == 500


def test_a_log_whose_reader_is_gone_holds_up_nothing() -> None:
    """A broken pipe ends neither the process nor its log."""
    reader, writer = os.pipe()
    os.close(reader)
    stream = background.BackgroundStream(writer, lambda _: None)
    stream.write("lost\n")
    stream.close()


def test_what_is_said_at_the_end_does_not_wait_for_a_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    """A daemon whose log nobody reads can end with an error message."""
    monkeypatch.setattr(background, "LAST_WORDS", 0.05)
    reader, writer = os.pipe()
    with os.fdopen(writer, "w") as stuck:
        monkeypatch.setattr(sys, "stderr", stuck)
        configure("json", "info")
        with in_background():
            for _ in range(1000):
                get_logger().info("config.reloaded")
        with sys.stderr as end:
            print("x" * 2**20, file=end, flush=True)
        configure("json", "error", stream=io.StringIO())
        os.set_blocking(writer, False)
        os.close(reader)


def test_the_end_waits_for_a_stuck_log_no_longer_than_a_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process can leave while its log is stuck."""
    monkeypatch.setattr(background, "LAST_WORDS", 0.05)
    _, writer = os.pipe()
    stream = background.BackgroundStream(writer, lambda _: None)
    stream.write("x" * 2**20)
    stream.close()
