"""Limits of the service."""

from __future__ import annotations

from typing import Final

LONGEST: Final = 7_776_000
"""Seconds that an entry lives at most: 90 days."""

MOST_KEY: Final = 200
"""Characters of a key."""

MOST_VALUE: Final = 2000
"""Characters of a value."""

KEY_PATTERN: Final = r"[a-zA-Z0-9а-яА-ЯёЁ_\-:;.#+]+"

PAGE: Final = 50
"""Entries that one call lists at most."""
