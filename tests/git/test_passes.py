"""A pass goes by one commit, from its plan to its journal."""

from __future__ import annotations

import os
from pathlib import Path

from kvsync.app import open_workspace
from kvsync.util.redaction import Redactor
from tests.git.repos import Origin
from tests.git.test_commands import CONFIG, web


async def test_a_pass_keeps_the_commit_it_began_with(tmp_path: Path) -> None:
    """Commits that come while a plan is being applied wait for the next one: what is written, and the journal, are of the
    first."""
    origin = Origin(tmp_path / "origin")
    first = origin.commit(web(a="1", b="1"))
    (tmp_path / "kvsync.yaml").write_text(CONFIG.format(url=origin.url, more=""))
    environ = {"PATH": os.environ["PATH"]}
    async with open_workspace(
        tmp_path / "kvsync.yaml", writing="apply", redactor=Redactor(), environ=environ
    ) as workspace:
        await workspace.fetch()
        plan = await workspace.plan()
        second = origin.commit(web(a="2", b="2"))
        fetched = await workspace.fetch()
        assert fetched is not None
        assert fetched.commit == second
        report = await workspace.apply(plan, command="apply")
        assert report.counts()["applied"] == 2
        assert [run.source for run in workspace.state.journal.runs(5)] == [first]
        later = await workspace.plan()
        assert later.source == second
        values = {change.after.content.value for change in later.targets[0].changes if change.after}
        assert values == {b"2"}
        assert {change.before.fingerprint for change in later.targets[0].changes if change.before} == {
            change.after.fingerprint for change in plan.targets[0].changes if change.after
        }
