"""Listings of App Configuration that do not show everything: those filtered by tags, and those of replicas that lag behind."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from kvsync.errors import TransientError
from tests.stores.azure_repo import Repo
from tests.stores.azure_service import SECRET, Service, azure_store
from tests.stores.emulated import FastForwardClock, changes, outcomes
from tests.stores.signing import signer

TAGGED = "    tags: {team: web, 'odd=*,\\name': 'a=b,c*'}\n"
TAGS = {"team": "web", "odd=*,\\name": "a=b,c*"}


@pytest.fixture(scope="module")
def another() -> Iterator[Service]:
    """Another emulator."""
    with Service.serve() as server:
        yield server


@pytest.fixture
def replica(another: Service) -> Service:
    """An empty replica of the store."""
    another.reset()
    return another


def replicate(service: Service, replica: Service) -> None:
    """Bring the replica to the present state of the store."""
    for setting in service.sdk.list_configuration_settings():
        replica.sdk.set_configuration_setting(setting)


# Tags


@pytest.fixture
def tagged(service: Service, tmp_path: Path) -> Repo:
    return Repo(tmp_path, service, extra=TAGGED)


async def test_only_tagged_entries_are_listed(tagged: Repo, service: Service) -> None:
    """Every entry is written with the tags of the store, and entries without them are not even counted."""
    service.set("web:theirs", "1")
    service.set("web:theirs too", "1", tags=TAGS)
    await tagged.settle({"a": "1", "b": "{value: x, tags: {own: tag}}"})
    assert TAGS.items() <= service.must_get("web:a").tags.items()
    plan = await tagged.plan()
    assert (plan.unchanged, plan.foreign, changes(plan)) == (2, 1, [])


async def test_an_entry_that_lost_its_tags_is_found(tagged: Repo, service: Service) -> None:
    """An entry of ours that the listing no longer shows is drift, and healed in one pass, also when many are missing."""
    keys = {f"k{number}": str(number) for number in range(120)}
    await tagged.settle(keys)
    for number in (0, 7):
        setting = service.must_get(f"web:k{number}")
        setting.tags = {name: text for name, text in setting.tags.items() if name not in TAGS}
        service.sdk.set_configuration_setting(setting)
    tagged.want({**keys, "new": "1"})
    assert changes(await tagged.plan()) == [
        ("update", "drifted", "k0"),
        ("update", "drifted", "k7"),
        ("create", "new", "new"),
    ]
    await tagged.apply()
    assert changes(await tagged.plan()) == []
    assert TAGS.items() <= service.must_get("web:k7").tags.items()


async def test_an_entry_of_others_without_the_tags_is_not_claimed(tagged: Repo, service: Service) -> None:
    """What exists under a desired name and is not listed is refused as what it is, before anything is written."""
    service.set("web:a", "theirs")
    tagged.want({"a": "1"})
    assert [one.cause.value for one in (await tagged.plan()).refused] == ["unowned"]
    assert outcomes(await tagged.apply()) == {"a": "refused"}
    assert service.must_get("web:a").value == "theirs"


async def test_what_the_listing_does_not_show_is_looked_at_again(tagged: Repo, service: Service) -> None:
    """A pass that found an entry without the tags does not count as clean: the listing would not show its end."""
    service.set("web:seed", "theirs")
    await tagged.settle({"seed": "{value: x, mode: create-only}"})
    service.sdk.delete_configuration_setting("web:seed")
    assert changes(await tagged.plan()) == [("create", "new", "seed")]


async def test_tags_of_an_entry_may_not_contradict(tagged: Repo) -> None:
    """An entry that the listing would not show is refused offline."""
    tagged.want({"a": "{value: x, tags: {team: other}}"})
    (problem,) = (await tagged.plan()).problems
    assert 'web.yaml:4:3: settings/web: a: the tag "team" must be "web"' in str(problem)


# Replicas


@pytest.fixture
def replicated(service: Service, replica: Service, tmp_path: Path) -> Repo:
    return Repo(tmp_path, service, extra=f"    endpoints: ['{service.url}', '{replica.url}']\n")


async def test_a_replica_is_shown_and_nothing_is_written(replicated: Repo, service: Service, replica: Service) -> None:
    """While the primary does not respond, a plan is made from a replica and held back; afterwards it is applied to the
    primary."""
    await replicated.settle({"a": "1", "old": "1"})
    replicate(service, replica)
    before, held = service.values(), replica.values()
    replicated.want({"a": "2"})
    service.faults("503:1", methods=["GET"])
    plan = await replicated.attempt()
    (target,) = plan.targets
    assert changes(plan) == [("update", "changed", "a"), ("delete", "removed", "old")]
    assert f"the replica {replica.url} was read" in target.parked[0]
    service.faults("")
    assert service.values() == before
    await replicated.apply()
    assert service.values() == {("web:a", None): "2"}
    assert replica.values() == held


async def test_a_stale_replica_deletes_and_claims_nothing(replicated: Repo, service: Service, replica: Service) -> None:
    """Even a plan that a person approves is carried out on the primary's entries only as the replica showed them."""
    await replicated.settle({"old": "1", "mine": "1"})
    replicate(service, replica)
    for key in ("old", "mine", "new"):  # of which the replica has not heard yet
        service.set(f"web:{key}", "theirs")
    replicated.want({"mine": "2", "new": "1"})
    service.faults("503:1", methods=["GET"])
    report = await replicated.apply(lambda: service.faults(""))
    assert "applied" not in outcomes(report).values()
    assert set(service.values().values()) == {"theirs"}


async def test_a_primary_that_fails_once_is_asked_again(replicated: Repo, service: Service, replica: Service) -> None:
    """A single failure is retried as without replicas, and no replica is asked."""
    await replicated.settle({"a": "1"})
    replica.clear_requests()
    service.faults("503:1", methods=["GET"], times=1)
    assert (await replicated.plan()).complete
    assert replica.requests() == []


async def test_no_endpoint_responds(replicated: Repo, service: Service, replica: Service) -> None:
    """When replicas fail too, the error is that of the primary."""
    replicated.want({"a": "1"})
    service.faults("503:1")
    replica.faults("500:1")
    plan = await replicated.plan()
    assert "503" in (plan.error or "")


async def test_a_replica_that_refuses_is_passed_over(service: Service, replica: Service) -> None:
    """A replica that may not be read ends no pass: neither while the primary does not respond, nor after it does again."""
    options = {"connection_string": SECRET, "endpoints": (replica.url,)}
    store = azure_store(service.env, FastForwardClock(), options=options)
    try:
        service.faults("503:1")
        replica.faults("403:1")
        with pytest.raises(TransientError, match="503"):
            await store.observe("web", signer(store))
        service.faults("")
        snapshot = await store.observe("web", signer(store))
    finally:
        await store.aclose()
    assert snapshot is not None
    assert snapshot.complete


async def test_doctor_examines_replicas(service: Service, replica: Service) -> None:
    """`doctor` says of each replica whether it can be read."""
    options = {"connection_string": SECRET, "endpoints": (replica.url,)}
    for fault in ("", "503:1"):
        replica.faults(fault)
        store = azure_store(service.env, FastForwardClock(), options=options)
        (found,) = [one for one in await store.check() if one.check == f"replica {replica.url}"]
        await store.aclose()
        assert found.ok is not bool(fault)
