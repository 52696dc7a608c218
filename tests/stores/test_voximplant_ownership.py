"""Passes where names lead elsewhere, and where copies, backups and listings tempt: what is not ours stays as it is."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from kvsync.model.plan import Plan
from kvsync.stores.voximplant import storage as storage_module
from kvsync.stores.voximplant.listing import Ask, Listed, everything
from tests.stores.emulated import changes, outcomes
from tests.stores.voximplant_repo import Repo
from tests.stores.voximplant_service import APPLICATIONS, SET, Service

DAY = 86_400
LEDGERS = ("local", "store")
NAMED = "application: first"


@pytest.fixture(params=LEDGERS)
def repo(request: pytest.FixtureRequest, tmp_path: Path, service: Service) -> Repo:
    """A repository for the application `first`, by its name, with the ledger here or there."""
    return Repo(tmp_path, service, ledger=request.param, application=NAMED)


async def planned(repo: Repo, machine: str = ".kvsync") -> Plan:
    async with repo.open(writing=None, machine=machine) as workspace:
        return await workspace.plan()


# -- names that lead elsewhere ----------------------------------------------------------------------------------------


async def test_a_name_is_looked_up_once_a_pass_and_once_to_write(repo: Repo, service: Service) -> None:
    """A pass with nothing to write makes one call for the name, one that writes two."""
    repo.want({"a": "1"})
    await repo.apply()
    assert service.requests()[APPLICATIONS] == 2
    service.clear_requests()
    await repo.apply()
    assert service.requests()[APPLICATIONS] == 1


async def test_an_application_swapped_between_plan_and_apply(repo: Repo, service: Service) -> None:
    """Nothing is written to either; the next pass fills the new one, and the old one stays as it is."""
    await repo.settle({"a": "1", "b": "1"})
    repo.want({"a": "2"})
    new = 0

    def swap() -> None:
        nonlocal new
        new = service.replace_application(1, "first")

    report = await repo.apply(swap)
    assert set(outcomes(report).values()) == {"not-attempted"}
    assert "changed its place after the plan was made" in (report.targets[0].error or "")
    assert (service.values(), service.values(application=new)) == ({"web:a": "1", "web:b": "1"}, {})
    plan = await repo.plan()
    assert changes(plan) == [("create", "new", "a")]
    assert plan.moved_from is not None
    assert "application 1" in plan.moved_from
    await repo.apply()
    assert (service.values(), service.values(application=new)) == ({"web:a": "1", "web:b": "1"}, {"web:a": "2"})


async def test_a_daemon_follows_a_swap(repo: Repo, service: Service) -> None:
    """A workspace that stays open writes to the application that the name leads to, however fresh its look-up is."""
    repo.want({"a": "1"})
    async with repo.open() as workspace:
        await workspace.apply(await workspace.plan(), command="test")
        new = service.replace_application(1, "first")
        repo.want({"a": "2", "b": "1"})
        for _ in range(2):
            await workspace.apply(await workspace.plan(), command="test")
    assert (service.values(), service.values(application=new)) == ({"web:a": "1"}, {"web:a": "2", "web:b": "1"})


async def test_knowledge_comes_back_with_the_name(repo: Repo, service: Service) -> None:
    """When the name leads back to the first application, all that was known of it is known again."""
    await repo.settle({"a": "1", "b": "1"})
    new = service.replace_application(1, "first")
    await repo.apply()
    service.delete_application(new)
    service.rename(1, "first")
    repo.want({"a": "1"})
    plan = await repo.plan()
    assert changes(plan) == [("delete", "removed", "b")]
    assert set(outcomes(await repo.apply()).values()) == {"applied"}


async def test_a_name_and_an_id_know_the_same(repo: Repo, service: Service) -> None:
    """Configured by its id instead of its name, or with another spelling of the endpoint, the application is the same place."""
    await repo.settle({"a": "1", "b": "1"})
    repo.want({"a": "1"})
    repo.use("application_id: 1")
    assert changes(await repo.plan()) == [("delete", "removed", "b")]
    service.url = f"{service.url.upper().replace('HTTP', 'http')}//"
    repo.use(NAMED)
    service.url = service.url.lower().removesuffix("//")
    assert changes(await repo.plan()) == [("delete", "removed", "b")]


async def test_another_account_behind_the_same_name(repo: Repo, service: Service) -> None:
    """On another service, equal and different entries of the same keys are nobody's, and nothing of them is touched."""
    await repo.settle({"a": "1", "b": "1", "c": "1"})
    repo.want({"a": "1", "b": "2"})
    with Service.serve() as other:
        for key in ("a", "b", "c"):
            other.put(f"web:{key}", "1", ttl=90 * DAY)
        before = other.items()
        repo.service = other
        repo.use(NAMED)
        plan = await repo.plan()
        assert changes(plan) == [("adopt", "unowned", "a")]
        assert [(one.identity.key, one.cause.value) for one in plan.refused] == [("b", "unowned")]
        await repo.apply()
        assert other.items() == before
    assert set(service.values()) == {"web:a", "web:b", "web:c"}


# -- two targets, one place -------------------------------------------------------------------------------------------


def second_store(service: Service, application: str, more: str = "") -> str:
    """A further store in `kvsync.yaml`."""
    return (
        f"  other:\n    type: voximplant\n    credentials: {{env: VOXIMPLANT_CREDENTIALS}}\n    {application}\n"
        f"    endpoint: {service.url}\n{more}"
    )


@pytest.mark.parametrize("namespace", ["web", "web:de"])
async def test_two_stores_that_lead_to_one_place(repo: Repo, service: Service, namespace: str) -> None:
    """By its name and by its id, or with a namespace within that of the other store: both are parked, nothing is written."""
    repo.use(NAMED, second_store(service, "application_id: 1"))
    repo.want({"a": "1"})
    (repo.root / "state" / "other.yaml").write_text(f"store: other\nnamespace: {namespace}\nkeys: {{c: '1'}}\n")
    plan = await planned(repo)
    assert len(plan.targets) == 2
    for target in plan.targets:
        assert target.parked
        for words in ("telephony/web", f"other/{namespace}", "kvsync.yaml:", "application 1"):
            assert words in target.parked[0]
    await repo.apply()
    assert SET not in service.requests()


@pytest.mark.parametrize(("namespace", "said"), [("web", "resolve to the same place"), ("web:de", "overlap")])
async def test_two_stores_that_meet_are_found_offline(repo: Repo, service: Service, namespace: str, said: str) -> None:
    """With the same endpoint, credentials and id, `validate` finds that two stores meet, and sends nothing."""
    repo.use("application_id: 1", second_store(service, "application_id: 1"))
    repo.want({"a": "1"})
    (repo.root / "state" / "other.yaml").write_text(f"store: other\nnamespace: {namespace}\nkeys: {{c: '1'}}\n")
    result = repo.command("validate")
    assert result.returncode == 78
    assert said in result.stderr
    assert service.requests() == {}


async def test_two_stores_with_prefixes_of_their_own(repo: Repo, service: Service) -> None:
    """In one application, stores whose keys never meet are both managed."""
    repo.use(NAMED, second_store(service, "application_id: 1", '    key_format: "v1-{namespace}:{key}"\n'))
    repo.want({"a": "1"})
    (repo.root / "state" / "other.yaml").write_text("store: other\nnamespace: web\nkeys: {c: '1'}\n")
    await repo.apply()
    assert service.values() == {"web:a": "1", "v1-web:c": "1"}


# -- copies -----------------------------------------------------------------------------------------------------------


async def test_a_copied_application_is_not_ours(repo: Repo, service: Service) -> None:
    """All items of an application copied to another one, its ledger too: nothing there is deleted or overwritten."""
    await repo.settle({"same": "1", "changed": "1", "unwanted": "1"})
    service.copy(1, 2)
    before = service.items(application=2)
    repo.use("application: second")
    repo.want({"same": "1", "changed": "2"})
    for machine in (".kvsync", "fresh"):
        plan = await repo.plan(machine=machine)
        assert changes(plan) == [("adopt", "unowned", "same")]
        assert [one.identity.key for one in plan.refused] == ["changed"]
    for machine in (".kvsync", "fresh"):
        await repo.apply(machine=machine)
    assert service.items(application=2) == before
    repo.use(NAMED)
    assert changes(await repo.plan()) == [("update", "changed", "changed"), ("delete", "removed", "unwanted")]


async def test_a_copied_namespace_is_not_ours(repo: Repo, service: Service) -> None:
    """All items of a namespace copied to another one, its ledger too: nothing there is deleted or overwritten."""
    await repo.settle({"same": "1", "changed": "1", "unwanted": "1"})
    for key, item in service.everything("web:").items():
        service.put(f"shop{key.removeprefix('web')}", item["value"], expires_at=item["expires_at"])
    before = service.items("shop:")
    repo.want({"same": "1", "changed": "2"}, namespace="shop")
    for machine in (".kvsync", "fresh"):
        (shop, _) = (await planned(repo, machine)).targets
        assert changes(shop) == [("adopt", "unowned", "same")]
        assert [one.identity.key for one in shop.refused] == ["changed"]
    for machine in (".kvsync", "fresh"):
        await repo.apply(machine=machine)
    assert service.items("shop:") == before


async def test_a_copy_under_another_key_is_foreign(repo: Repo, service: Service) -> None:
    """The copy of an entry of ours under another key stays, also when the entry goes."""
    await repo.settle({"a": "1", "b": "1"})
    service.put("web:copy", "1")
    repo.want({"a": "1"})
    plan = await repo.plan()
    assert changes(plan) == [("delete", "removed", "b")]
    assert plan.foreign == 1
    await repo.apply()
    assert service.values() == {"web:a": "1", "web:copy": "1"}


# -- what is remembered -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ledger", LEDGERS)
async def test_an_older_backup_of_the_state_directory(tmp_path: Path, service: Service, ledger: str) -> None:
    """With a state directory from before a removal, what another program made since is neither deleted nor overwritten."""
    repo = Repo(tmp_path, service, ledger=ledger)
    await repo.settle({"a": "1", "b": "1"})
    shutil.copytree(tmp_path / ".kvsync", tmp_path / "backup")
    repo.want({"a": "1"})
    await repo.apply()
    service.put("web:b", "theirs")
    for _ in range(2):
        await repo.apply(machine="backup")
    assert service.values() == {"web:a": "1", "web:b": "theirs"}


class IncompleteListing:
    """A listing that lacks one key, whole as it seems, for as long as `is_on`."""

    def __init__(self, key: str) -> None:
        self.key, self.is_on = key, False

    async def __call__(self, ask: Ask, size: int) -> Listed:
        listed = await everything(ask, size)
        if not self.is_on:
            return listed
        return Listed({key: item for key, item in listed.items.items() if key != self.key}, listed.problem)


@pytest.fixture
def blind(monkeypatch: pytest.MonkeyPatch) -> IncompleteListing:
    blind = IncompleteListing("web:late")
    monkeypatch.setattr(storage_module, "everything", blind)
    return blind


async def test_a_listing_that_lacks_an_entry_for_a_moment(
    repo: Repo, service: Service, blind: IncompleteListing
) -> None:
    """An entry that one listing lacks while it is removed from the files is still ours afterwards: it is deleted then, or
    changed when it is wanted again."""
    await repo.settle({"a": "1", "late": "1"})
    blind.is_on = True
    assert changes(await repo.plan()) == [("create", "missing", "late")]
    await repo.apply()
    assert service.values() == {"web:a": "1", "web:late": "1"}
    repo.want({"a": "1"})
    await repo.apply()
    blind.is_on = False
    assert changes(await repo.plan()) == [("delete", "removed", "late")]
    repo.want({"a": "1", "late": "2"})
    assert changes(await repo.plan()) == [("update", "changed", "late")]
    assert set(outcomes(await repo.apply()).values()) == {"applied"}
    repo.want({"a": "1"})
    assert set(outcomes(await repo.apply()).values()) == {"applied"}
    assert service.values() == {"web:a": "1"}


async def test_what_took_the_place_of_an_unlisted_entry_is_not_ours(
    repo: Repo, service: Service, blind: IncompleteListing
) -> None:
    """Another program's content under the key of an entry that was out of sight is neither deleted nor overwritten."""
    await repo.settle({"a": "1", "late": "1"})
    blind.is_on = True
    repo.want({"a": "1"})
    await repo.apply()
    service.put("web:late", "theirs")
    blind.is_on = False
    await repo.apply()
    repo.want({"a": "1", "late": "2"})
    plan = await repo.plan()
    assert [(one.identity.key, one.cause.value) for one in plan.refused] == [("late", "unowned")]
    await repo.apply()
    assert service.values() == {"web:a": "1", "web:late": "theirs"}
