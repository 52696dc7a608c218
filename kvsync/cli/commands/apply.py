"""The command `kvsync apply`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from kvsync.cli import completing, options
from kvsync.cli import open as opening
from kvsync.cli.command import GlobalOptions, command
from kvsync.cli.exit_codes import Exit
from kvsync.cli.output import print_message
from kvsync.errors import UsageError
from kvsync.util.values import dataclass

if TYPE_CHECKING:
    from kvsync.app import DesiredState, Workspace
    from kvsync.app.saved_plan import SelectedPlan
    from kvsync.model.shard import Shard


@command(
    "apply",
    short_help="Apply the plan: make the stores match the files.",
    examples=(
        "apply",
        "apply --yes --target local/web",
        "apply plan.json",
        "apply plan.json --exact",
        "apply --yes --approve 3f9ad1c2b7e0",
        "apply --yes --wait 1h",
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
@click.option("--retry", is_flag=True, help="Also retry deferred entries: quarantined and contended ones.")
@click.option("--exact", is_flag=True, help="With a PLANFILE: apply nothing if a new plan differs from it.")
@click.option(
    "--approve",
    "approvals",
    metavar="HASH",
    multiple=True,
    help="Approve the parked plan with this hash; repeatable.",
    shell_complete=completing.hashes,
)
@click.option(
    "--wait",
    metavar="DURATION",
    help="Wait up to this long (10m, 1h30m) for earlier waves, then apply the next ones.",
)
@options.output("text", "json", "markdown")
@options.copies
@options.allow_protected
@options.full
async def apply(settings: GlobalOptions, **given: Any) -> Exit:
    """Make a plan, show it, ask for confirmation, and apply it. Without a terminal, --yes is required.

    With a PLANFILE from kvsync plan --out, kvsync plans again and applies only the changes that both plans contain, without
    asking. With --exact, it applies nothing if a new plan contains other changes, in any target; changes that have been made in
    the meantime do not count, and neither do renewals. --exact also refuses a file that was changed after it was saved, if the
    state directory has the key that it was saved with.

    Every write contains the version that the plan saw. An entry that fails does not stop the others. With --wait, kvsync waits
    for the bake time and the probes of earlier waves. Without it, or if that takes longer, kvsync leaves the later waves
    unchanged and exits with 4.
    """
    from kvsync.app.undo import finish_open
    from kvsync.app.wave_wait import WaveWait, parse_wait
    from kvsync.cli.apply_plan import ApplyRequest, carry_out
    from kvsync.cli.confirm import require_terminal
    from kvsync.cli.rendered import OutputOptions

    chosen = _ApplyOptions(**given)
    _check(chosen)
    wait = WaveWait(0 if chosen.wait is None else parse_wait(chosen.wait))
    asks = not chosen.yes and chosen.planfile is None
    require_terminal("apply", yes=not asks)
    forms = OutputOptions(chosen.output, chosen.json_into, chosen.markdown_into)
    async with opening.workspace(settings, writing="apply", shard=chosen.shard) as workspace:
        loaded = opening.load(workspace)
        workspace.waves.waiting = wait
        if finished := await finish_open(workspace, loaded):
            print_message(f"kvsync: completed an interrupted undo ({finished} targets)")
        plan = await _plan(workspace, loaded, chosen)
        order = ApplyRequest(
            "apply",
            forms,
            settings.style(full=chosen.full),
            chosen.approvals,
            asks=asks,
            logs_changes=settings.logs_changes,
        )
        return await carry_out(workspace, loaded, plan, order)


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
    wait: str | None
    output: str
    json_into: str | None
    markdown_into: str | None
    allow_protected: bool
    full: bool


def _check(chosen: _ApplyOptions) -> None:
    """Raise UsageError for options that cannot be combined."""
    if chosen.planfile and (chosen.targets or chosen.keys):
        raise UsageError("--target and --key cannot be combined with a plan file; use them with kvsync plan --out")
    if chosen.planfile and chosen.retry:
        raise UsageError(
            "--retry cannot be combined with a plan file; leave the file out, or use kvsync resume TARGET --key GLOB"
        )
    if chosen.exact and not chosen.planfile:
        raise UsageError("--exact needs a plan file: kvsync apply FILE --exact")


async def _plan(workspace: Workspace, loaded: DesiredState, chosen: _ApplyOptions) -> SelectedPlan:
    from kvsync.app import saved_plan
    from kvsync.model.pass_options import PassOptions

    ask = PassOptions(
        deep=chosen.deep,
        allow_protected=chosen.allow_protected,
        keys=chosen.keys,
        retry=chosen.retry,
        deletes_namespaces=chosen.planfile is None,
    )
    if chosen.planfile is None:
        return saved_plan.SelectedPlan(await opening.plan(workspace, loaded, chosen.targets, ask))
    saved = saved_plan.read(chosen.planfile, workspace)
    if (warning := saved_plan.check(saved, workspace, chosen.planfile, exact=chosen.exact)) is not None:
        print_message(f"kvsync: {warning}")
    targets = () if chosen.exact else saved_plan.targets_of(saved, loaded)
    fresh = await opening.plan(workspace, loaded, targets, ask)
    picked = saved_plan.choose(saved, fresh, workspace)
    return saved_plan.exactly(picked, fresh, chosen.planfile) if chosen.exact else picked
