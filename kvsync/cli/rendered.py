"""Writes plans and reports in the requested format, to files first and then to stdout."""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kvsync.cli.output import print_document, print_message_block, print_text
from kvsync.errors import KvsyncError, Problem
from kvsync.rendering.problems import problem_document
from kvsync.util.private_files import write_private
from kvsync.util.redaction import REDACTOR
from kvsync.util.values import dataclass

if TYPE_CHECKING:
    from kvsync.app import Report
    from kvsync.model.plan import Plan
    from kvsync.rendering.json import Many, Seal
    from kvsync.rendering.style import Style

Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class OutputOptions:
    """The form of the answer, and the files that get it in other forms."""

    output: str = "text"
    json_into: str | None = None
    markdown_into: str | None = None


def show_plan(plan: Plan, problems: Collection[Problem], seal: Seal, forms: OutputOptions, style: Style) -> None:
    """Answer with a plan, and what is wrong with the files. Raises KvsyncError when it cannot be written."""

    def text() -> str:
        from kvsync.rendering.text import render_plan

        return render_plan(plan, style)

    def document(many: Many) -> Document:
        from kvsync.rendering.json import plan_document

        return _with_problems(plan_document(plan, seal, many), problems)

    def markdown() -> str:
        from kvsync.rendering.markdown import render_plan

        return render_plan(plan)

    _show(forms, text=text, document=document, markdown=markdown)


def show_report(
    report: Report,
    problems: Collection[Problem],
    seal: Seal,
    forms: OutputOptions,
    style: Style,
    *,
    quiet: bool = False,
) -> None:
    """Answer with what became of a plan; `quiet` says that nothing needs attention. Raises KvsyncError when it cannot
    be written."""
    from kvsync.rendering import json, markdown, text

    def document(many: Many) -> Document:
        described = json.report_document(report.plan, report.targets, seal, many)
        return _with_problems(described, problems) | {"run": report.run}

    _show(
        forms,
        text=lambda: "" if quiet else text.render_report(report.targets, style),
        document=document,
        markdown=lambda: markdown.render_report(report.plan, report.targets),
    )


def show_plan_text(plan: Plan, style: Style, *, to_stderr: bool = False) -> None:
    """Show a plan to a person: as the answer, or next to another one."""
    from kvsync.rendering.text import render_plan

    (print_message_block if to_stderr else print_text)(render_plan(plan, style))


def write_file(path: str, text: str) -> None:
    """Write a file whole or not at all, for its owner alone: plans may show values. Raises KvsyncError."""
    file = Path(path)
    try:
        if file.exists() and not file.is_file():  # a device or a pipe is written to, not replaced
            file.write_text(text, encoding="utf-8")
        else:
            write_private(file, text.encode())
    except OSError as error:
        raise KvsyncError(f"{path}: cannot write the file: {error.strerror}") from None


def _show(
    forms: OutputOptions, *, text: Callable[[], str], document: Callable[[Many], Document], markdown: Callable[[], str]
) -> None:
    """Files before stdout: when one cannot be written, the error is the only answer."""
    if forms.json_into:
        from kvsync.rendering.json import to_text

        write_file(forms.json_into, to_text(REDACTOR.clean(document(list))))
    if forms.markdown_into:
        write_file(forms.markdown_into, REDACTOR.redact(markdown()))
    if forms.output == "json":
        from kvsync.util.json_pieces import StreamedList

        print_document(document(StreamedList))
    else:
        print_text(markdown() if forms.output == "markdown" else text())


def _with_problems(document: Document, problems: Collection[Problem]) -> Document:
    return document | {"problems": [problem_document(problem) for problem in problems]}
