"""Problems in the files as SARIF, GitHub annotations and GitLab Code Quality reports. Pure.

A finding keeps its fingerprint while lines move above it, so that those programs know it again.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256
from typing import Any, Final

from kvsync.errors import Kind
from kvsync.util.escaping import encode_path, escape_github, escape_sarif, escape_text, to_bytes

Document = dict[str, Any]

SARIF_SCHEMA: Final = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"

_MEANINGS: Final = {
    Kind.INVALID: "A file is not valid for kvsync.",
    Kind.UNREADABLE: "A file or a folder cannot be read.",
    Kind.CONTRADICTION: "Two definitions in the files contradict each other.",
    Kind.STORE_LIMIT: "A store cannot hold an entry.",
    Kind.NOT_ALLOWED: "A state file does something that kvsync.yaml does not allow.",
    Kind.LEFT_OUT: "A file that looks like a state file is not read.",
    Kind.WEAK_VALUE: "A sensitive value is too weak to be redacted in text.",
    Kind.CONFIGURATION_CHANGE: "The change also edits kvsync.yaml, which an operator must review.",
}
_WARNINGS: Final = (Kind.LEFT_OUT, Kind.WEAK_VALUE)
_PLACE: Final = re.compile(r":\d+:\d+")


class Severity(StrEnum):
    """How much a finding matters: an error ends `validate` with 78, the others are for the reviewer."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


_SEVERITIES: Final = {Severity.ERROR: "major", Severity.WARNING: "minor", Severity.NOTE: "info"}
_COMMANDS: Final = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.NOTE: "notice"}


@dataclass(frozen=True, slots=True, order=True)
class CiFinding:
    """One problem with its place: `path` from the root of the repository, with `/`; line and column count from 1."""

    path: str
    line: int
    column: int
    kind: Kind
    message: str
    level: Severity = Severity.ERROR


def fingerprints(findings: Sequence[CiFinding]) -> list[str]:
    """64 hex digits for each finding: of its file, kind and message, not of the lines; equal ones are numbered."""
    seen: Counter[tuple[str, ...]] = Counter()
    found = []
    for one in findings:
        what = (one.path, one.kind.value, _PLACE.sub("", one.message))
        seen[what] += 1
        found.append(sha256(to_bytes("\0".join((*what, str(seen[what]))))).hexdigest())
    return found


def sarif(findings: Sequence[CiFinding], version: str) -> Document:
    """A SARIF 2.1.0 log with one run of kvsync `version`."""
    rules = [
        {
            "id": kind.value,
            "shortDescription": {"text": _MEANINGS[kind]},
            "defaultConfiguration": {"level": "warning" if kind in _WARNINGS else "error"},
        }
        for kind in Kind
    ]
    marks = fingerprints(findings)
    run = {
        "tool": {"driver": {"name": "kvsync", "version": version, "rules": rules}},
        "columnKind": "unicodeCodePoints",
        "results": [_result(one, mark) for one, mark in zip(findings, marks, strict=True)],
    }
    return {"$schema": SARIF_SCHEMA, "version": "2.1.0", "runs": [run]}


def gitlab(findings: Sequence[CiFinding]) -> list[Document]:
    """A GitLab Code Quality report."""
    return [
        {
            "description": escape_text(one.message),
            "check_name": f"kvsync/{one.kind}",
            "fingerprint": mark,
            "severity": _SEVERITIES[one.level],
            "location": {"path": one.path, "lines": {"begin": one.line}},
        }
        for one, mark in zip(findings, fingerprints(findings), strict=True)
    ]


def github(findings: Iterable[CiFinding]) -> str:
    """A workflow command of GitHub Actions for each finding, one a line."""
    return "".join(f"{_command(one)}\n" for one in findings)


def _result(one: CiFinding, mark: str) -> Document:
    region = {"startLine": one.line, "startColumn": one.column}
    place = {"artifactLocation": {"uri": encode_path(one.path), "uriBaseId": "%SRCROOT%"}, "region": region}
    return {
        "ruleId": one.kind.value,
        "ruleIndex": list(Kind).index(one.kind),
        "level": one.level.value,
        "message": {"text": escape_sarif(one.message)},
        "locations": [{"physicalLocation": place}],
        "partialFingerprints": {"kvsync/v1": mark},
    }


def _command(one: CiFinding) -> str:
    properties: Mapping[str, object] = {
        "file": one.path,
        "line": one.line,
        "col": one.column,
        "title": f"kvsync: {one.kind}",
    }
    shown = ",".join(f"{name}={escape_github(str(value), in_property=True)}" for name, value in properties.items())
    return f"::{_COMMANDS[one.level]} {shown}::{escape_github(one.message)}"
