"""Translates libyaml's errors to messages with a hint."""

from __future__ import annotations

import re
from typing import Final

from yaml import MarkedYAMLError, YAMLError

from kvsync.yaml.encoding import UTF8_BOM, place, refuse_after
from kvsync.yaml.problems import Problems

_CONTROL: Final = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_HINTS: Final = {
    "mapping values are not allowed": "quote text that contains ': ', and check the indentation of this line",
    "could not find expected ':'": "each key needs a colon and a space after it",
    "did not find expected key": "check the indentation, and close the brackets and quotes above",
    "did not find expected ',' or ']'": "unclosed [ ] list",
    "did not find expected ',' or '}'": "unclosed { } mapping",
    "unexpected end of stream": "unclosed quote",
    "block sequence entries are not allowed": "check the indentation of this list",
    "cannot start any token": "quote text that starts with this character",
    "did not find expected <document start>": "check the indentation; a new document starts with ---",
    "did not find expected node content": "quote text that starts with ? or : here, and close the brackets above",
    "found invalid Unicode character escape code": "write both halves of the character, such as \\ud83d\\ude00",
    "unknown escape character": "write \\\\ for a backslash, or use single quotes",
}


def explain(error: YAMLError, data: bytes, problems: Problems) -> None:
    """Note what libyaml says of `data`, in words for people, with its place and what to do."""
    if not isinstance(error, MarkedYAMLError):
        _explain_character(data, problems)
        return
    mark = error.problem_mark or error.context_mark
    line, column = (mark.line, mark.column) if mark else (0, 0)
    message, opened = error.problem or "invalid YAML", error.context_mark
    if error.context:
        message += f", {error.context}"
        message += f" that began at line {opened.line + 1}" if opened and opened.line != line else ""
    if _tab_indents(data, line):
        problems.add(
            "this line is indented with a tab", place(line, 0), "use spaces; YAML does not allow tabs for indentation"
        )
        return
    hint = next((hint for phrase, hint in _HINTS.items() if phrase in message), None)
    problems.add(message, place(line, column), hint)


def _tab_indents(data: bytes, line: int) -> bool:
    lines = data.splitlines()
    text = lines[line] if line < len(lines) else b""
    return b"\t" in text[: len(text) - len(text.lstrip())]


def _explain_character(data: bytes, problems: Problems) -> None:
    text = data.removeprefix(UTF8_BOM).decode()
    bad = _CONTROL.search(text)
    if bad is None:
        problems.add("invalid YAML", None)
        return
    refuse_after(
        text[: bad.start()].encode(), f"the control character U+{ord(bad[0]):04X}", "write it as an escape", problems
    )
