"""The command `kvsync stores`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from kvsync.cli import options
from kvsync.cli.command import GlobalOptions, command
from kvsync.cli.exit_codes import Exit
from kvsync.cli.output import answer, answer_document
from kvsync.cli.table import markdown_table, table
from kvsync.errors import KvsyncError
from kvsync.util.escaping import escape_markdown, escape_text

if TYPE_CHECKING:
    from kvsync.model.capabilities import Capabilities
    from kvsync.stores.base import Store

SCHEMA: Final = "kvsync.stores/1"
_HEAD: Final = (
    "type",
    "namespace is",
    "labels",
    "TTL",
    "compare-and-set",
    "own marks live in",
    "writes a call",
    "listing carries values",
)


@command(
    "stores",
    short_help="List the store types and their capabilities.",
    examples=("stores", "stores -o json"),
    exits=(Exit.DONE, Exit.ERROR),
)
@options.output("text", "json", "markdown")
def stores(_settings: GlobalOptions, output: str) -> Exit:
    """List the store types, including those of installed packages, and their capabilities. Planning, validation and the
    guarantees that kvsync can give depend on them. Needs no configuration.
    """
    found, broken = _types()
    if output == "json":
        answer_document({"schema": SCHEMA, "stores": [_document(one) for one in found], "broken": broken})
    else:
        show = markdown_table if output == "markdown" else table
        answer(show(_HEAD, [_row(one.capabilities) for one in found]))
        for error in broken:
            answer(f"\n{escape_markdown(error) if output == 'markdown' else escape_text(error)}\n")
    return Exit.ERROR if broken else Exit.DONE


def _types() -> tuple[list[type[Store]], list[str]]:
    """The classes of all types, and what is wrong with those that cannot be loaded."""
    from kvsync.stores.registry import store_class, store_types

    found, broken = [], []
    for name in store_types():
        try:
            found.append(store_class(name))
        except KvsyncError as error:
            broken.append(str(error))
    return found, broken


def _row(can: Capabilities) -> tuple[str, ...]:
    return (
        can.type,
        can.namespace,
        "yes" if can.labels else "by key_format",
        str(can.lifetimes),
        "yes" if can.compare_and_set else "no: check, write, verify",
        f"the {can.marks}",
        f"{can.batch:,}",
        "yes" if can.values_in_listing else "no",
    )


def _document(store: type[Store]) -> dict[str, Any]:
    from dataclasses import asdict

    options = [{"name": one.name, "required": one.required, "help": one.help} for one in store.options]
    return asdict(store.capabilities) | {"options": options}
