"""`dump`, `import`, `adopt` and `transfer` with a fault on their way: what they write is complete or reported, what is not ours
stays, and the next run finishes the work."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from itertools import cycle
from pathlib import Path
from typing import Any, Final

import pytest

from kvsync.app import Report, TargetSelection, Workspace
from kvsync.app.dump import dump
from kvsync.app.survey import survey
from kvsync.cli.exit_codes import Exit, of_reports
from kvsync.errors import KvsyncError
from kvsync.model.entry import Target
from kvsync.model.pass_options import PassOptions
from kvsync.model.policy import Adopt
from tests.faults.catalogue import FAULTS
from tests.faults.stores import FOREIGN, KINDS
from tests.faults.test_matrix import ALWAYS, CANARY, PAUSES, MatrixRepository, repo

WEB: Final = Target("remote", "web")

WRITE_FAULTS: Final = cycle(("cut after", "duplicated", "portal after", "503 as a page", "cut before"))
READ_FAULTS: Final = cycle(("cut within body", "portal instead", "503 as a page", "an empty object", "404 as JSON"))


def cells(kinds: Collection[str], faults: Iterator[str]) -> list[tuple[str, str, str]]:
    """Each of these kinds of call to each store, with one fault after the other."""
    calls = [(store, kind) for store, one in KINDS.items() for kind in one.kinds if kind in kinds]
    return [(*call, fault) for call, fault in zip(calls, faults, strict=False)]


WRITES: Final = cells(("write", "mark", "ledger"), WRITE_FAULTS)
READS: Final = [
    one
    for one in cells(("list", "page2", "read"), READ_FAULTS)
    if one[0] != "apify"  # a dump takes a request for each of its 1,010 values
]
_PARTIAL: Final = ("voximplant", "page2", "cut within body")
"""A store that shows a part of a listing when the rest fails."""


@contextmanager
def moving_in(root: Path, store: str) -> Iterator[MatrixRepository]:
    """A repository whose files define what others wrote: two entries as they are."""
    with repo(root, KINDS[store]) as here:
        here.secret = CANARY
        lines = "".join(f"  {key}: of others {key}\n" for key in FOREIGN)
        (here.root / "state/web.yaml").write_text(f"store: remote\nnamespace: web\nkeys:\n{lines}")
        yield here


async def dumped(here: MatrixRepository) -> dict[str, bytes] | str:
    """The files of a dump, or why there is none or it is not whole."""
    async with here.open(None) as workspace:
        try:
            (found,) = await dump(workspace, "remote", ["web"])
        except KvsyncError as error:
            return str(error)
    return "; ".join(one.reason for one in found.left_out) or dict(found.files)


@pytest.mark.system
@pytest.mark.parametrize(("store", "kind", "fault"), [_PARTIAL, *(one for one in READS if one != _PARTIAL)])
async def test_a_dump_is_whole_or_says_what_is_missing(tmp_path: Path, store: str, kind: str, fault: str) -> None:
    """With a fault that lasts, and with one that is over: a part of the entries never passes for all of them."""
    with moving_in(tmp_path, store) as here:
        whole = await dumped(here)
        assert isinstance(whole, dict)
        for times in (ALWAYS, 1):
            here.proxy.arm(kind, FAULTS[fault], times)
            found = await dumped(here)
            here.proxy.heal()
            assert found == whole or (isinstance(found, str) and CANARY not in found), (times, found)
        here.check_foreign()
        assert await dumped(here) == whole


@pytest.mark.system
@pytest.mark.parametrize(("store", "kind", "fault"), [("apify", "page2", "portal instead")])
async def test_a_part_of_a_listing_is_not_the_whole(tmp_path: Path, store: str, kind: str, fault: str) -> None:
    """`import` and `compare` need every entry: what was not listed would be left out, or count as missing."""
    with moving_in(tmp_path, store) as here:
        here.proxy.arm(kind, FAULTS[fault], ALWAYS)
        async with here.open(None) as workspace:
            before = (await survey(workspace, "remote")).namespaces
            assert "web" in before
            with pytest.raises(KvsyncError, match="listing is incomplete"):
                await dump(workspace, "remote", list(before))
            looking = workspace.target_pass(WEB, await workspace.find_place(WEB), workspace.load(), PassOptions())
            with pytest.raises(KvsyncError, match="listing is incomplete"):
                await looking.held()


async def taken_over(here: MatrixRepository, options: PassOptions) -> Report:
    """What `adopt` and `transfer` do: plan and apply with these options, as a process of its own."""
    workspace: Workspace
    async with here.open("adopt") as workspace:
        return await workspace.apply(await workspace.plan(TargetSelection((WEB,), options)), command="adopt")


def is_done(report: Report) -> bool:
    return of_reports(report.targets, problems=False, held=()) is Exit.DONE


async def finished(here: MatrixRepository, options: PassOptions, report: Report) -> Report:
    """The report of the run that finished the work."""
    for pause in PAUSES:
        if is_done(report):
            break
        here.pass_time(pause)
        report = await taken_over(here, options)
    return report


@pytest.mark.system
@pytest.mark.parametrize(("store", "kind", "fault"), WRITES)
async def test_adopting_with_a_fault(tmp_path: Path, store: str, kind: str, fault: str) -> None:
    """Values stay as they are; success means that everything that matches is ours; the next run takes the rest."""
    options = PassOptions(deep=True, adopt=Adopt.IF_EQUAL)
    with moving_in(tmp_path, store) as here:
        before = here.backend.values()
        here.proxy.arm(kind, FAULTS[fault], 1)
        report = await taken_over(here, options)
        here.proxy.heal()
        assert here.backend.values() == before
        last = await finished(here, options, report)
        assert is_done(last)
        assert here.backend.values() == before
        assert not await is_left(here, options)
        here.check_secrets(last)


@pytest.mark.system
@pytest.mark.parametrize(("store", "kind", "fault"), WRITES)
async def test_transferring_with_a_fault(tmp_path: Path, store: str, kind: str, fault: str) -> None:
    """The entries of another owner become ours as they are, and those that no file defines stay theirs."""
    with repo(tmp_path, KINDS[store]) as here:
        here.advance()
        assert is_done(await here.apply())
        before, config = here.backend.values(), here.root / "kvsync.yaml"
        config.write_text(config.read_text().replace("owner: team-a", "owner: team-b"))
        options = PassOptions(deep=True, from_owner="team-a")
        here.pass_time(PAUSES[0])
        here.proxy.arm(kind, FAULTS[fault], 1)
        report = await taken_over(here, options)
        here.proxy.heal()
        here.check_foreign()
        last = await finished(here, options, report)
        here.check_secrets(last)
        assert here.backend.values() == before
        assert not await is_left(here, options)


async def is_left(here: MatrixRepository, options: PassOptions) -> Any:
    """What the same command would still do."""
    async with here.open(None) as workspace:
        (plan,) = (await workspace.plan(TargetSelection((WEB,), options))).targets
    return plan.error or plan.changes or plan.refused
