from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from kvsync.errors import TransientError
from kvsync.model.capabilities import Marks
from kvsync.model.entry import Action, Change, Identity, Mark, Mode
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


OWNERS = {"another owner": "belongs to owner 'team-b'", "nobody": "has no owner"}


def retag(bench: Bench, key: str, owner: str) -> None:
    """Leave the content of an entry as it is, and give it to another owner or to nobody."""
    held = bench.server.contents("web")[Identity(key)]
    mark = Mark("team-b", entry(key).fingerprint) if owner == "another owner" else None
    bench.server.write("web", key, held, mark=mark)


@pytest.mark.parametrize("owner", OWNERS)
async def test_the_old_name_stays_when_the_new_one_changed_hands(bench: Bench, owner: str) -> None:
    """The new name was written, and read back with equal content, but with the mark of another owner or with none: the old
    name is `skipped`."""
    await bench.settle(entry("old"))
    bench.want(entry("new"))
    changes = await moving(bench)
    write = bench.store.write

    async def overtaken(namespace: str, writes: object) -> object:
        results = await write(namespace, writes)  # type: ignore[arg-type]  # a sequence of writes
        retag(bench, "new", owner)
        return results

    bench.store.write = overtaken  # type: ignore[method-assign, assignment]
    report = await bench.apply(changes)
    assert kinds(report) == {"new": "applied", "old": "skipped"}
    assert report.outcomes[1].error == f"kept, because its new name new {OWNERS[owner]}"
    assert bench.held("old") == b"v"


@pytest.mark.parametrize("owner", OWNERS)
@pytest.mark.parametrize("mode", [Mode.CREATE_ONLY, Mode.OBSERVE])
async def test_the_old_name_stays_when_the_new_one_in_place_is_not_ours(bench: Bench, owner: str, mode: Mode) -> None:
    """The new name was ours when the plan was made and is not when it is applied. Its mode makes it as desired all the same;
    the old name is `skipped`."""
    await bench.settle(entry("new"), entry("old"))
    bench.want(entry("new", mode=mode))
    changes = await moving(bench)
    retag(bench, "new", owner)
    report = await bench.apply(changes)
    assert kinds(report) == {"old": "skipped"}
    assert report.outcomes[0].error == f"kept, because its new name new {OWNERS[owner]}"
    assert bench.held("old") == b"v"


async def test_a_new_name_that_has_ended_does_not_keep_the_old_one(bench: Bench) -> None:
    """An entry whose declared end has come is as desired when it is gone; the old name goes too."""
    await bench.settle(entry("old"))
    bench.want(entry("new", expires_at=bench.clock.now() - 1))
    assert kinds(await bench.apply(await moving(bench))) == {"old": "applied"}
    assert bench.held("old") is None


async def test_where_the_ledger_holds_the_marks_equal_content_is_enough(make: Callable[..., Bench]) -> None:
    """A store without marks cannot show an owner; the move is done when the content is what was written."""
    bench = make(marks=Marks.LEDGER)
    await bench.settle(entry("old"))
    bench.want(entry("new"))
    assert kinds(await bench.apply(await moving(bench))) == {"new": "applied", "old": "applied"}
