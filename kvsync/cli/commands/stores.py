"""The command `kvsync stores`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from kvsync.cli import options
from kvsync.cli.command import GlobalOptions, command
from kvsync.cli.exit_codes import Exit
from kvsync.cli.output import print_document, print_text
from kvsync.cli.table import markdown_table, table
from kvsync.util.escaping import escape_markdown, escape_text

if TYPE_CHECKING:
    from kvsync.model.capabilities import Capabilities

SCHEMA: Final = "kvsync.stores/1"
_HEAD: Final = (
    "type",
    "namespace is",
    "labels",
    "TTL",
    "compare-and-set",
    "marks are kept in",
    "writes per request",
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
    from kvsync.app.store_types import installed_types

    found, broken = installed_types()
    if output == "json":
        print_document({"schema": SCHEMA, "stores": [one.document() for one in found], "broken": broken})
    else:
        show = markdown_table if output == "markdown" else table
        print_text(show(_HEAD, [_row(one.capabilities) for one in found]))
        for error in broken:
            print_text(f"\n{escape_markdown(error) if output == 'markdown' else escape_text(error)}\n")
    return Exit.ERROR if broken else Exit.DONE


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
