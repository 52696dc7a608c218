"""Options shared by several commands."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from kvsync.cli import completing

if TYPE_CHECKING:
    from kvsync.model.shard import Shard

_Function = TypeVar("_Function", bound=Callable[..., Any])


def output(*forms: str) -> Callable[[_Function], _Function]:
    """`-o`: the form of the answer, text unless asked otherwise."""
    what = {
        "text": "text",
        "json": "a JSON document",
        "markdown": "Markdown for a pull request comment",
        "sarif": "SARIF for code scanning",
        "github": "annotations for GitHub Actions",
        "gitlab": "a GitLab Code Quality report",
    }
    described = ", ".join(what[form] for form in forms)
    return click.option("-o", "--output", type=click.Choice(forms), default="text", help=f"Output format: {described}.")


def targets(function: _Function) -> _Function:
    """`--target`: which targets."""
    text = "Limit to this target, or to all targets of a store; repeatable."
    return click.option(
        "--target", "targets", metavar="STORE[/NS]", multiple=True, help=text, shell_complete=completing.targets
    )(function)


def keys(function: _Function) -> _Function:
    """`--key`: which keys."""
    text = "Limit to keys that match this glob; repeatable."
    return click.option("--key", "keys", metavar="GLOB", multiple=True, help=text, shell_complete=completing.keys)(
        function
    )


def deep(function: _Function) -> _Function:
    """`--deep`: read values."""
    text = "Read every value, even where the listing has fingerprints."
    return click.option("--deep", is_flag=True, help=text)(function)


def allow_protected(function: _Function) -> _Function:
    """`--allow-protected`."""
    text = "Allow protected entries to be overwritten and deleted."
    return click.option("--allow-protected", is_flag=True, help=text)(function)


def shard(function: _Function) -> _Function:
    """`--shard`: a share of the targets."""
    text = "Limit to one share of the targets; 1/3 is the first of three."
    return click.option("--shard", metavar="I/N", callback=_shard, help=text)(function)


def _shard(_context: click.Context, _parameter: click.Parameter, written: str | None) -> Shard | None:
    from kvsync.model.shard import Shard

    try:
        return None if written is None else Shard.parse(written)
    except ValueError as error:
        raise click.BadParameter(f"{written!r}: expected {error}") from None


def full(function: _Function) -> _Function:
    """`--full`: no limits on what is shown."""
    return click.option("--full", is_flag=True, help="Show all changes and all lines, without limits.")(function)


def as_author(function: _Function) -> _Function:
    """`--as-author`: the configuration of another revision."""
    text = (
        "Use the configuration of this Git revision, so that a change cannot grant itself more rights. Without REV: the"
        " target branch in GitHub or GitLab CI, otherwise the default branch of origin."
    )
    return click.option("--as-author", metavar="[REV]", is_flag=False, flag_value="", help=text)(function)


def yes(function: _Function) -> _Function:
    """`--yes`: do not ask."""
    return click.option("-y", "--yes", is_flag=True, help="Skip the confirmation prompt.")(function)


def dry_run(function: _Function) -> _Function:
    """`--dry-run`: the plan alone."""
    return click.option("--dry-run", is_flag=True, help="Show the plan and write nothing.")(function)


def one_time_change(function: _Function) -> _Function:
    """The options that `OneTimeChange.taken_from` takes: `--yes`, `--dry-run`, `-o` and `--full`."""
    return yes(dry_run(output("text", "json", "markdown")(full(function))))


def runs(*, commit: str, since: str, trigger: str) -> Callable[[_Function], _Function]:
    """`--commit`, `--since` and `--trigger`: which runs of the journal. The parameters are their help texts."""

    def decorate(function: _Function) -> _Function:
        function = click.option("--trigger", metavar="NAME", help=trigger)(function)
        of_run = click.option("--since", metavar="RUN", help=since, shell_complete=completing.runs)
        of_commit = click.option("--commit", metavar="SHA", help=commit, shell_complete=completing.commits)
        return of_commit(of_run(function))

    return decorate


def copies(function: _Function) -> _Function:
    """`--json-into` and `--markdown-into`: the answer in other forms, in the same run."""
    for form, name in (("markdown", "Markdown"), ("json", "JSON")):
        text = f"Also write the output to this file, as {name}."
        function = click.option(f"--{form}-into", metavar="FILE", help=text)(function)
    return function
