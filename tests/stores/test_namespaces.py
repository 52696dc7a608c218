"""Resolving names of namespaces to the ids of a remote."""

from __future__ import annotations

import asyncio

import pytest

from kvsync.errors import PermanentError, TransientError
from kvsync.http.model import Request, Response
from kvsync.stores.namespaces import DELETED_WITHIN, FRESH_SECONDS, NamespaceGone, NamespaceResolver, Resolved
from kvsync.testing import FakeClock


class Remote:
    """Namespaces by name. Counts look-ups; a call to an id that does not exist is answered as the API of a store would."""

    def __init__(self) -> None:
        self.ids: dict[str, str] = {}
        self.looked_up = 0
        self.is_down = False
        self.calls: list[Request] = []

    async def send(self, call: Request) -> Response:
        self.calls.append(call)
        if call.target not in self.ids.values():
            raise NamespaceGone("no such namespace")
        return Response(200, {})


class Resolver(NamespaceResolver[str]):
    def __init__(self, remote: Remote, clock: FakeClock) -> None:
        super().__init__(remote, clock)  # type: ignore[arg-type]
        self.remote = remote

    async def names(self) -> list[str]:
        return sorted(self.remote.ids)

    async def _look_up(self, name: str, known: str | None, *, refresh: bool) -> Resolved[str]:
        moment = self._clock.monotonic()
        self.remote.looked_up += 1
        await asyncio.sleep(0)
        if self.remote.is_down:
            raise TransientError("down")
        if name not in self.remote.ids and name.startswith("fixed"):
            raise PermanentError(f"missing{await self._nearest(name)}")
        return Resolved(self.remote.ids.get(name), moment)

    async def _make(self, name: str) -> str:
        self.remote.ids[name] = f"new-{name}"
        return self.remote.ids[name]

    def _deletion(self, name: str, found: str) -> Request:
        return Request("DELETE", found, f"deleting {name}")

    def _renaming(self, name: str, found: str, new: str) -> Request:
        return Request("PUT", found, f"renaming {name} to {new}")


@pytest.fixture
def remote() -> Remote:
    return Remote()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def resolver(remote: Remote, clock: FakeClock) -> Resolver:
    return Resolver(remote, clock)


async def test_a_name_is_looked_up_again_after_a_minute_and_before_writes(
    resolver: Resolver, remote: Remote, clock: FakeClock
) -> None:
    remote.ids["web"] = "1"
    assert [await resolver.locate("web"), await resolver.locate("web"), remote.looked_up] == ["1", "1", 1]
    remote.ids["web"] = "2"
    clock.advance(FRESH_SECONDS - 1)
    assert await resolver.locate("web") == "1"
    clock.advance(1)
    assert await resolver.locate("web") == "2"
    remote.ids["web"] = "3"
    assert [await resolver.find("web"), remote.looked_up] == ["2", 2]
    assert await resolver.locate("web", writing=True) == "3"


async def test_many_callers_share_one_look_up(resolver: Resolver, remote: Remote) -> None:
    remote.ids["web"] = "1"
    assert await asyncio.gather(*(resolver.locate("web") for _ in range(5))) == ["1"] * 5
    assert remote.looked_up == 1


async def test_a_missing_namespace_is_made_for_writing_only(resolver: Resolver, remote: Remote) -> None:
    assert [await resolver.locate("web"), await resolver.find("web"), remote.ids] == [None, None, {}]
    assert await resolver.find_or_make("web") == "new-web"
    assert await resolver.find("web") == "new-web"


async def test_nothing_is_done_under_a_name_whose_namespace_is_gone(resolver: Resolver, remote: Remote) -> None:
    """Calls that were planned for a deleted namespace do not go to another one with its name, and do not create one: not before
    the name is located again."""
    remote.ids["web"] = "1"
    await resolver.locate("web")
    remote.ids["web"] = "2"
    with pytest.raises(PermanentError, match='no such namespace; the namespace "web" was deleted in the meantime'):
        await resolver.ask("web", Request("GET", "1", "reading"))
    with pytest.raises(PermanentError, match="deleted in the meantime"):
        await resolver.find("web")
    with pytest.raises(PermanentError, match="deleted in the meantime"):
        await resolver.find_or_make("web")
    remote.is_down = True
    with pytest.raises(TransientError):
        await resolver.locate("web")
    with pytest.raises(PermanentError, match="deleted in the meantime"):
        await resolver.find("web")
    remote.is_down = False
    assert [await resolver.locate("web"), await resolver.find("web")] == ["2", "2"]


async def test_a_misspelt_name_is_corrected(resolver: Resolver, remote: Remote) -> None:
    remote.ids["fixed-web"] = "1"
    with pytest.raises(PermanentError, match=r'missing \(did you mean "fixed-web"\?\)'):
        await resolver.locate("fixed-wbe")


async def test_deletion_is_sent_within_seconds_or_not_at_all(
    resolver: Resolver, remote: Remote, clock: FakeClock
) -> None:
    remote.ids["app"] = "1"
    found = await resolver.locate("app")
    assert found is not None
    assert await resolver.delete("app", found) is None
    assert remote.calls[-1].not_after == clock.monotonic() + DELETED_WITHIN


async def test_deleted_name_is_looked_up_again(resolver: Resolver, remote: Remote) -> None:
    remote.ids["app"] = "1"
    await resolver.delete("app", await resolver.locate("app") or "")
    remote.ids["app"] = "2"
    assert await resolver.find("app") == "2"


async def test_namespace_that_is_still_listed_is_not_believed_to_be_gone(resolver: Resolver, remote: Remote) -> None:
    """The API answers that it does not exist, but the account still lists it."""
    remote.ids["app"] = "1"
    assert "still lists" in (await resolver.delete("app", "another id") or "")
    del remote.ids["app"]
    assert await resolver.delete("app", "another id") is None


async def test_renamed_name_is_looked_up_again(resolver: Resolver, remote: Remote) -> None:
    remote.ids["app"] = "1"
    await resolver.rename("app", await resolver.locate("app") or "", "web")
    assert (remote.calls[-1].method, remote.calls[-1].what) == ("PUT", "renaming app to web")
    remote.ids = {"web": "1", "app": "2"}
    assert (await resolver.find("app"), await resolver.find("web")) == ("2", "1")
