"""Variables in text: `${name}` is replaced by a value, `$${` is a literal `${`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final

from kvsync.yaml.problems import name_hint, quoted

VARIABLE_NAME: Final = r"[A-Za-z_][A-Za-z0-9_-]{0,63}"
"""Regular expression of the names under `vars:`."""

HOW: Final = "write ${name} for a variable, and $${ for a literal ${"

_MARK: Final = re.compile(r"\$\$\{|\$\{(?:(" + VARIABLE_NAME + r")\})?|\$\$")


class VariableError(ValueError):
    """Why a text cannot be expanded. The message repeats nothing of the text but the name of a variable, and of a private text
    not even that. `hint` says what to do; `offset` is the index of the fault in the text."""

    def __init__(self, message: str, hint: str, offset: int) -> None:
        self.hint, self.offset = hint, offset
        super().__init__(message)


def expand(text: str, variables: Mapping[str, str], *, private: bool = False) -> str:
    """Replace every variable in `text`. The result is not expanded again. Raises VariableError."""
    return "".join(_pieces(text, variables, private))


def variables_in(text: str) -> frozenset[str]:
    """The names of the variables that `text` uses."""
    return frozenset(match[1] for match in _MARK.finditer(text) if match[1])


def expanded_size(text: str, variables: Mapping[str, str]) -> int:
    """The characters that `expand` would return at most, counted without building them."""
    return len(text) + sum(len(variables.get(match[1] or "", "")) for match in _MARK.finditer(text))


def _pieces(text: str, variables: Mapping[str, str], private: bool) -> Iterator[str]:
    end = 0
    for match in _MARK.finditer(text):
        yield text[end : match.start()]
        yield _replacement(match, variables, private)
        end = match.end()
    yield text[end:]


def _replacement(match: re.Match[str], variables: Mapping[str, str], private: bool) -> str:
    written, name = match[0], match[1]
    if written == "$${":
        return "${"
    if written == "$$":
        raise VariableError("unused escape $$", "write $ for a dollar sign; only ${ is escaped, as $${", match.start())
    if name is None:
        raise VariableError("${ without the name of a variable and }", HOW, match.start())
    if name not in variables:
        shown = "unknown variable" if private else f"unknown variable {quoted(name)}"
        raise VariableError(shown, f"define it under vars; {name_hint(name, variables)}", match.start())
    return variables[name]
