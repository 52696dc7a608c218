"""Description of an error code."""

from __future__ import annotations

from kvsync.errors import ErrorCode
from kvsync.util.values import dataclass


@dataclass(frozen=True, slots=True)
class CodeDescription:
    """What an error code means, in Markdown without line ends: `title` is a phrase, `cause` and `remedy` are sentences."""

    code: ErrorCode
    title: str
    cause: str
    remedy: str


Descriptions = tuple[CodeDescription, ...]
