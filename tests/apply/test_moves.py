from __future__ import annotations

from dataclasses import replace

from kvsync.core.model import Action, Change, Identity
from kvsync.errors import TransientError
from kvsync.stores.base import WriteStatus
from tests.apply.bench import Bench, entry, kinds, writes_of


async def moving(bench: Bench, **fields: object) -> list[Change]:
    """A plan that renames `old` to `new`."""
    changes = await bench.plan()
    to = Identity("new")
    return [replace(one, moved_to=to) if one.action is Action.DELETE else one for one in changes]


async def test_the_old_name_goes_after_the_new_one_was_read_back(bench: Bench) -> None:
    """Create, read, delete: in this order, so that readers never see a gap."""
    await bench.settle(entry("old"))
    bench.want(entry("new"))
    changes = await moving(bench)
    bench.server.calls.clear()
    assert kinds(await bench.apply(changes)) == {"new": "applied", "old": "applied"}
    calls = [(call.method, call.keys) for call in bench.server.calls]
    assert calls == [("change", ("new",)), ("lookup", ("new",)), ("change", ("old",))]


async def test_the_old_name_stays_when_the_new_one_could_not_be_written(bench: Bench) -> None:
    """A rejected destination leaves the source in place, as `skipped` with the reason."""
    await bench.settle(entry("old"))
    bench.want(entry("new"))
    changes = await moving(bench)
    bench.server.fail_entry("new", WriteStatus.REJECTED)
    report = await bench.apply(changes)
    assert kinds(report) == {"new": "failed", "old": "skipped"}
    assert bench.held("old") == b"v"
    assert "its new name new could not be written" in str(report.outcomes[1].error)


async def test_the_old_name_stays_when_the_new_one_is_not_what_was_written(bench: Bench) -> None:
    """Somebody changed the destination at once: the source is kept."""
    await bench.settle(entry("old"))
    bench.want(entry("new"))
    changes = await moving(bench)
    write = bench.store.write

    async def overtaken(namespace: str, writes: object) -> object:
        results = await write(namespace, writes)  # type: ignore[arg-type]  # a sequence of writes
        bench.server.write("web", "new", b"theirs")
        return results

    bench.store.write = overtaken  # type: ignore[method-assign, assignment]
    report = await bench.apply(changes)
    assert kinds(report) == {"new": "applied", "old": "skipped"}
    assert bench.held("old") == b"v"


async def test_a_destination_that_was_in_place_before_is_judged_again(bench: Bench) -> None:
    """The second half of a move is done by a later run when the new name is as desired, and only then."""
    await bench.settle(entry("new"), entry("old"))
    bench.want(entry("new"))
    changes = await moving(bench)
    assert [change.action for change in changes] == [Action.DELETE]
    bench.server.write("web", "new", b"theirs")
    assert kinds(await bench.apply(changes)) == {"old": "skipped"}
    assert bench.held("old") == b"v"
    bench.adopt = bench.adopt.ALWAYS
    await bench.apply([one for one in await bench.plan() if one.identity.key == "new"])
    assert kinds(await bench.apply(await moving(bench))) == {"old": "applied"}
    assert bench.held("old") is None


async def test_a_store_that_cannot_be_read_keeps_the_old_name(bench: Bench) -> None:
    """When the destination cannot be read back the source is `skipped`, and other deletes go on."""
    await bench.settle(entry("old"), entry("other"))
    bench.want(entry("new"))
    to = Identity("new")
    changes = [replace(one, moved_to=to) if one.identity.key == "old" else one for one in await bench.plan()]
    bench.server.fail(TransientError("503"), times=4, on=["lookup"])
    assert kinds(await bench.apply(changes)) == {"new": "applied", "old": "skipped", "other": "applied"}
    assert writes_of(bench.server)[-1] == ("other",)
