"""Changes that a command makes once: `adopt`, `transfer` and `release` show their plan first, then apply it."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any, Self

from kvsync.cli import open as opening
from kvsync.cli.command import GlobalOptions
from kvsync.cli.exit_codes import Exit
from kvsync.util.values import dataclass

if TYPE_CHECKING:
    from kvsync.app import DesiredState, Workspace
    from kvsync.model.plan import Plan


@dataclass(frozen=True, slots=True)
class OneTimeChange:
    """A change of stores by one `command`, and how to answer. With `dry_run` only the plan is shown; without `yes` a person is
    asked first."""

    settings: GlobalOptions
    command: str
    yes: bool
    dry_run: bool
    output: str
    full: bool

    @classmethod
    def taken_from(cls, chosen: dict[str, Any], settings: GlobalOptions, command: str) -> Self:
        """Take the options that all of these commands have out of those that were chosen."""
        return cls(settings, command, *(chosen.pop(name) for name in ("yes", "dry_run", "output", "full")))

    def workspace(self) -> AbstractAsyncContextManager[Workspace]:
        """The workspace to make the change in. Raises NotApproved if nobody can be asked."""
        from kvsync.cli.confirm import require_terminal

        if not self.dry_run:
            require_terminal(self.command, yes=self.yes)
        return opening.workspace(self.settings, writing=None if self.dry_run else self.command)

    async def carry_out(self, workspace: Workspace, loaded: DesiredState, plan: Plan) -> Exit:
        """Show the plan, ask, and apply it. Raises NotApproved if a person says no, StateDirError."""
        from kvsync.app.saved_plan import SelectedPlan
        from kvsync.cli.apply_plan import ApplyRequest, carry_out
        from kvsync.cli.rendered import OutputOptions, show_plan

        forms, style = OutputOptions(self.output), self.settings.style(full=self.full)
        if self.dry_run:
            show_plan(plan, loaded.problems, workspace.state.seal, forms, style)
            return Exit.DONE
        order = ApplyRequest(self.command, forms, style, asks=not self.yes, logs_changes=self.settings.logs_changes)
        return await carry_out(workspace, loaded, SelectedPlan(plan), order)
