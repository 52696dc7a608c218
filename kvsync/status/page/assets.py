"""Static files of the page, with a content fingerprint in the URL so that browsers can cache them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Final

FOLDER: Final = "/assets/"

_TYPES: Final = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}


@dataclass(frozen=True, slots=True)
class Asset:
    """One file."""

    name: str
    content_type: str
    body: bytes
    fingerprint: str

    @property
    def address(self) -> str:
        """Where it is served."""
        return f"{FOLDER}{self.name}?v={self.fingerprint}"


def load() -> Mapping[str, Asset]:
    """All files, by name."""
    found = (file for file in files(__package__).joinpath("assets").iterdir() if file.is_file())
    return {asset.name: asset for asset in (_asset(file.name, file.read_bytes()) for file in found)}


def _asset(name: str, body: bytes) -> Asset:
    ending = name[name.rindex(".") :]
    return Asset(name, _TYPES[ending], body, hashlib.sha256(body).hexdigest()[:12])
