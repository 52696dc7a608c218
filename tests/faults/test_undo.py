"""Undo with a fault on its way: it claims nothing that is not so, and run again it takes the rest back."""

from __future__ import annotations

from itertools import cycle
from typing import Final

import pytest

from kvsync.app import Report
from kvsync.app.undo import UndoChoice, UndoOperation, chosen_runs
from kvsync.cli.exit_codes import Exit, of_reports
from tests.faults.catalogue import FAULTS
from tests.faults.stores import KINDS
from tests.faults.test_matrix import PAUSES, MatrixRepository, repo

SAMPLE: Final = cycle(("cut after", "404 as JSON", "portal instead", "duplicated", "503 as a page"))
WRITES: Final = [
    (store, kind)
    for store in KINDS
    for kind in KINDS[store].kinds
    if kind in ("write", "delete") and store != "vault-kv"  # its values are all sensitive: undo restores none of them
]
CELLS: Final = [(*call, fault) for call, fault in zip(WRITES, SAMPLE, strict=False)]


async def undo(here: MatrixRepository, run: str) -> Report:
    """Take a run back, as a process of its own."""
    async with here.open("undo") as workspace:
        chosen = chosen_runs(workspace.state, UndoChoice(run), here.clock.now())
        operation = UndoOperation(workspace, chosen, workspace.load())
        return await operation.apply(await operation.plan(), lambda: False, lambda _count: None)


def is_done(report: Report) -> bool:
    return of_reports(report.targets, problems=False, held=()) is Exit.DONE


@pytest.mark.system
@pytest.mark.parametrize(("store", "kind", "fault"), CELLS)
async def test_undo_with_a_fault(tmp_path_factory: pytest.TempPathFactory, store: str, kind: str, fault: str) -> None:
    """Success means that all is as before the run; foreign entries stay; the next undo finishes what a fault left."""
    with repo(tmp_path_factory.mktemp("repo"), KINDS[store]) as here:
        here.advance()
        assert is_done(await here.apply())
        before, secret = here.ours(), here.secret
        here.advance()
        here.secret = secret  # what is sensitive is not in the journal, so that undo cannot restore it
        assert is_done(await here.apply())
        async with here.open(None) as workspace:
            (last,) = workspace.state.journal.runs(1)
        here.pass_time(PAUSES[0])
        here.proxy.arm(kind, FAULTS[fault], 1)
        report = await undo(here, last.id)
        assert here.proxy.fired
        here.proxy.heal()
        here.check_foreign()
        here.check_secrets(report)
        assert not is_done(report) or here.ours() == before
        for pause in PAUSES:
            if is_done(report):
                break
            here.pass_time(pause)
            report = await undo(here, last.id)
        here.check_foreign()
        assert here.ours() == before
