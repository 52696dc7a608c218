"""The command `kvsync plan`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from kvsync.cli import open as opening
from kvsync.cli import options
from kvsync.cli.command import GlobalOptions, command
from kvsync.cli.exit_codes import Exit, of_plan
from kvsync.util.values import dataclass

if TYPE_CHECKING:
    from kvsync.model.shard import Shard


@command(
    "plan",
    short_help="Show the changes that apply would make. Read-only.",
    examples=(
        "plan",
        "plan --target local/web --key 'banner/*'",
        "plan --exit-code -o json",
        "plan --out plan.json --markdown-into comment.md",
        "plan --as-author=origin/main",
    ),
    exits=(Exit.DONE, Exit.ERROR, Exit.PENDING, Exit.REFUSED),
)
@options.targets
@options.as_author
@options.shard
@options.keys
@options.output("text", "json", "markdown")
@click.option("--out", metavar="FILE", help="Save the plan for kvsync apply FILE, without values.")
@options.deep
@click.option("--exit-code", is_flag=True, help="Exit with 2 if changes are pending.")
@options.copies
@options.allow_protected
@options.full
async def plan(settings: GlobalOptions, **given: Any) -> Exit:
    """Compare the files with the stores, and show the changes that apply would make and the reason for each.

    The stores are opened read-only. A plan that exceeds a limit of the guard is parked until you run kvsync approve with the
    hash that it shows.
    """
    from kvsync.cli.rendered import OutputOptions, show_plan, write_file
    from kvsync.model.pass_options import PassOptions

    chosen = _PlanOptions(**given)
    revision = await opening.config_revision(settings, chosen.as_author)
    async with opening.workspace(settings, shard=chosen.shard, revision=revision) as workspace:
        loaded = opening.load(workspace)
        ask = PassOptions(
            deep=chosen.deep, allow_protected=chosen.allow_protected, keys=chosen.keys, deletes_namespaces=True
        )
        plan = await opening.plan(workspace, loaded, chosen.targets, ask)
        seal = workspace.state.seal
        if chosen.out:
            from kvsync.rendering.saved_plan import save

            write_file(chosen.out, save(plan, seal, workspace.config.environment))
        plan = workspace.with_approvals(plan)
        show_plan(
            plan,
            loaded.problems,
            seal,
            OutputOptions(chosen.output, chosen.json_into, chosen.markdown_into),
            settings.style(full=chosen.full),
        )
        return of_plan(plan, problems=bool(loaded.problems), pending=chosen.exit_code)


@dataclass(frozen=True, slots=True)
class _PlanOptions:
    targets: tuple[str, ...]
    as_author: str | None
    keys: tuple[str, ...]
    shard: Shard | None
    output: str
    out: str | None
    deep: bool
    exit_code: bool
    json_into: str | None
    markdown_into: str | None
    allow_protected: bool
    full: bool
