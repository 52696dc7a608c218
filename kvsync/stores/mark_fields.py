"""Marks as fields of a JSON object, for stores that keep them next to an entry in that form."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from kvsync.model.entry import Mark
from kvsync.planning.marks import seal_from_text, seal_to_text, ttl_from


class MarkFields(NamedTuple):
    """The names of the fields: the owner, the fingerprint in hexadecimal, the seal, the lifetime in seconds, and the flags `s`
    (sensitive) and `p` (protected)."""

    owner: str = "owner"
    fingerprint: str = "fp"
    seal: str = "seal"
    ttl: str = "ttl"
    flags: str = "flags"

    def of(self, mark: Mark) -> dict[str, Any]:
        """The fields of a mark, without those that say nothing."""
        fields = {
            self.owner: mark.owner,
            self.fingerprint: mark.fingerprint.hex(),
            self.seal: None if mark.seal is None else seal_to_text(mark.seal),
            self.ttl: mark.ttl,
            self.flags: "s" * mark.sensitive + "p" * mark.protected or None,
        }
        return {name: value for name, value in fields.items() if value is not None}

    def mark(self, fields: Mapping[str, Any]) -> Mark | None:
        """The mark in fields that anyone may have changed; None if they name no owner. A fingerprint that cannot be read is
        empty, and equals none."""
        owner, flags = fields.get(self.owner), fields.get(self.flags, "")
        if not isinstance(owner, str):
            return None
        flags = flags if isinstance(flags, str) else ""
        seal, ttl = seal_from_text(fields.get(self.seal)), ttl_from(fields.get(self.ttl))
        fingerprint = bytes_from_hex(fields.get(self.fingerprint))
        return Mark(owner, fingerprint, ttl, "s" in flags, "p" in flags, seal=seal)


MARK_FIELDS: Final = MarkFields()
"""The usual names."""


def bytes_from_hex(text: Any) -> bytes:
    """The bytes of a hexadecimal text; empty for anything else."""
    try:
        return bytes.fromhex(text) if isinstance(text, str) else b""
    except ValueError:
        return b""


def fields_to_text(fields: Mapping[str, Any]) -> str:
    """Fields as a compact JSON object, without those that are None."""
    return json.dumps({name: value for name, value in fields.items() if value is not None}, separators=(",", ":"))


def fields_from_text(text: str | bytes | None) -> Mapping[str, Any]:
    """The fields in a text that anyone may have changed; empty for anything but a JSON object."""
    try:
        found = json.loads(text) if text is not None else {}
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
