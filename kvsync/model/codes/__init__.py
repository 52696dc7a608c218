"""Catalogue of error codes: what each means, and what to do. `docs/error-codes.md` and `kvsync explain KV1101` show it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from kvsync.errors import ErrorCode
from kvsync.model.codes.entries import OWNERSHIP, WAITING
from kvsync.model.codes.files import AUTHORITY, FILES
from kvsync.model.codes.model import CodeDescription, Descriptions
from kvsync.model.codes.running import KVSYNC, REPLICAS, STATE
from kvsync.model.codes.stores import STORES

AREAS: Final[Mapping[str, Descriptions]] = {
    "Files and configuration": FILES,
    "What state files may do": AUTHORITY,
    "Responses of stores": STORES,
    "Ownership and conflicts": OWNERSHIP,
    "Waiting for approval or a point in time": WAITING,
    "State directory and machine": STATE,
    "Replicas": REPLICAS,
    "Everything else": KVSYNC,
}
"""The descriptions by area, in the order of the codes."""

CATALOGUE: Final[Mapping[ErrorCode, CodeDescription]] = {one.code: one for area in AREAS.values() for one in area}
"""Every code with its description."""

__all__ = ["AREAS", "CATALOGUE", "CodeDescription"]
