"""`multipart/form-data` parser that keeps bytes unchanged."""

from __future__ import annotations

import re
from typing import Final

_BOUNDARY: Final = re.compile(r'boundary="?([^";,]+)"?', re.IGNORECASE)
_DISPOSITION: Final = re.compile(rb"(?im)^content-disposition:\s*form-data\b(.*)$")
_NAME: Final = re.compile(rb'(?i);\s*name="?([^";\r]*)"?')


def is_multipart(content_type: str) -> bool:
    """Whether a body of this type has parts."""
    return content_type.partition(";")[0].strip().lower() == "multipart/form-data"


def parts(content_type: str, body: bytes) -> dict[str, bytes]:
    """The parts by name; the last of a name wins, and files are parts like others. Raises ValueError."""
    boundary = _BOUNDARY.search(content_type)
    if boundary is None:
        raise ValueError("no multipart boundary param in Content-Type")
    _, *sections = (b"\r\n" + body).split(b"\r\n--" + boundary[1].encode())
    if not sections or not sections.pop().startswith(b"--"):
        raise ValueError("multipart: NextPart: EOF")
    return dict(_part(section) for section in sections)


def _part(section: bytes) -> tuple[str, bytes]:
    """Name and content. A section starts with the rest of the line that its boundary is on."""
    head, _, content = section.partition(b"\r\n\r\n")
    disposition = _DISPOSITION.search(head)
    name = _NAME.search(disposition[1]) if disposition else None
    return name[1].decode("utf-8", "replace") if name else "", content
