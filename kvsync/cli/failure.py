"""Output of the error that ended a command, as text or JSON."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from typing import Any

from kvsync.cli.exit_codes import Exit, of_error
from kvsync.cli.output import print_document, print_message
from kvsync.errors import ErrorCode, InvalidInput, KvsyncError, NotApproved, Problem, with_code
from kvsync.rendering.problems import problem_document
from kvsync.util.shortage import code_of, shortage_of

SCHEMA = "kvsync.error/1"


def report(error: BaseException, *, as_json: bool, debug: bool = False) -> Exit:
    """Say on stderr what went wrong, with `as_json` also as the one document on stdout; returns the exit code."""
    if isinstance(error, InvalidInput):
        print_problems(error.problems)
    elif isinstance(error, KvsyncError):
        print_message(f"kvsync: {with_code(str(error), error.code)}", *(f"  {detail}" for detail in _details(error)))
    elif (shortage := shortage_of(error)) is not None:
        print_message(f"kvsync: {with_code(shortage, ErrorCode.SHORTAGE)}")
    else:
        _print_bug_report(error, debug=debug)
    if as_json:
        print_document(error_document(error))
    return of_error(error)


def print_problems(problems: Sequence[Problem]) -> None:
    """Every problem on a line of its own, and how many there are."""
    print_message(
        *(with_code(str(one), one.code) for one in problems),
        f"{len(problems):,} problem{'s' if len(problems) != 1 else ''}",
    )


def error_document(error: BaseException) -> dict[str, Any]:
    """The error as the document `kvsync.error/1`."""
    problems = error.problems if isinstance(error, InvalidInput) else ()
    kind = _kind(error) if isinstance(error, KvsyncError) else "unexpected"
    message = str(error) if isinstance(error, KvsyncError) else shortage_of(error) or str(error)
    described: dict[str, Any] = {"kind": kind, "code": code_of(error).value, "message": message}
    described["problems"] = [problem_document(each) for each in problems]
    if details := _details(error):
        described["details"] = list(details)
    return {"schema": SCHEMA, "error": described}


def _details(error: BaseException) -> tuple[str, ...]:
    return error.details if isinstance(error, NotApproved) else ()


def _kind(error: KvsyncError) -> str:
    """`InvalidInput` -> `invalid-input`."""
    return re.sub(r"(?<!^)(?=[A-Z])", "-", type(error).__name__).lower()


def _print_bug_report(error: BaseException, *, debug: bool) -> None:
    first = str(error).partition("\n")[0]
    what = f"{type(error).__name__}: {first}" if first else type(error).__name__
    advice = "" if debug else "; --log-level debug shows where"
    print_message(f"kvsync: unexpected error: {what}. This is a bug in kvsync{advice} [{ErrorCode.BUG}]")
    if debug:
        import traceback

        lines = "".join(traceback.format_exception(error)).splitlines()
        print_message(*(f"  {line}" for line in lines))
        sys.stderr.flush()
