from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from kvsync.errors import TransientError
from kvsync.model.capabilities import Marks
from kvsync.model.change import Action, Change
from kvsync.model.entry import Identity, Mark, Mode
from kvsync.stores.base import WriteStatus
from tests.apply.harness import ApplyHarness, entry, kinds, writes_of


async def moving(harness: ApplyHarness, **fields: object) -> list[Change]:
    """A plan that renames `old` to `new`."""
    changes = await harness.plan()
    to = Identity("new")
    return [replace(one, moved_to=to) if one.action is Action.DELETE else one for one in changes]


async def test_the_old_name_goes_after_the_new_one_was_read_back(harness: ApplyHarness) -> None:
    """Create, read, delete: in this order, so that readers never see a gap."""
    await harness.settle(entry("old"))
    harness.want(entry("new"))
    changes = await moving(harness)
    harness.server.calls.clear()
    assert kinds(await harness.apply(changes)) == {"new": "applied", "old": "applied"}
    calls = [(call.method, call.keys) for call in harness.server.calls]
    assert calls == [("change", ("new",)), ("lookup", ("new",)), ("change", ("old",))]


async def test_the_old_name_stays_when_the_new_one_could_not_be_written(harness: ApplyHarness) -> None:
    """A rejected destination leaves the source in place, as `skipped` with the reason."""
    await harness.settle(entry("old"))
    harness.want(entry("new"))
    changes = await moving(harness)
    harness.server.fail_entry("new", WriteStatus.REJECTED)
    report = await harness.apply(changes)
    assert kinds(report) == {"new": "failed", "old": "skipped"}
    assert harness.held("old") == b"v"
    assert "its new name new could not be written" in str(report.outcomes[1].error)


async def test_the_old_name_stays_when_the_new_one_is_not_what_was_written(harness: ApplyHarness) -> None:
    """Someone changed the destination at once: the source is kept."""
    await harness.settle(entry("old"))
    harness.want(entry("new"))
    changes = await moving(harness)
    write = harness.store.write

    async def overtaken(namespace: str, writes: object) -> object:
        results = await write(namespace, writes)  # type: ignore[arg-type]  # a sequence of writes
        harness.server.write("web", "new", b"theirs")
        return results

    harness.store.write = overtaken  # type: ignore[method-assign, assignment]
    report = await harness.apply(changes)
    assert kinds(report) == {"new": "applied", "old": "skipped"}
    assert harness.held("old") == b"v"


async def test_a_destination_that_was_in_place_before_is_judged_again(harness: ApplyHarness) -> None:
    """The second half of a move is done by a later run when the new name is as desired, and only then."""
    await harness.settle(entry("new"), entry("old"))
    harness.want(entry("new"))
    changes = await moving(harness)
    assert [change.action for change in changes] == [Action.DELETE]
    harness.server.write("web", "new", b"theirs")
    assert kinds(await harness.apply(changes)) == {"old": "skipped"}
    assert harness.held("old") == b"v"
    harness.adopt = harness.adopt.ALWAYS
    await harness.apply([one for one in await harness.plan() if one.identity.key == "new"])
    assert kinds(await harness.apply(await moving(harness))) == {"old": "applied"}
    assert harness.held("old") is None


async def test_a_store_that_cannot_be_read_keeps_the_old_name(harness: ApplyHarness) -> None:
    """When the destination cannot be read back the source is `skipped`, and other deletes go on."""
    await harness.settle(entry("old"), entry("other"))
    harness.want(entry("new"))
    to = Identity("new")
    changes = [replace(one, moved_to=to) if one.identity.key == "old" else one for one in await harness.plan()]
    harness.server.fail(TransientError("503"), times=4, on=["lookup"])
    assert kinds(await harness.apply(changes)) == {"new": "applied", "old": "skipped", "other": "applied"}
    assert writes_of(harness.server)[-1] == ("other",)


OWNERS = {"another owner": "belongs to owner 'team-b'", "nobody": "has no owner"}


def retag(harness: ApplyHarness, key: str, owner: str) -> None:
    """Leave the content of an entry as it is, and give it to another owner or to nobody."""
    held = harness.server.contents("web")[Identity(key)]
    mark = Mark("team-b", entry(key).fingerprint) if owner == "another owner" else None
    harness.server.write("web", key, held, mark=mark)


@pytest.mark.parametrize("owner", OWNERS)
async def test_the_old_name_stays_when_the_new_one_changed_hands(harness: ApplyHarness, owner: str) -> None:
    """The new name was written, and read back with equal content, but with the mark of another owner or with none: the old
    name is `skipped`."""
    await harness.settle(entry("old"))
    harness.want(entry("new"))
    changes = await moving(harness)
    write = harness.store.write

    async def overtaken(namespace: str, writes: object) -> object:
        results = await write(namespace, writes)  # type: ignore[arg-type]  # a sequence of writes
        retag(harness, "new", owner)
        return results

    harness.store.write = overtaken  # type: ignore[method-assign, assignment]
    report = await harness.apply(changes)
    assert kinds(report) == {"new": "applied", "old": "skipped"}
    assert report.outcomes[1].error == f"kept, because its new name new {OWNERS[owner]}"
    assert harness.held("old") == b"v"


@pytest.mark.parametrize("owner", OWNERS)
@pytest.mark.parametrize("mode", [Mode.CREATE_ONLY, Mode.OBSERVE])
async def test_the_old_name_stays_when_the_new_one_in_place_is_not_ours(
    harness: ApplyHarness, owner: str, mode: Mode
) -> None:
    """The new name was ours when the plan was made and is not when it is applied. Its mode makes it as desired all the same;
    the old name is `skipped`."""
    await harness.settle(entry("new"), entry("old"))
    harness.want(entry("new", mode=mode))
    changes = await moving(harness)
    retag(harness, "new", owner)
    report = await harness.apply(changes)
    assert kinds(report) == {"old": "skipped"}
    assert report.outcomes[0].error == f"kept, because its new name new {OWNERS[owner]}"
    assert harness.held("old") == b"v"


async def test_a_new_name_that_has_ended_does_not_keep_the_old_one(harness: ApplyHarness) -> None:
    """An entry whose declared end has come is as desired when it is gone; the old name goes too."""
    await harness.settle(entry("old"))
    harness.want(entry("new", expires_at=harness.clock.now() - 1))
    assert kinds(await harness.apply(await moving(harness))) == {"old": "applied"}
    assert harness.held("old") is None


async def test_where_the_ledger_holds_the_marks_equal_content_is_enough(make: Callable[..., ApplyHarness]) -> None:
    """A store without marks cannot show an owner; the move is done when the content is what was written."""
    harness = make(marks=Marks.LEDGER)
    await harness.settle(entry("old"))
    harness.want(entry("new"))
    assert kinds(await harness.apply(await moving(harness))) == {"new": "applied", "old": "applied"}
