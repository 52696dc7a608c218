"""Text and JSON of what an error code means."""

from __future__ import annotations

import re
from textwrap import wrap
from typing import Final

from kvsync.cli.exit_codes import Exit
from kvsync.cli.output import print_document, print_lines
from kvsync.errors import ErrorCode

SCHEMA: Final = "kvsync.error-code/1"
_WIDTH: Final = 78
_CODE: Final = re.compile("KV[0-9]{4}", re.IGNORECASE)


def find_code(text: str) -> ErrorCode | None:
    """The error code with this name, in any case; None if there is none."""
    return next((code for code in ErrorCode if code == text.upper()), None)


def is_like_code(text: str) -> bool:
    """True for text that has the form of an error code, such as KV1203."""
    return _CODE.fullmatch(text) is not None


def unknown_code(text: str) -> str:
    """What is wrong with text that has the form of an error code and is none."""
    return f"no such error code: {text!r}; see the list in docs/error-codes.md"


def explain_code(code: ErrorCode, *, as_json: bool) -> Exit:
    """Print what a code means, and what to do. Raises KvsyncError if stdout cannot be written to."""
    from kvsync.model.codes import CATALOGUE

    one = CATALOGUE[code]
    if as_json:
        about = {"title": one.title, "cause": one.cause, "remedy": one.remedy}
        print_document({"schema": SCHEMA, "code": code.value, **about})
    else:
        print_lines(
            f"{code}: {one.title}", "", *wrap(one.cause, _WIDTH), "", *wrap(f"What to do: {one.remedy}", _WIDTH)
        )
    return Exit.DONE
