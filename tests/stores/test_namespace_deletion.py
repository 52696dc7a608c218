"""Deleting a namespace that the files empty, on all stores that can: only one that kvsync has emptied, and never in doubt."""

from __future__ import annotations

import asyncio
import os
import re
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from kvsync.app import Report, TargetSelection
from kvsync.app.revisions import RevisionCheck
from kvsync.app.run_list import one_run
from kvsync.cli.namespace_line import namespace_line
from kvsync.model.pass_options import PassOptions
from kvsync.model.plan import TargetPlan
from kvsync.model.revision import AppliedRevision
from kvsync.state import NamespaceRecord
from kvsync.stores.apify import ApifyStore
from kvsync.stores.apify.api import LEDGER_KEY
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


async def recorded(namespace: Namespace, report: Report) -> list[NamespaceRecord]:
    """What the journal says of the namespaces of a run."""
    assert report.run is not None
    async with namespace.repo.open(None) as workspace:
        return workspace.state.runs.namespaces([report.run])[report.run]


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
    done = await namespace.apply()
    (report,) = done.targets
    assert (report.namespace_deleted, report.error, namespace.exists) == (True, None, False)
    assert [(one.target, one.outcome) for one in await recorded(namespace, done)] == [(report.plan.target, "applied")]
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
    done = await namespace.apply(lambda: namespace.service.put("web", "theirs", b"1"))
    (report,) = done.targets
    assert (report.namespace_deleted, namespace.exists) == (False, True)
    assert "the namespace was not deleted: it holds" in (report.error or "")
    (record,) = await recorded(namespace, done)
    assert (record.outcome, (record.error or "")[:8]) == ("refused", "it holds")


async def test_a_namespace_that_is_still_listed_was_not_deleted(namespace: Namespace) -> None:
    """Whatever answers the delete, the account's list is asked before a namespace counts as gone."""
    await namespace.empty()
    namespace.service.faults("404:1", methods=["DELETE"])
    (report,) = (await namespace.apply()).targets
    namespace.service.faults("")
    assert (report.namespace_deleted, namespace.exists) == (False, True)
    assert "the namespace was not deleted: " in (report.error or "")
    (report,) = (await namespace.apply()).targets
    assert (report.namespace_deleted, namespace.exists) == (True, False)


async def test_a_namespace_whose_deletion_was_not_confirmed(tmp_path: Path, services: Callable[[Any], Any]) -> None:
    """It may be gone: neither the report nor the history says that it is still there."""
    namespace = Namespace("apify", tmp_path, services)
    await namespace.empty()
    namespace.service.faults("drop-after-write:1", methods=["DELETE"])
    done = await namespace.apply()
    namespace.service.faults("")
    assert (done.targets[0].namespace_deleted, namespace.exists) == (False, False)
    assert "may or may not have been carried out" in (done.targets[0].error or "")
    assert "was not deleted" not in (done.targets[0].error or "")
    assert done.run is not None
    (run,) = one_run(namespace.repo.root / "kvsync.yaml", None, done.run)["runs"]
    (line,) = map(namespace_line, run["namespaces"])
    assert line.startswith("scraper/web: namespace: outcome unknown at ")


async def test_a_namespace_counts_as_a_delete(tmp_path: Path, services: Callable[[Any], Any]) -> None:
    """It waits for `run.max_deletes_per_hour`, and plans say so."""
    namespace = Namespace("apify", tmp_path, services)
    config = namespace.repo.root / "kvsync.yaml"
    config.write_text(f"{config.read_text()}run: {{max_deletes_per_hour: 1}}\n")
    await namespace.empty()
    async with namespace.repo.open() as workspace:
        plan = workspace.with_waiting(await workspace.plan(TargetSelection(ask=ASK)))
    assert plan.targets[0].waiting[0].startswith("1 delete waits: run.max_deletes_per_hour is 1")
    (report,) = (await namespace.apply()).targets
    assert (report.namespace_deleted, report.error, report.deletes_waiting) == (False, None, 1)
    assert report.waits_until is not None
    assert isinstance(namespace.repo.clock, FastForwardClock)
    namespace.repo.clock.ahead += 3600
    assert (await namespace.apply()).targets[0].namespace_deleted


async def test_a_namespace_waits_for_an_earlier_wave(tmp_path: Path, services: Callable[[Any], Any]) -> None:
    """As its entries do."""
    namespace = Namespace("apify", tmp_path, services)
    config = namespace.repo.root / "kvsync.yaml"
    config.write_text(f"{config.read_text()}waves: [{{targets: [scraper/first], bake: 1h}}]\n")
    await namespace.empty()
    namespace.repo.want({"a": "1"}, namespace="first")
    for _ in range(2):
        report = (await namespace.apply()).targets[1]
        assert (report.namespace_deleted, namespace.exists) == (False, True)
        assert "scraper/first" in (report.early or "")
    assert isinstance(namespace.repo.clock, FastForwardClock)
    namespace.repo.clock.ahead += 3601
    assert (await namespace.apply()).targets[1].namespace_deleted


@pytest.mark.parametrize("method", ["delete_namespace", "write_ledger"])
async def test_a_crash_of_a_store_is_the_error_of_its_target(
    tmp_path: Path, services: Callable[[Any], Any], monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    """Where only the namespace or the ledger is written, too. What became of the namespace is then unknown."""
    namespace = Namespace("apify, ledger in the store", tmp_path, services)
    if method == "delete_namespace":
        await namespace.empty()
    else:
        await namespace.repo.settle({"ours": "1"})
        namespace.service.delete("web", LEDGER_KEY)

    async def crash(*_: object) -> None:
        raise LookupError("broken")

    monkeypatch.setattr(ApifyStore, method, crash)
    done = await namespace.apply()
    assert "unexpected LookupError: broken; this is a bug in kvsync" in (done.targets[0].error or "")
    if done.run is not None:
        assert [one.outcome for one in await recorded(namespace, done)] == ["unknown"]


@pytest.mark.parametrize("is_done", [False, True], ids=["before the request", "after the request"])
def test_a_kill_around_the_deletion(tmp_path: Path, services: Callable[[Any], Any], is_done: bool) -> None:
    """The next run deletes a namespace that is still there, and leaves alone one that another program made in its place."""
    namespace = Namespace("apify", tmp_path, services)
    asyncio.run(namespace.empty())
    child = os.fork()
    if not child:
        _apply_until_killed(namespace, is_done=is_done)
    _, status = os.waitpid(child, 0)
    assert os.WTERMSIG(status) == signal.SIGKILL
    assert namespace.exists is not is_done
    if is_done:
        namespace.service.reset("web")
        namespace.service.put("web", "theirs", "x")
    done = asyncio.run(namespace.apply())
    assert (done.targets[0].error, done.targets[0].namespace_deleted) == (None, not is_done)
    assert namespace.exists is is_done
    if is_done:
        assert namespace.service.value("web", "theirs") == b"x"


def _apply_until_killed(namespace: Namespace, *, is_done: bool) -> None:
    """Apply, and end by SIGKILL right before or after the request that deletes the namespace. Never returns."""
    delete = ApifyStore.delete_namespace

    async def last(self: ApifyStore, *arguments: Any) -> str | None:
        if is_done:
            await delete(self, *arguments)
        os.kill(os.getpid(), signal.SIGKILL)
        return None

    setattr(ApifyStore, "delete_namespace", last)  # noqa: B010 - only in this process, which ends
    try:
        asyncio.run(namespace.apply())
    finally:
        os._exit(1)


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


@pytest.mark.parametrize("is_paused", [False, True], ids=["stopped", "paused"])
async def test_nothing_is_deleted_once_kvsync_is_stopped_or_paused(
    tmp_path: Path, services: Callable[[Any], Any], is_paused: bool
) -> None:
    """A signal or a pause between plan and apply: the namespace stays until the next run."""
    namespace = Namespace("apify", tmp_path, services)
    await namespace.empty()
    async with namespace.repo.open() as workspace:
        plan = await workspace.plan(TargetSelection(ask=ASK))
        if is_paused:
            workspace.state.pauses.pause("scraper", "web", None, namespace.repo.clock.now())
        (report,) = (await workspace.apply(plan, command="test", stop=lambda: not is_paused)).targets
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
    """What was emptied was deleted and made again by another program, right before the delete: that one is another place."""
    await namespace.empty()

    def replace() -> None:
        namespace.service.remove("web")
        namespace.service.ids["web"] = namespace.service.make("web")

    (report,) = (await namespace.apply(replace)).targets
    assert "its name now resolves to a different" in (report.error or "")
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
    listed = repo.command("history", "--target", "scraper/web", "--limit", "1").stdout
    assert listed.endswith("  scraper/web  1 namespace deleted\n")
    (run,) = [word for word in listed.split() if re.fullmatch(r"\d{8}-\d{6}-\d{3}", word)]
    for words in ("history", "show"):
        assert "\nscraper/web: namespace deleted at " in repo.command(words, run).stdout
    assert "undo cannot restore the deleted namespace" in repo.command("undo", run, "--dry-run").stderr
