"""All targets, by name."""

from __future__ import annotations

from tests.fuzz import files, requests, stored
from tests.fuzz.model import TARGETS, Target

__all__ = ["TARGETS", "Target", "files", "requests", "stored"]
