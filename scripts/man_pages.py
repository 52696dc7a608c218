"""Manual pages of the commands, and completion scripts for shells: the files under share/, which wheels install.

`scripts/generate_docs.py` writes them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import click
from click.shell_completion import get_completion_class

from kvsync import __version__
from kvsync.cli import cli
from kvsync.cli.command import Command
from kvsync.cli.exit_codes import Exit, meaning

SHARE = Path(__file__).resolve().parent.parent / "share"

COMPLETIONS = {
    "bash": "bash-completion/completions/kvsync",
    "zsh": "zsh/site-functions/_kvsync",
    "fish": "fish/vendor_completions.d/kvsync.fish",
}
"""The file of each shell, where packages of distributions put it."""


_HELP = ("-h, --help", "Show this message and exit.")


def shared_files(commands: dict[str, click.Command]) -> dict[Path, str]:
    """Every file under share/ with its text. `commands` are all commands by name, those in groups as `group/name`."""
    pages = {f"man/man1/{_page_name(name)}.1": _page(name, command) for name, command in commands.items()}
    pages["man/man1/kvsync.1"] = _main_page(commands)
    for shell, file in COMPLETIONS.items():
        completion = get_completion_class(shell)
        assert completion is not None
        pages[file] = completion(cli, {}, "kvsync", "_KVSYNC_COMPLETE").source().rstrip() + "\n"
    return {SHARE / name: text for name, text in pages.items()}


def _page_name(command: str) -> str:
    return f"kvsync-{command.replace('/', '-')}"


def _main_page(commands: dict[str, click.Command]) -> str:
    context = click.Context(cli, info_name="kvsync")
    parts = [
        _head("kvsync", "keep key-value stores in sync with a Git repository"),
        _synopsis(cli, context),
        _description(cli.help or ""),
        _options(cli, context),
        ".SH COMMANDS\n" + "".join(_command_entry(name, command) for name, command in commands.items()),
        _exit_status(sorted({code for command in commands.values() for code in _codes(command)})),
    ]
    return "".join(parts)


def _command_entry(name: str, command: click.Command) -> str:
    return f".TP\n.BR {_page_name(name)} (1)\n{_text(command.get_short_help_str(200))}\n"


def _page(name: str, command: click.Command) -> str:
    title = f"kvsync {name.replace('/', ' ')}"
    context = click.Context(command, info_name=title)
    parts = [
        _head(_page_name(name), command.get_short_help_str(200).rstrip(".")),
        _synopsis(command, context),
        _description(command.help or ""),
        _options(command, context),
    ]
    if isinstance(command, Command):
        parts += [_examples(command.examples), _exit_status(command.exit_codes)]
    return "".join([*parts, ".SH SEE ALSO\n.BR kvsync (1)\n"])


def _codes(command: click.Command) -> Sequence[Exit]:
    return command.exit_codes if isinstance(command, Command) else ()


def _head(name: str, purpose: str) -> str:
    return f'.TH {name.upper()} 1 "" "kvsync {__version__}" "kvsync"\n.SH NAME\n{name} \\- {_text(purpose)}\n'


def _synopsis(command: click.Command, context: click.Context) -> str:
    words = " ".join(command.collect_usage_pieces(context))
    return f".SH SYNOPSIS\n.B {_text(str(context.info_name))}\n{_text(words)}\n"


def _description(text: str) -> str:
    paragraphs = [" ".join(paragraph.split()) for paragraph in re.split(r"\n\s*\n", text.strip())]
    return ".SH DESCRIPTION\n" + ".PP\n".join(f"{_text(one)}\n" for one in paragraphs)


def _options(command: click.Command, context: click.Context) -> str:
    # Not get_params, which adds the option for help with the names that the first user of the command gave it.
    records = [*(parameter.get_help_record(context) for parameter in command.params), _HELP]
    shown = [f".TP\n.B {_text(names)}\n{_text(' '.join(help_.split()))}\n" for names, help_ in filter(None, records)]
    return ".SH OPTIONS\n" + "".join(shown)


def _examples(examples: Sequence[str]) -> str:
    lines = "".join(f"{_text(f'kvsync {example}')}\n" for example in examples)
    return f".SH EXAMPLES\n.nf\n{lines}.fi\n" if lines else ""


def _exit_status(codes: Iterable[Exit]) -> str:
    return ".SH EXIT STATUS\n" + "".join(f".TP\n.B {int(code)}\n{_text(meaning(code))}\n" for code in codes)


def _text(text: str) -> str:
    """Text that roff shows as it is."""
    escaped = text.replace("\\", "\\e").replace("-", "\\-").replace("…", "...")
    return re.sub(r"(?m)^([.'])", r"\\&\1", escaped)
