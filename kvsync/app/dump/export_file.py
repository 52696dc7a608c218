"""Reads JSON files that other tools exported, and rejects what kvsync would lose."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NoReturn

from kvsync.errors import InvalidInput, Origin, Problem, UsageError
from kvsync.yaml.problems import quoted


class _AmbiguousError(ValueError):
    """What Python's JSON reader accepts, and other programs refuse or read in another way."""


def read_export(file: Path, how: str) -> Any:
    """The document in a file; `how` says what it should be. Raises UsageError if the file cannot be read, and InvalidInput if
    it is not JSON, or if an object has a member twice."""
    try:
        return json.loads(file.read_bytes(), parse_constant=_constant, object_pairs_hook=_members)
    except OSError as error:
        raise UsageError(f"{file}: cannot read the file: {error.strerror}") from None
    except json.JSONDecodeError as error:
        raise _invalid(file, f"not valid JSON: {error.msg}", how, error.lineno, error.colno) from None
    except _AmbiguousError as error:
        raise _invalid(file, str(error), how) from None
    except RecursionError:
        raise _invalid(file, "nested too deeply", how) from None
    except ValueError:
        raise _invalid(file, "not valid JSON: not Unicode text, or a number of thousands of digits", how) from None


def _invalid(file: Path, message: str, how: str, line: int = 1, column: int = 1) -> InvalidInput:
    return InvalidInput([Problem(message, Origin(str(file), line, column), how)])


def _constant(name: str) -> NoReturn:
    raise _AmbiguousError(f"not valid JSON: {name} is not a number")


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members: dict[str, Any] = {}
    for name, value in pairs:
        if name in members:
            raise _AmbiguousError(f"{_named(pairs)} has the member {quoted(name)} twice")
        members[name] = value
    return members


def _named(pairs: list[tuple[str, Any]]) -> str:
    """An object, by the key that an entry has."""
    key = next((value for name, value in pairs if name == "key"), None)
    return f"the entry {quoted(key)}" if isinstance(key, str) else "an object"
