"""`kvsync apply`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from kvsync.cli import open as opening
from kvsync.cli import options
from kvsync.cli.command import GlobalOptions, command
from kvsync.cli.exit_codes import Exit
from kvsync.errors import UsageError

if TYPE_CHECKING:
    from kvsync.app import Workspace
    from kvsync.cli.saved_plan import Chosen
    from kvsync.desired import DesiredState
    from kvsync.planning.shard import Shard


@command(
    "apply",
    short_help="Make the stores as the files ask.",
    examples=(
        "apply",
        "apply --yes --target local/web",
        "apply plan.json",
        "apply plan.json --exact",
        "apply --yes --approve 3f9ad1c2b7e0",
        "apply --yes --retry --target local/web --key greeting",
    ),
    exits=(Exit.DONE, Exit.ERROR, Exit.PARTIAL, Exit.REFUSED, Exit.LOCKED),
)
@click.argument("planfile", required=False)
@options.yes
@options.targets
@options.shard
@options.keys
@options.deep
@click.option(
    "--retry", is_flag=True, help="Also try deferred entries: those that the store refused, and contended ones."
)
@click.option("--exact", is_flag=True, help="With a PLANFILE: apply nothing when anything else would result by now.")
@click.option("--approve", "approvals", metavar="HASH", multiple=True, help="Release this parked plan; repeatable.")
@options.output("text", "json", "markdown")
@options.copies
@options.allow_protected
@options.full
def apply(settings: GlobalOptions, **chosen: Any) -> Exit:
    """Plan, show the plan, ask, and apply it. Where nobody can be asked it wants --yes.

    With a PLANFILE that kvsync plan --out wrote, everything is read again, and those of its entries are applied for which the
    same change still results; nothing is asked. With --exact it is all or nothing: where other changes result by now, for
    whatever target, it refuses; changes that have been made since, and renewals, do not count. A file that was changed after it
    was saved is refused too, where the state directory has the key that it was saved with.

    Every write carries the version that the plan saw. One bad entry never stops the others.
    """
    return opening.run(_apply(settings, _ApplyOptions(**chosen)))


@dataclass(frozen=True, slots=True)
class _ApplyOptions:
    planfile: str | None
    yes: bool
    targets: tuple[str, ...]
    keys: tuple[str, ...]
    shard: Shard | None
    deep: bool
    retry: bool
    exact: bool
    approvals: tuple[str, ...]
    output: str
    json_into: str | None
    markdown_into: str | None
    allow_protected: bool
    full: bool


async def _apply(settings: GlobalOptions, chosen: _ApplyOptions) -> Exit:
    from kvsync.cli.apply_plan import ApplyRequest, carry_out
    from kvsync.cli.confirm import insist_on_terminal
    from kvsync.cli.rendered import Forms

    if chosen.planfile and (chosen.targets or chosen.keys):
        raise UsageError("a plan file says what to apply; --target and --key go with kvsync plan --out")
    if chosen.planfile and chosen.retry:
        raise UsageError(
            "a plan file says what to apply; --retry goes without one, or use kvsync resume TARGET --key GLOB"
        )
    if chosen.exact and not chosen.planfile:
        raise UsageError("--exact compares with a plan file: kvsync apply FILE --exact")
    asks = not chosen.yes and chosen.planfile is None
    insist_on_terminal("apply", yes=not asks)
    forms = Forms(chosen.output, chosen.json_into, chosen.markdown_into)
    async with opening.workspace(settings, writing="apply", shard=chosen.shard) as workspace:
        loaded = opening.load(workspace)
        plan = await _plan(workspace, loaded, chosen)
        order = ApplyRequest(
            "apply", forms, settings.style(full=chosen.full), chosen.approvals, asks=asks, tells=settings.tells
        )
        return await carry_out(workspace, loaded, plan, order)


async def _plan(workspace: Workspace, loaded: DesiredState, chosen: _ApplyOptions) -> Chosen:
    from kvsync.cli import saved_plan
    from kvsync.reconcile import PassOptions

    ask = PassOptions(deep=chosen.deep, allow_protected=chosen.allow_protected, keys=chosen.keys, retry=chosen.retry)
    if chosen.planfile is None:
        return saved_plan.Chosen(await opening.plan(workspace, loaded, chosen.targets, ask))
    saved = saved_plan.read(chosen.planfile, workspace)
    saved_plan.check(saved, workspace, chosen.planfile, exact=chosen.exact)
    targets = () if chosen.exact else saved_plan.targets_of(saved, loaded)
    fresh = await opening.plan(workspace, loaded, targets, ask)
    picked = saved_plan.choose(saved, fresh, workspace)
    return saved_plan.exactly(picked, fresh, chosen.planfile) if chosen.exact else picked
