"""Questions that an import asks a person: the namespaces, the key format, and whether to go on."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING

from kvsync.cli.confirm import answer_to
from kvsync.cli.output import print_message
from kvsync.errors import NotApproved
from kvsync.util.escaping import escape_text

if TYPE_CHECKING:
    from kvsync.app.survey import Survey
    from kvsync.cli.import_result import ImportResult

_MOST_SHOWN = 20


@dataclass(frozen=True, slots=True)
class ImportRequest:
    """What to import, and what was decided in advance."""

    store: str
    kind: str | None
    settings: tuple[str, ...]
    owner: str | None
    key_format: str | None
    namespaces: tuple[str, ...]
    folder: str
    yes: bool
    dry_run: bool
    output: str

    @property
    def asks(self) -> bool:
        """True when a person can be asked."""
        return not self.yes and not self.dry_run and self.output == "text" and sys.stdin.isatty()


def choose(survey: Survey, request: ImportRequest, result: ImportResult) -> tuple[str | None, Sequence[str]]:
    """The key format, None where the store has it already, and the namespaces."""
    from kvsync.app.survey import PLAIN

    if not survey.candidates:
        names = list(request.namespaces) or _asked_names(request, survey.namespaces)
        result.namespaces = names
        return None, names
    known = {one.key_format: one for one in survey.candidates}
    template = result.key_format
    if request.kind is not None:
        template = request.key_format or _asked_format(request, survey)
    result.key_format = template
    found = known.get(template or "")
    if request.namespaces:
        names = list(request.namespaces)
    elif template == PLAIN or found is None or not found.namespaces:
        names = [_ask(request, "Name of the namespace that all keys are in", request.store)]
    else:
        names = _asked_names(request, tuple(found.namespaces))
    result.namespaces = names
    return template, names


def _asked_format(request: ImportRequest, survey: Survey) -> str:
    best = survey.candidates[0].key_format
    lines = [f"{survey.keys:,} keys. These formats divide them into namespaces:"]
    for one in survey.candidates:
        some = ", ".join(f"{name} ({number:,})" for name, number in list(one.namespaces.items())[:5])
        more = f", and {len(one.namespaces) - 5:,} more" if len(one.namespaces) > 5 else ""
        lines.append(f"  {one.key_format:<20} {one.fits:>6,} keys fit  {some or 'one namespace'}{more}")
    print_message(*lines)
    while problem := _format_problem(given := _ask(request, "key_format", best)):
        print_message(f"{problem}; type a format such as {best}")
    return given


def _format_problem(given: str) -> str | None:
    """What is wrong with a key format; None if it can be used."""
    from kvsync.model.key_format import KeyFormat

    try:
        KeyFormat(given)
    except ValueError as error:
        return str(error)
    return None


def _asked_names(request: ImportRequest, names: Sequence[str]) -> list[str]:
    if len(names) < 2:
        return list(names)
    print_message(f"namespaces: {', '.join(names[:_MOST_SHOWN])}{' …' if len(names) > _MOST_SHOWN else ''}")
    while (given := _ask(request, "Which of them, separated by commas", "all")) != "all":
        chosen = dict.fromkeys(name.strip() for name in given.split(","))
        unknown = [name for name in chosen if name not in names]
        if not unknown:
            return list(chosen)
        print_message(
            f'there is no namespace "{unknown[0]}"{_near(unknown[0], names)}; type names from the list, or all'
        )
    return list(names)


def _near(name: str, names: Sequence[str]) -> str:
    near = get_close_matches(name, names, n=1)
    return f' (did you mean "{near[0]}"?)' if near else ""


def _ask(request: ImportRequest, question: str, proposal: str) -> str:
    """What a person answers; the proposal where nothing is typed, or nobody can be asked."""
    if not request.asks:
        return proposal
    return answer_to(f"{escape_text(question)} [{escape_text(proposal)}]: ").strip() or proposal


def confirm(request: ImportRequest, question: str) -> None:
    """Ask whether to go on. Raises NotApproved unless the answer is yes."""
    if request.asks and _ask(request, f"{question} Type yes to continue", "no") != "yes":
        raise NotApproved("aborted: not confirmed; nothing was written")
