"""Output to stdout and stderr, always redacted."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterable
from itertools import chain
from pathlib import Path
from typing import Any, TextIO

from kvsync.errors import KvsyncError
from kvsync.util.escaping import escape_text
from kvsync.util.redaction import REDACTOR


def prepare() -> None:
    """Let neither a stream that was closed beforehand nor a character that a terminal's encoding lacks end a command."""
    _reopen_closed()
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def print_text(text: str) -> None:
    """Print an answer that is rendered, and so escaped, already. A reader that has gone away is not an error; a full disk is:
    raises KvsyncError."""
    _write(sys.stdout, (REDACTOR.redact(text),))


def print_document(document: dict[str, Any] | list[dict[str, Any]]) -> None:
    """Print an answer as the one JSON document of a command. It may have `StreamedList`s. Raises KvsyncError."""
    from kvsync.util.json_pieces import json_pieces  # most answers are text

    _write(sys.stdout, chain(json_pieces(document, REDACTOR.clean), "\n"))


def print_lines(*lines: str) -> None:
    """Print an answer of lines, each escaped as a whole. Raises KvsyncError."""
    print_text("".join(f"{escape_text(line)}\n" for line in lines))


def print_message(*lines: str) -> None:
    """Print lines to stderr, each escaped as a whole: whatever a line quotes, it stays one line."""
    print_message_block("".join(f"{escape_text(line)}\n" for line in lines))


def print_message_block(text: str) -> None:
    """Print text to stderr that is rendered, and so escaped, already."""
    try:
        _write(sys.stderr, (REDACTOR.redact(text),))
    except KvsyncError:
        return  # stderr is closed


def has_color(stream: TextIO, when: str) -> bool:
    """True when colours are wanted on this stream: `wish` is auto, always or never."""
    if when != "auto":
        return when == "always"
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR"):
        return True
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def width() -> int:
    """Columns of text: the terminal's, within reason."""
    if not sys.stdout.isatty():
        return 120
    from shutil import get_terminal_size  # imports compression; most output is not for a terminal

    return min(max(get_terminal_size((100, 24)).columns, 60), 200)


def _reopen_closed() -> None:
    """Let what was started without a stdin, stdout or stderr have nowhere for it. The lowest number that is free is given to
    whatever is opened next: without this a database could become the stdout."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open(mode, encoding="utf-8"))  # noqa: SIM115 - open as long as the process


def _write(stream: TextIO, texts: Iterable[str]) -> None:
    try:
        for text in texts:
            stream.write(text)
        stream.flush()
    except BrokenPipeError:
        _silence(stream)
    except OSError as error:
        _silence(stream)
        if error.errno != errno.EPIPE:
            raise KvsyncError(f"cannot write to stdout: {error.strerror}") from None


def _silence(stream: TextIO) -> None:
    """Send what else comes to nowhere, so that no later flush fails again."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)
