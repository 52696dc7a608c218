"""Plans and reports in the form that was asked for, on stdout and into files."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kvsync.cli.failure import problem_document
from kvsync.cli.output import answer, answer_document, clean, say
from kvsync.errors import KvsyncError

if TYPE_CHECKING:
    from kvsync.core.plan import Plan
    from kvsync.core.render.json import Seal
    from kvsync.core.render.style import Style
    from kvsync.sources import Loaded
    from kvsync.workspace import Report


@dataclass(frozen=True, slots=True)
class Forms:
    """The form of the answer, and the files that get it in other forms."""

    output: str = "text"
    json_into: str | None = None
    markdown_into: str | None = None


def show_plan(plan: Plan, loaded: Loaded, seal: Seal, forms: Forms, style: Style) -> None:
    """Answer with a plan."""
    from kvsync.core.render.json import plan_document

    if forms.output == "text":
        show_plan_text(plan, style)
    if "json" in (forms.output, forms.json_into and "json"):
        _show_document(_with_problems(plan_document(plan, seal), loaded), forms)
    if "markdown" in (forms.output, forms.markdown_into and "markdown"):
        from kvsync.core.render.markdown import render_plan

        _show_markdown(render_plan(plan), forms)


def show_plan_text(plan: Plan, style: Style, *, beside: bool = False) -> None:
    """Show a plan to a person: as the answer, or beside another one."""
    from kvsync.core.render.text import render_plan

    (say if beside else answer)(render_plan(plan, style))


def show_report(
    report: Report, loaded: Loaded | None, seal: Seal, forms: Forms, style: Style, *, in_text: bool
) -> None:
    """Answer with what became of a plan; as text only when there is something to tell."""
    from kvsync.core.render.json import report_document

    if in_text:
        from kvsync.core.render.text import render_report

        answer(render_report(report.targets, style))
    if "json" in (forms.output, forms.json_into and "json"):
        document = _with_problems(report_document(report.plan, report.targets, seal), loaded)
        _show_document(document | {"run": report.run}, forms)
    if "markdown" in (forms.output, forms.markdown_into and "markdown"):
        from kvsync.core.render.markdown import render_report as as_markdown

        _show_markdown(as_markdown(report.plan, report.targets), forms)


def write_file(path: str, text: str) -> None:
    """Write a file whole or not at all. Raises KvsyncError."""
    file = Path(path)
    draft = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        if file.exists() and not file.is_file():  # a device or a pipe is written to, not replaced
            file.write_text(text, encoding="utf-8")
            return
        draft.write_text(text, encoding="utf-8")
        draft.replace(file)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise KvsyncError(f"{path} cannot be written: {error.strerror}") from None


def _with_problems(document: dict[str, Any], loaded: Loaded | None) -> dict[str, Any]:
    problems = loaded.problems if loaded else ()
    return document | {"problems": [problem_document(problem) for problem in problems]}


def _show_document(document: dict[str, Any], forms: Forms) -> None:
    from kvsync.core.render.json import to_text

    if forms.json_into:
        write_file(forms.json_into, to_text(clean(document)))
    if forms.output == "json":
        answer_document(document)


def _show_markdown(text: str, forms: Forms) -> None:
    from kvsync.secrets import REDACTOR

    if forms.markdown_into:
        write_file(forms.markdown_into, REDACTOR.redact(text))
    if forms.output == "markdown":
        answer(text)
