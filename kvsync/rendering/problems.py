"""JSON form of a problem. Pure."""

from __future__ import annotations

from typing import Any

from kvsync.errors import Problem


def problem_document(problem: Problem) -> dict[str, Any]:
    """One problem as plain data."""
    place = problem.origin
    return {
        "message": problem.message,
        "file": place.file if place else None,
        "line": place.line if place else None,
        "column": place.column if place else None,
        "hint": problem.hint,
        "code": problem.code.value,
    }
