"""The command `kvsync completion`."""

from __future__ import annotations

import click

from kvsync.cli.command import GlobalOptions, command
from kvsync.cli.exit_codes import Exit
from kvsync.cli.output import print_text


@command(
    "completion",
    short_help="Print a shell completion script.",
    examples=(
        "completion bash > ~/.local/share/bash-completion/completions/kvsync",
        'completion zsh > "${fpath[1]}/_kvsync"',
        "completion fish > ~/.config/fish/completions/kvsync.fish",
    ),
    exits=(Exit.DONE,),
)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(_settings: GlobalOptions, shell: str) -> Exit:
    """Print a script that completes kvsync commands and options in a shell."""
    from click.shell_completion import get_completion_class

    from kvsync.cli.main import cli

    kind = get_completion_class(shell)
    assert kind is not None
    print_text(kind(cli, {}, "kvsync", "_KVSYNC_COMPLETE").source() + "\n")
    return Exit.DONE
