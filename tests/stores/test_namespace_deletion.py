"""Deleting a namespace that the files empty, on all stores that can: only one that kvsync has emptied, and never in doubt."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from kvsync.app import Report, TargetSelection
from kvsync.app.revisions import RevisionCheck
from kvsync.model.pass_options import PassOptions
from kvsync.model.plan import TargetPlan
from kvsync.model.revision import AppliedRevision
from tests.stores import apify_repo, apify_service, cloudflare_repo, cloudflare_service
from tests.stores.emulated import FastForwardClock, StoreRepo

OPTIONS = "    create_namespaces: true\n    delete_namespaces: true\n"
ASK = PassOptions(deletes_namespaces=True)
STORES = ("cloudflare-kv", "apify", "apify, ledger in the store")


@pytest.fixture(scope="module")
def services() -> Iterator[Callable[[Any], Any]]:
    with ExitStack() as stack:
        yield cache(lambda kind: stack.enter_context(kind.serve()))


class Namespace:
    """The namespace `web` of one store, and the repository that manages it."""

    def __init__(self, kind: str, folder: Path, services: Callable[[Any], Any]) -> None:
        self.kind, self.folder = kind, folder
        self.service = services((cloudflare_service if kind == "cloudflare-kv" else apify_service).Service)
        self.service.prepare()
        self.repo = self.configured(OPTIONS)

    def configured(self, extra: str) -> StoreRepo:
        if self.kind == "cloudflare-kv":
            return cloudflare_repo.Repo(self.folder, self.service, extra=extra)
        return apify_repo.Repo(self.folder, self.service, "store" if "," in self.kind else "local", extra=extra)

    @property
    def exists(self) -> bool:
        names = self.service.titles() if self.kind == "cloudflare-kv" else self.service.names()
        return "web" in names

    async def empty(self) -> None:
        """Apply a file that wants one entry, and then one that wants none."""
        await self.repo.settle({"ours": "1"})
        self.repo.want({})
        await self.apply()
        self.later()

    def later(self) -> None:
        assert isinstance(self.repo.clock, FastForwardClock)
        self.repo.clock.ahead += 61  # more than any store needs until a listing shows what was written

    async def plan(self) -> TargetPlan:
        async with self.repo.open(None) as workspace:
            return (await workspace.plan(TargetSelection(ask=ASK))).targets[0]

    async def apply(self, between: Callable[[], None] = lambda: None) -> Report:
        return await self.repo.apply(between, ask=ASK)


@pytest.fixture(params=STORES)
def namespace(request: pytest.FixtureRequest, tmp_path: Path, services: Callable[[Any], Any]) -> Namespace:
    return Namespace(request.param, tmp_path, services)


class MemoryRevisions:
    """Revisions that replica `a` applied."""

    def __init__(self, *revisions: str) -> None:
        self._rows = [AppliedRevision(one, None, 0.0, "a") for one in revisions]

    async def revisions(self) -> list[AppliedRevision]:
        return self._rows

    async def add_revision(self, applied: AppliedRevision) -> None:
        raise AssertionError(applied)


def test_all_stores_that_can_are_tested() -> None:
    """A store that learns to delete namespaces must be added here."""
    from kvsync.stores.registry import BUILTIN, store_class

    can = {name for name in BUILTIN if hasattr(store_class(name), "delete_namespace")}
    assert can == {name.partition(",")[0] for name in STORES}


async def test_a_namespace_that_kvsync_emptied_is_deleted(namespace: Namespace) -> None:
    """Plans say so before; once it has been empty for long enough it goes. That is nothing to do later, and can be undone:
    wanted again, it is made again."""
    await namespace.repo.settle({"ours": "1"})
    namespace.repo.want({})
    plan = await namespace.plan()
    assert "kvsync deletes the namespace as well" in plan.notes[0]
    await namespace.apply()
    if namespace.kind == "cloudflare-kv":  # whose listing may still lack what another program has just written
        assert "kvsync deletes the empty namespace after" in (await namespace.plan()).notes[0]
        await namespace.apply()
    assert namespace.exists
    namespace.later()
    assert (await namespace.plan()).deletes_namespace
    (report,) = (await namespace.apply()).targets
    assert (report.namespace_deleted, report.error, namespace.exists) == (True, None, False)
    plan = await namespace.plan()
    assert (plan.error, plan.notes, plan.moved_from, plan.deletes_namespace) == (None, (), None, False)
    namespace.repo.want({"ours": "2"})
    await namespace.apply()
    assert namespace.exists


async def test_a_namespace_that_others_used_stays(namespace: Namespace) -> None:
    """An entry of another program keeps the namespace, and so does the memory of one that is gone."""
    await namespace.repo.settle({"ours": "1"})
    namespace.service.put("web", "theirs", b"1")
    namespace.repo.want({})
    for words in ("it holds 1 entry that kvsync does not delete", "it holds 1 entry"):
        assert words in (await namespace.plan()).notes[0]
        await namespace.apply()
        namespace.later()
    namespace.service.delete("web", "theirs")
    assert "kvsync has not emptied it" in (await namespace.plan()).notes[0]
    await namespace.apply()
    assert namespace.exists


async def test_a_namespace_of_which_entries_of_others_were_pruned_stays(namespace: Namespace) -> None:
    """`prune: scope` deletes entries of other programs, and not what they are in."""
    await namespace.repo.settle({"ours": "1"})
    namespace.repo = namespace.configured(f"{OPTIONS}    policy: {{prune: scope}}\n")
    namespace.service.put("web", "theirs", b"1")
    namespace.repo.want({})
    assert "it holds 1 entry that kvsync did not write" in (await namespace.plan()).notes[0]
    await namespace.apply()
    namespace.later()
    plan = await namespace.plan()
    assert (plan.changes, plan.deletes_namespace) == ((), False)
    assert "kvsync has not emptied it" in plan.notes[0]


async def test_a_namespace_that_is_used_again_stays(namespace: Namespace) -> None:
    """Another program writes right before the delete: it is seen, and the namespace stays for good."""
    await namespace.empty()
    assert (await namespace.plan()).deletes_namespace
    (report,) = (await namespace.apply(lambda: namespace.service.put("web", "theirs", b"1"))).targets
    assert (report.namespace_deleted, namespace.exists) == (False, True)
    assert "the namespace was not deleted: it holds" in (report.error or "")


async def test_a_namespace_that_kvsync_filled_again_stays(tmp_path: Path, services: Callable[[Any], Any]) -> None:
    """It was wanted again before it was deleted. When another program empties it after that, kvsync did not."""
    namespace = Namespace("apify", tmp_path, services)
    await namespace.empty()
    await namespace.repo.settle({"ours": "2"})
    namespace.service.delete("web", "ours")
    namespace.repo.want({})
    namespace.later()
    assert "kvsync has not emptied it" in (await namespace.plan()).notes[0]
    await namespace.apply()
    assert namespace.exists


async def test_nothing_is_deleted_once_kvsync_is_stopped(tmp_path: Path, services: Callable[[Any], Any]) -> None:
    """A signal between plan and apply: the namespace stays until the next run."""
    namespace = Namespace("apify", tmp_path, services)
    await namespace.empty()
    async with namespace.repo.open() as workspace:
        plan = await workspace.plan(TargetSelection(ask=ASK))
        (report,) = (await workspace.apply(plan, command="test", stop=lambda: True)).targets
    assert (report.namespace_deleted, report.error, namespace.exists) == (False, None, True)


async def test_older_files_delete_no_namespace(tmp_path: Path, services: Callable[[Any], Any]) -> None:
    """Another replica has applied newer files, which may want the namespace."""
    namespace = Namespace("apify", tmp_path, services)
    await namespace.empty()
    async with namespace.repo.open() as workspace:
        log = MemoryRevisions(workspace.load().revision, "newer")
        workspace.revisions = RevisionCheck(log, "b", tmp_path, namespace.repo.clock, records=True)
        (plan,) = (await workspace.plan(TargetSelection(ask=ASK))).targets
    assert (plan.deletes_namespace, plan.parked) == (False, ())
    assert plan.notes[-1].startswith("the namespace stays: the files here are older than those that a applied at ")
    assert ";" not in plan.notes[-1]


async def test_another_namespace_of_the_same_name_stays(namespace: Namespace) -> None:
    """What was emptied was deleted and made again by another program: that one is another place."""
    await namespace.empty()
    namespace.service.remove("web")
    namespace.service.ids["web"] = namespace.service.make("web")
    await namespace.apply()
    assert namespace.exists


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ("    create_namespaces: true\n", None),
        ("    delete_namespaces: true\n", "needs create_namespaces: true"),
        (OPTIONS + '    key_format: "{label}.{key}"\n', "does not see all of its keys"),
    ],
)
async def test_what_the_configuration_does_not_allow(namespace: Namespace, options: str, why: str | None) -> None:
    """Without the option, or where kvsync could not make or see the whole namespace, it stays, and the plan says why."""
    namespace.repo = namespace.configured(options)
    await namespace.empty()
    notes = (await namespace.plan()).notes
    assert (why is None and not notes) or (why is not None and why in notes[0])
    await namespace.apply()
    assert namespace.exists


@pytest.mark.system
async def test_commands(tmp_path: Path, services: Callable[[Any], Any]) -> None:
    """The plan shows the delete, and counts it as pending; a plan file deletes no namespace, and a pause holds it back; `apply`
    deletes, and says so."""
    namespace = Namespace("apify", tmp_path, services)
    await namespace.empty()
    repo, file = namespace.repo, str(tmp_path / "plan.json")
    shown = repo.command("plan", "--exit-code", "--out", file)
    assert shown.returncode == 2
    assert shown.stdout.startswith("scraper/web (apify): 1 namespace to delete\n")
    assert "namespace: kvsync deletes scraper/web: it is empty, and kvsync deleted its last entries" in shown.stdout
    assert "Plan: 0 to create, 0 to update, 0 to delete, 1 namespace to delete, 0 unchanged, 0 foreign" in shown.stdout
    assert repo.command("apply", file).returncode == 0
    async with repo.open() as workspace:
        workspace.state.pauses.pause("scraper", "web", None, repo.clock.now())
    assert repo.command("apply", "--yes").returncode == 4
    assert namespace.exists
    async with repo.open() as workspace:
        workspace.state.pauses.resume("scraper", "web")
    done = repo.command("apply", "--yes")
    assert (done.returncode, namespace.exists) == (0, False)
    assert done.stdout.endswith("scraper/web (apify): 1 namespace deleted\n\nDone: 1 namespace deleted.\n")
