"""What a create costs in calls of Python functions, which unlike time a busy machine does not change."""

from __future__ import annotations

from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

from kvsync.app import Workspace, open_workspace
from kvsync.cli.output import print_document
from kvsync.rendering.json import report_document
from kvsync.util.json_pieces import StreamedList
from tests.apply.test_statements import CONFIG
from tests.support.calls import CallCounter, counted_calls

FEW, MANY = 150, 450
"""Creates of two runs. What the second takes more, it takes for its additional creates."""

MOST = {"plan": 29, "apply": 33, "show": 11.5}
"""Calls of Python functions for each create, in each step, but for those of the store's thread."""


async def calls_of(folder: Path, creates: int) -> dict[str, CallCounter]:
    """The calls of each step of an apply of so many creates."""
    (folder / "state").mkdir(parents=True)
    (folder / "kvsync.yaml").write_text(CONFIG)
    keys = "".join(f"  key-{number:04}: x\n" for number in range(creates))
    (folder / "state/web.yaml").write_text(f"store: main\nnamespace: web\nkeys:\n{keys}")
    async with open_workspace(folder / "kvsync.yaml", writing="test", environ={}) as workspace:
        return await _steps(workspace)


async def _steps(workspace: Workspace) -> dict[str, CallCounter]:
    loaded = workspace.load()
    with counted_calls() as planning:
        plan = await workspace.plan(loaded=loaded)
    with counted_calls() as applying:
        report = await workspace.apply(plan, command="test")
    assert set(report.counts()) >= {"applied"}
    with counted_calls() as showing, redirect_stdout(StringIO()):
        print_document(report_document(plan, report.targets, workspace.state.seal, StreamedList))
    return {"plan": planning, "apply": applying, "show": showing}


async def test_a_create_takes_few_calls(tmp_path: Path) -> None:
    """Each create costs at most so many calls of Python functions: what is the same for all of a batch is asked once."""
    await calls_of(tmp_path / "first", 1)  # imports what all need
    few, many = await calls_of(tmp_path / "few", FEW), await calls_of(tmp_path / "many", MANY)
    found = {step: round((many[step].count - few[step].count) / (MANY - FEW), 1) for step in few}
    assert {step: calls for step, calls in found.items() if calls > MOST[step]} == {}
