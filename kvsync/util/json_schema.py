"""Validation by JSON Schema 2020-12, bounded: regular expressions take time linear in the text, and nothing is fetched."""

from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import Decimal
from itertools import islice
from typing import Any, Final, NamedTuple, NoReturn

_MOST_ERRORS: Final = 20
"""Errors that are reported for one value."""

_MASK: Final = "the value"
_UNEXPECTED: Final = frozenset({"additionalProperties", "unevaluatedProperties"})


class Mismatch(NamedTuple):
    """Where in a value, and why, it does not match a schema. `path` has the names of members and the indexes of items. With
    `is_name`, the name of the last member does not match, whatever its value is."""

    path: tuple[str | int, ...]
    message: str
    keyword: str
    is_name: bool = False


def validator_of(schema: dict[str, Any] | bool) -> Any:
    """A validator of JSON Schema 2020-12 with formats. Its messages repeat no value. Raises ValueError."""
    from jsonschema_rs import Draft202012Validator, ReferencingError, RegexOptions, ValidationError

    try:
        return Draft202012Validator(
            schema,
            validate_formats=True,
            ignore_unknown_formats=False,
            offline=True,
            mask=_MASK,
            pattern_options=RegexOptions(),
        )
    except (ValidationError, ReferencingError) as error:
        raise ValueError(str(error).partition("\n")[0]) from None


def mismatches(validator: Any, value: bytes) -> Iterator[Mismatch]:
    """List why the text of a value does not match, up to a bound. The messages repeat names of members, but no values."""
    try:
        instance = json.loads(value, parse_float=Decimal, parse_constant=_refuse)
    except (ValueError, RecursionError):
        yield Mismatch((), f"{_MASK} is not JSON", "")
        return
    found = (mismatch for error in validator.iter_errors(instance) for mismatch in _mismatches_of(error))
    yield from islice(found, _MOST_ERRORS)


def _mismatches_of(error: Any) -> Iterator[Mismatch]:
    """The mismatches of one error: members that a schema does not allow are one error, with all their names."""
    path = tuple(error.instance_path)
    keyword = next((part for part in reversed(error.schema_path) if isinstance(part, str)), "")
    if error.kind.name in _UNEXPECTED:
        message = error.message.partition(" (")[0]
        yield from (Mismatch((*path, name), message, keyword, is_name=True) for name in error.kind.unexpected)
    else:
        yield Mismatch(path, error.message, keyword)


def _refuse(constant: str) -> NoReturn:
    raise ValueError(constant)
