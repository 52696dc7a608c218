"""The command `kvsync compare`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

import click

from kvsync.cli import completing, options
from kvsync.cli.command import GlobalOptions, command
from kvsync.cli.exit_codes import Exit
from kvsync.cli.output import print_document, print_text
from kvsync.util.escaping import clip, escape_name, escape_text, quote_text

if TYPE_CHECKING:
    from kvsync.app.compare import ComparedEntry, ComparedTarget, CompareReport
    from kvsync.model.entry import Content

SCHEMA: Final = "kvsync.comparison/1"
_MOST: Final = 200
_VALUE: Final = 48
_SIGNS: Final = {"only-a": "-", "only-b": "+", "differs": "~"}


@command(
    "compare",
    short_help="Compare two environments, stores or targets.",
    examples=("compare dev prod", "compare dev prod --files -o json", "compare edge/web core/web"),
    exits=(Exit.DONE, Exit.ERROR, Exit.PENDING),
)
@click.argument("a", shell_complete=completing.sides)
@click.argument("b", shell_complete=completing.sides)
@click.option("--files", "in_files", is_flag=True, help="Compare only the files, without reading the stores.")
@options.output("text", "json")
@options.full
async def compare(settings: GlobalOptions, a: str, b: str, in_files: bool, output: str, full: bool) -> Exit:
    """Compare A with B, entry by entry: two environments of the configuration, two stores, or two targets (STORE/NS). The
    entries are read from the stores, for all targets that the files name; with --files, the files of both are compared instead.

    Exits with 2 if something differs. Sensitive values, and values that kvsync does not own, are compared but not shown.
    """
    from kvsync.app.compare import compare as ask
    from kvsync.cli.progress import progress

    with progress("comparing"):
        found = await ask(settings.config, settings.environment, a, b, in_files=in_files)
    if output == "json":
        print_document(_document(found))
    else:
        print_text("".join(_text(found, most=None if full else _MOST)))
    if any(one.error for one in found.targets):
        return Exit.ERROR
    return Exit.DONE if found.is_equal else Exit.PENDING


def _text(found: CompareReport, most: int | None) -> Iterator[str]:
    for target in found.targets:
        if target.error:
            yield f"{_title(target)}: {escape_text(target.error)}\n\n"
        elif target.entries:
            yield f"{_title(target)}: {_counts(target, found)}\n"
            yield from (f"{_line(one)}\n" for one in target.entries[:most])
            if most is not None and len(target.entries) > most:
                yield f"  and {len(target.entries) - most:,} more; --full shows all\n"
            yield "\n"
    equal = sum(one.equal for one in found.targets)
    differing = sum(len(one.entries) for one in found.targets)
    yield f"{escape_name(found.a)} and {escape_name(found.b)}: {equal:,} equal, {differing:,} different\n"


def _title(target: ComparedTarget) -> str:
    names = [escape_name(str(target.a))] + ([escape_name(str(target.b))] if target.b != target.a else [])
    return " and ".join(names)


def _counts(target: ComparedTarget, found: CompareReport) -> str:
    from kvsync.rendering.words import counts

    seen = Counter(one.side.value for one in target.entries)
    words = {"only-a": f"only in {found.a}", "only-b": f"only in {found.b}", "differs": "different"}
    return escape_text(counts([(target.equal, "equal"), *((seen[side], word) for side, word in words.items())]))


def _line(entry: ComparedEntry) -> str:
    from kvsync.rendering.words import name

    sign, parts = _SIGNS[entry.side.value], ", ".join(entry.parts)
    line = f"  {sign} {name(entry.identity)}" + (f"  {parts}" if parts else "")
    if entry.is_hidden or "value" not in entry.parts:
        return line + ("  (not shown)" if entry.is_hidden and "value" in entry.parts else "")
    return f"{line}: {_value(entry.a)} -> {_value(entry.b)}"


def _value(content: Content | None) -> str:
    if content is None:
        return "(absent)"
    return clip(quote_text(content.value.decode("utf-8", "replace")), _VALUE)


def _document(found: CompareReport) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "a": found.a,
        "b": found.b,
        "equal": found.is_equal,
        "targets": [
            {
                "a": str(one.a),
                "b": str(one.b),
                "equal": one.equal,
                "error": one.error,
                "entries": [_entry_document(entry) for entry in one.entries],
            }
            for one in found.targets
        ],
    }


def _entry_document(entry: ComparedEntry) -> dict[str, Any]:
    described = {"key": entry.identity.key, "label": entry.identity.label}
    return described | {"side": entry.side.value, "parts": list(entry.parts), "hidden": entry.is_hidden}
