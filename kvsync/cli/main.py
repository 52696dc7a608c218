"""The `kvsync` command group, and the entry point that runs it."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from itertools import pairwise
from keyword import iskeyword
from typing import Any

import click

from kvsync.cli import failure
from kvsync.cli.command import bind_variables, global_options
from kvsync.cli.exit_codes import Exit, of_error
from kvsync.cli.output import prepare, print_message, print_message_block
from kvsync.errors import UsageError
from kvsync.util.version import version_text

PURPOSES = {
    "Get started": ("init", "validate", "doctor", "schema", "completion"),
    "Edit files": ("set", "fmt"),
    "Plan and apply": ("plan", "apply", "drift", "run"),
    "Import existing entries": ("import", "dump", "adopt", "transfer", "release"),
    "Control the daemon": ("status", "approve", "pause", "resume"),
    "Share the state": ("state",),
    "Inspect and undo": ("list", "history", "show", "undo", "explain", "compare", "stores"),
    "Test locally": ("emulate",),
}
"""The commands by what they are for, as `kvsync --help` shows them. Each is a module of `kvsync.cli.commands`."""

_COMMANDS = tuple(name for names in PURPOSES.values() for name in names)


class Commands(click.Group):
    """The commands; a module is imported once its command is asked for."""

    def list_commands(self, _ctx: click.Context) -> list[str]:
        """All commands, by purpose."""
        return list(_COMMANDS)

    def get_command(self, _ctx: click.Context, name: str) -> click.Command | None:
        """The command of this name."""
        if name not in _COMMANDS:
            return None
        member = f"{name}_" if iskeyword(name) else name
        found: click.Command = getattr(import_module(f"kvsync.cli.commands.{member}"), member)
        return found

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does it, with the nearest name suggested for one that is not known."""
        name = args[0]
        if name not in _COMMANDS and not name.startswith("-") and not ctx.resilient_parsing:
            from difflib import get_close_matches

            near = get_close_matches(name, _COMMANDS, 1)
            hint = f"did you mean {near[0]!r}?" if near else "run kvsync --help for the list"
            raise click.UsageError(f"unknown command {name!r}; {hint}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The commands with what they do, grouped by purpose."""
        for purpose, names in PURPOSES.items():
            commands = [(name, self.get_command(ctx, name)) for name in names]
            with formatter.section(purpose):
                formatter.write_dl([(name, found.get_short_help_str(90)) for name, found in commands if found])


def _show_version(ctx: click.Context, _parameter: click.Parameter, wanted: bool) -> None:
    if wanted:
        click.echo(version_text())
        ctx.exit()


_VERSION = click.Option(
    ["--version"],
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_show_version,
    help="Show the version, and the commit if the package was built from Git, and exit.",
)

cli = Commands(
    "kvsync",
    params=[*global_options(), _VERSION],
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    help="""Keep key-value stores in sync with YAML files in a Git repository.

    To get started: kvsync init shop && cd shop && kvsync plan && kvsync apply. To keep stores in sync: kvsync run.""",
    epilog="""Every option can be set by an environment variable: KVSYNC_ENV, KVSYNC_LOG_FORMAT, …; for one command only, add
    its name (KVSYNC_PLAN_OUTPUT). Exit codes: 0 success, 1 error, 2 changes or drift pending, 3 partial, 4 refused, 5 lock
    held, 64 invalid command line, 78 invalid configuration or state files.""",
)
bind_variables(cli.params)


def run(arguments: Sequence[str]) -> int:
    """Run a command line. Returns the exit code; says what went wrong, and raises nothing."""
    prepare()
    try:
        return int(cli.main(list(arguments), prog_name="kvsync", standalone_mode=False) or 0)
    except click.UsageError as error:
        return _usage(error, as_json=_wants_json(arguments))
    except (KeyboardInterrupt, click.Abort):
        print_message("")
        return of_error(KeyboardInterrupt())
    except Exception as error:  # noqa: BLE001 - the last resort
        return failure.report(error, as_json=_wants_json(arguments), debug="debug" in arguments)


def _usage(error: click.UsageError, *, as_json: bool) -> Exit:
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        print_message_block(f"{error.format_message()}\n")
        return Exit.USAGE
    code = failure.report(UsageError(error.format_message().rstrip(".")), as_json=as_json)
    if error.ctx is not None:
        print_message(f"Try '{error.ctx.command_path} --help'.")
    return code


def _wants_json(arguments: Sequence[str]) -> bool:
    """Whether a command line that could not be parsed asks for JSON."""
    words: list[Any] = ["", *arguments]
    return any(
        this in ("-ojson", "--output=json") or (before in ("-o", "--output") and this == "json")
        for before, this in pairwise(words)
    )
