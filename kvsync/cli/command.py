"""Base class of all commands: global options, environment variables, help, and error handling."""

from __future__ import annotations

import gc
import logging
import sys
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any, Final, Literal, TypeVar

import click
from click.core import ParameterSource

from kvsync import logs
from kvsync.cli import completing, failure
from kvsync.cli.exit_codes import Exit, meaning
from kvsync.cli.output import has_color, width
from kvsync.util.values import dataclass

VARIABLES = "KVSYNC"
"""What the names of environment variables begin with."""

_Result = TypeVar("_Result")

_UNSET = ParameterSource.DEFAULT
_RANKS = {ParameterSource.COMMANDLINE: 2, ParameterSource.ENVIRONMENT: 1}

_TWINS: Final = {".yaml": (".yml",), ".yml": (".yaml",)}


@dataclass(frozen=True, slots=True)
class GlobalOptions:
    """The global options as they hold for one command. `log_level` None leaves the choice to the command."""

    config: Path
    environment: str | None = None
    offline: bool = False
    log_format: Literal["console", "json"] = "console"
    log_level: str | None = None
    color: str = "auto"
    output: str = "text"

    @property
    def debug(self) -> bool:
        """True when even the inside of kvsync is of interest."""
        return self.log_level == "debug"

    @property
    def logs_changes(self) -> bool:
        """True when the log is to have each fact: the answer, for people, has them already."""
        return self.log_level is not None or self.output != "text"

    def paints(self) -> bool:
        """True when the answer may be coloured."""
        return has_color(sys.stdout, self.color)

    def style(self, *, full: bool = False) -> Any:
        """How plans are to look on stdout: a `kvsync.rendering.style.Style`."""
        from kvsync.rendering.style import Style

        return Style(color=self.paints(), width=width(), full=full)


def global_options() -> list[click.Option]:
    """The options that are accepted before and after every command."""
    return [
        click.Option(["-c", "--config"], metavar="FILE", default="kvsync.yaml", help="The configuration file (kvsync.yaml)."),
        click.Option(
            ["--env"],
            metavar="NAME",
            help="Environment to use, instead of the configured one.",
            shell_complete=completing.environments,
        ),
        click.Option(["--offline"], is_flag=True, help="With a Git source: use the last good commit, without fetching."),
        click.Option(["--log-format"], type=click.Choice(["console", "json"]), help="Format of the log on stderr."),
        click.Option(["--log-level"], type=click.Choice(list(logs.LEVELS)), help="Lowest level to log."),
        click.Option(
            ["--color"], type=click.Choice(["auto", "always", "never"]), help="Use colours; auto means only on a terminal."
        ),
    ]  # fmt: skip


class Command(click.Command):
    """A command that also takes the global options, reads every option from the environment, and never ends in a traceback.

    `level` is the log level unless one is asked for. `examples` and `exit_codes` are what its help shows.
    """

    def __init__(
        self,
        *args: Any,
        examples: Sequence[str] = (),
        exits: Sequence[Exit] = (Exit.DONE, Exit.ERROR),
        level: str = "warning",
        **attributes: Any,
    ) -> None:
        attributes.setdefault("context_settings", {"help_option_names": ["-h", "--help"]})
        super().__init__(*args, **attributes)
        self.examples, self._level = tuple(examples), level
        self.exit_codes = sorted({*exits, Exit.USAGE, Exit.INVALID})
        common = global_options()
        for option in common:
            option.hidden, option.default = True, None
        self._common = [str(option.name) for option in common]
        self.params += common
        bind_variables(self.params, self.name or "")

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command with its settings as the context's object. Returns its exit code."""
        settings = self._settings(ctx)
        ctx.obj = settings
        logs.configure(settings.log_format, settings.log_level or self._level)
        logging.captureWarnings(True)
        try:
            result = super().invoke(ctx)
            return run(result) if isinstance(result, Coroutine) else result
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise  # how click ends a command
        except Exception as error:  # noqa: BLE001 - nobody may see a traceback
            return failure.report(error, as_json=settings.output == "json", debug=settings.debug)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Examples, exit codes, and where else options may come from."""
        self._section(formatter, "Examples", [f"kvsync {example}" for example in self.examples])
        self._section(formatter, "Exit codes", [f"{code:>2}  {meaning(code)}" for code in self.exit_codes])
        name = f"{VARIABLES}_{(self.name or '').upper()}"
        formatter.write_paragraph()
        formatter.write_text(
            f"Every option can be set by an environment variable: {name}_… for this command, or {VARIABLES}_… for all "
            "commands; the variable of the command wins. The global options (kvsync --help) are accepted here too."
        )

    @staticmethod
    def _section(formatter: click.HelpFormatter, title: str, lines: Sequence[str]) -> None:
        if not lines:
            return
        with formatter.section(title):
            for line in lines:
                formatter.write(f"{'':>{formatter.current_indent}}{line}\n")

    def _settings(self, ctx: click.Context) -> GlobalOptions:
        chosen = {name: nearest_option(ctx, name) for name in self._common}
        for name in self._common:
            del ctx.params[name]
        return GlobalOptions(
            config=_existing(chosen["config"]),
            environment=chosen["env"],
            offline=bool(chosen["offline"]),
            log_format=chosen["log_format"] or "console",
            log_level=chosen["log_level"],
            color=chosen["color"] or "auto",
            output=ctx.params.get("output") or "text",
        )


def chosen_config(ctx: click.Context) -> Path:
    """The configuration file that a command line names."""
    return _existing(nearest_option(ctx, "config"))


def _existing(name: str | None) -> Path:
    """The configuration file; under the other spelling of its suffix where there is only that one."""
    name = name or "kvsync.yaml"
    spellings = [Path(name), *(Path(name).with_suffix(twin) for twin in _TWINS.get(Path(name).suffix, ()))]
    return next((file for file in spellings if file.exists()), spellings[0])


def command(name: str, **attributes: Any) -> Callable[[Callable[..., Any]], Command]:
    """Make a command of a function, async or not, that takes `GlobalOptions` and its options, and returns an `Exit`."""

    def make(function: Callable[..., Any]) -> Command:
        return click.command(name, cls=Command, **attributes)(click.pass_obj(function))

    return make


def run(work: Coroutine[Any, Any, _Result]) -> _Result:
    """Run the coroutine of a command to its end."""
    import asyncio  # help does not pay for it

    gc.freeze()  # what was imported stays
    return asyncio.run(work)


def bind_variables(parameters: Sequence[click.Parameter], command_name: str = "") -> None:
    """Give every option its environment variables: the command's own before the one for all commands."""
    for option in parameters:
        if isinstance(option, click.Option) and option.expose_value:
            name = max(option.opts, key=len).lstrip("-").replace("-", "_").upper()
            general, own = f"{VARIABLES}_{name}", f"{VARIABLES}_{command_name.upper()}_{name}"
            option.envvar = [own] if option.hidden else [own, general] if command_name else [general]


def nearest_option(ctx: click.Context, name: str) -> Any:
    """The value of a global option: a given one before one from the environment, and then the one nearer to the command."""
    places = [place for place in (ctx, ctx.parent) if place is not None and name in place.params]
    return max(places, key=lambda place: _RANKS.get(place.get_parameter_source(name) or _UNSET, 0)).params[name]
