"""Style of text output. The command line sets it; nothing here reads the terminal."""

from __future__ import annotations

from enum import StrEnum

from kvsync.util.values import dataclass

_EVERYTHING = 1_000_000_000


class Paint(StrEnum):
    """ANSI codes by their use."""

    NONE = ""
    CREATE = "32"
    UPDATE = "33"
    RENEW = "36"
    ADOPT = "34"
    RELEASE = "94"
    DELETE = "31"
    REFUSED = "35"
    HEAD = "1"
    DIM = "2"
    ALARM = "1;31"


@dataclass(frozen=True, slots=True)
class DisplayLimits:
    """How much of one change is shown: lines, and characters of a line."""

    lines: int = 20
    columns: int = 200


@dataclass(frozen=True, slots=True)
class Style:
    """`color` allows ANSI codes, `width` is in columns, `full` shows every change and every line whole."""

    color: bool = False
    width: int = 100
    full: bool = False

    def paint(self, text: str, paint: Paint) -> str:
        """The text in a colour, where colours are allowed."""
        return f"\x1b[{paint}m{text}\x1b[0m" if self.color and paint and text else text

    @property
    def changes(self) -> int:
        """How many changes are shown in all."""
        return _EVERYTHING if self.full else 200

    @property
    def limits(self) -> DisplayLimits:
        """How much of one change is shown."""
        return DisplayLimits(_EVERYTHING, _EVERYTHING) if self.full else DisplayLimits(20, max(40, self.width - 8))
