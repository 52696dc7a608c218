"""Request parameters: version, names in the path, selected fields, moments, conditions."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import Enum
from functools import cached_property
from typing import Final
from urllib.parse import unquote

from kvsync.emulators.azure.problems import Refused, empty, invalid, problem
from kvsync.emulators.model import Request

VERSIONS: Final = (
    *("1.0", "2022-11-01-preview", "2023-10-01", "2023-11-01", "2024-09-01"),
    *("2026-04-01", "2026-05-01-preview"),
)
PAGE_ETAGS: Final = "2023-10-01"
SNAPSHOTS: Final = "2022-11-01-preview"
LIST_TAGS: Final = "2023-11-01"
SINGLE_TAGS: Final = "2024-09-01"
DESCRIPTIONS: Final = "2026-04-01"
FLAG_RESOURCES: Final = "2026-05-01-preview"

LONGEST: Final = 256  # characters of a label, tag name, tag value or snapshot name
_VERSION: Final = re.compile(r"\d{4}-\d\d-\d\d(-[a-z]+)?|\d+\.\d+")
_ENTITY_TAG: Final = re.compile(r'(?:W/)?"([^"]+)"')
_AMBIGUOUS: Final = (
    "The following API versions were requested: {}. At most, only a single API version may be specified. "
    "Please update the intended API version and retry the request."
)
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")


@dataclass(frozen=True)
class Arguments:
    """The query and headers of a request, as this API reads them. Names of the query have no case."""

    request: Request

    @cached_property
    def version(self) -> str:
        """The api-version. Raises Refused when it is missing, repeated, malformed or unknown."""
        given = self.all("api-version")
        if not given:
            raise _version_problem("API version is not specified", "An API version is required, but was not specified.")
        if len(set(given)) > 1:
            raise _version_problem("Ambiguous API version", _AMBIGUOUS.format(", ".join(given)))
        if given[0] not in VERSIONS:
            raise self.unsupported("Unsupported" if _VERSION.fullmatch(given[0]) else "Invalid")
        return given[0]

    def unsupported(self, what: str = "Unsupported") -> Refused:
        """Refuse the version (400), everywhere or for one resource."""
        place = f"{self.request.origin}{self.request.path}"
        detail = f"The HTTP resource that matches the request URI '{place}' does not support the API version '{{}}'."
        return _version_problem(f"{what} API version", detail.format(self.one("api-version") or ""))

    def all(self, name: str) -> list[str]:
        """All values of a parameter."""
        return [value for found, value in self.request.query if found.lower() == name]

    def one(self, name: str) -> str | None:
        """The first value of a parameter; None when it is absent or empty."""
        return next(iter(self.all(name)), None) or None

    @cached_property
    def label(self) -> str | None:
        """The label of a single key-value; None is the null label."""
        label = self.one("label")
        return None if label == "\0" else label and literal(label, "label")

    def selected(self, fields: Sequence[str]) -> Sequence[str]:
        """The fields that must be sent, of those there are."""
        wanted = {field.strip().lower() for text in self.all("$select") for field in text.split(",")} - {""}
        return fields if not wanted or "*" in wanted else [field for field in fields if field in wanted]

    @cached_property
    def moment(self) -> float | None:
        """Accept-Datetime in seconds since the Unix epoch; None when it is absent or unreadable."""
        text = self.request.headers.get("Accept-Datetime")
        return read_date(text) if text else None


def read_date(text: str) -> float | None:
    """A date as the service's clients write it: RFC 1123, ISO 8601, or the Python SDK's `Nov, 21 2026 20:33:00.1 GMT`."""
    for read in (datetime.fromisoformat, parsedate_to_datetime, _sdk_date):
        try:
            found = read(text.strip())
            return (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC).timestamp()
        except (ValueError, TypeError, OverflowError):
            continue
    return None


def _sdk_date(text: str) -> datetime:
    text = text.removesuffix("GMT").strip()
    return datetime.strptime(text, "%b, %d %Y %H:%M:%S.%f" if "." in text else "%b, %d %Y %H:%M:%S").replace(tzinfo=UTC)


def name_in_path(encoded: str, parameter: str) -> str:
    """A key or snapshot name in the path. Raises Refused where the service refuses it."""
    if "%25" in encoded or re.search(r"%(?![0-9A-Fa-f]{2})", encoded):
        raise empty(400)  # the service decodes once, and will have no doubt about it
    try:
        name = unquote(encoded, errors="strict")
    except UnicodeDecodeError:
        raise invalid(parameter) from None
    if name in ("", ".", "..") or "%" in name:
        raise invalid(parameter)
    return literal(name, parameter, longest=None if parameter == "key" else LONGEST)


def literal(text: str, parameter: str, *, longest: int | None = LONGEST) -> str:
    """A text that is stored as it is. Raises Refused for control characters and for more than `longest`."""
    if (longest is not None and len(text) > longest) or _CONTROL.search(text):
        raise invalid(parameter)
    return text


def has_control(text: str) -> bool:
    """Whether there are control characters in a text."""
    return _CONTROL.search(text) is not None


class Verdict(Enum):
    """What the conditions of a request say."""

    PROCEED = 200
    NOT_MODIFIED = 304
    FAILED = 412


def conditions(request: Request, etag: str | None) -> Verdict:
    """Judge If-Match, else If-None-Match, against the present etag; None is for what does not exist."""
    if wanted := _tag(request.headers.get("If-Match")):
        matches = etag is not None and wanted in ("*", etag)
        return Verdict.PROCEED if matches else Verdict.FAILED
    if unwanted := _tag(request.headers.get("If-None-Match")):
        differs = etag is None or unwanted not in ("*", etag)
        return Verdict.PROCEED if differs else Verdict.NOT_MODIFIED
    return Verdict.PROCEED


def _tag(header: str | None) -> str | None:
    """The bare etag, or `*`. Text without quotes is not an entity tag: the service ignores it, so it is not a condition."""
    first = (header or "").split(",")[0].strip()
    if first == "*":
        return first
    match = _ENTITY_TAG.fullmatch(first)
    return match[1] if match else None


def _version_problem(title: str, detail: str) -> Refused:
    return problem(400, "invalid-argument", title=title, name="api-version", detail=detail)
