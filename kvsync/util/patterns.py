"""Regular expressions that are compiled when they are first used.

Compiling one takes up to a millisecond. A command imports a hundred of them, most for texts that it never sees.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, AnyStr, Generic


class LazyPattern(Generic[AnyStr]):
    """Regular expression that is compiled when one of its methods or attributes is first used."""

    def __init__(self, pattern: AnyStr, flags: int = 0) -> None:
        self._arguments: tuple[AnyStr, int] = pattern, flags

    def compiled(self) -> re.Pattern[AnyStr]:
        """The regular expression. Raises re.error for one that is malformed."""
        found: re.Pattern[AnyStr] = re.compile(*self._arguments)
        return found

    def __getattr__(self, name: str) -> Any:
        value = self.__dict__[name] = getattr(self.compiled(), name)
        return value


if TYPE_CHECKING:
    lazy_pattern = re.compile
else:
    lazy_pattern = LazyPattern
