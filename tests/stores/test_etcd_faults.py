"""Three members of a real etcd, of which some are killed or paused while kvsync writes."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from kvsync.errors import TransientError
from kvsync.http.client import Client
from kvsync.http.model import Request, Response
from kvsync.model.entry import Identity
from tests.stores.emulated import changes, many
from tests.stores.etcd_service import EtcdRepo, EtcdService, etcd_store
from tests.support.etcd import Member, b64, is_healthy, running_members, wait_until

pytestmark = pytest.mark.system  # waits for elections and timeouts

COUNT = 700
"""Entries of an apply: six transactions."""


@pytest.fixture
def members(tmp_path: Path) -> Iterator[list[Member]]:
    with running_members(tmp_path, 3, "--unsafe-no-fsync") as found:
        yield found


@pytest.fixture
def repo(members: list[Member], tmp_path: Path) -> EtcdRepo:
    (tmp_path / "repo").mkdir()
    policy = "{prune: owned, adopt: never, guard: {max_delete_pct: 100, max_update_pct: 100}}"
    return EtcdRepo(tmp_path / "repo", EtcdService(*members), policy=policy)


def leader_of(members: list[Member]) -> Member:
    """The member that leads."""
    found = [(member, member.ask("maintenance/status")) for member in members]
    return next(member for member, status in found if status["leader"] == status["header"]["member_id"])


class KilledError(BaseException):
    """Ends kvsync, as far as it can tell."""


@pytest.mark.parametrize("fault", ["leader killed", "member killed", "leader paused", "kvsync killed"])
async def test_an_apply_survives(
    repo: EtcdRepo, members: list[Member], monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    """Whatever is killed or paused during an apply: kvsync brings all entries to the files without adopting any, leaves foreign
    ones as they are, and has then nothing to do."""
    members[0].put("web/foreign", "theirs")
    before = members[0].get("web/foreign")
    repo.want(many(COUNT))
    victim = members[0] if fault == "member killed" else leader_of(members)
    actions: dict[str, Callable[[], None]] = {
        "leader killed": lambda: victim.send(signal.SIGKILL),
        "member killed": lambda: victim.send(signal.SIGKILL),
        "leader paused": lambda: victim.send(signal.SIGSTOP),
    }
    send, count = Client.send, 0

    async def disturbed(self: Client, call: Request) -> Response:
        nonlocal count
        count += call.writes and call.target.endswith("/kv/txn")
        if count == 4 and call.writes:
            count += 1
            if fault == "kvsync killed":
                await send(self, call)
                raise KilledError
            actions[fault]()
        return await send(self, call)

    with monkeypatch.context() as patch:
        patch.setattr(Client, "send", disturbed)
        with suppress(KilledError):
            await repo.attempt()
    assert count > 4
    await repo.converge()
    victim.send(signal.SIGCONT) if fault == "leader paused" else None
    other = next(member for member in members if member is not victim)
    found = other.ask("kv/range", key=b64("web/key-"), range_end=b64("web/key."), count_only=True)
    assert int(found["count"]) == COUNT
    assert other.get("web/foreign") == before
    assert changes(await repo.plan_all()) == []
    repo.want("")
    await repo.converge(approved=True)
    assert other.get("web/key-00000") is None
    assert other.get("web/foreign") == before


async def test_without_a_majority_nothing_is_claimed(members: list[Member]) -> None:
    """With two of three members gone, reads and writes fail and say why, `doctor` names them and the lack of a leader; once one
    is back, they work again."""
    store = etcd_store(*(member.url for member in members), timeout=4)
    assert await store.read("web", [Identity("greeting")]) == {}
    for member in members[:2]:
        member.stop()
    with pytest.raises(TransientError, match=r"majority of the members|no connection|no response"):
        await store.read("web", [Identity("greeting")])
    assert {check.check for check in await store.check() if not check.ok} == {"endpoint", "quorum"}
    members[0].start(members)
    await asyncio.to_thread(wait_until, lambda: is_healthy(members[2].url))
    assert await store.read("web", [Identity("greeting")]) == {}
    await store.aclose()
