"""`transfer --from-namespace` with `rename_namespaces`: the namespace gets the new name, and nothing is copied."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, nullcontext
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from kvsync.app.namespace_rename import NamespaceRename
from kvsync.app.relocated import FormerPlace
from kvsync.app.relocation import Relocation
from kvsync.errors import PermanentError, TransientError
from kvsync.model.entry import Target
from kvsync.model.plan import NAMESPACES_RENAMED, Plan
from kvsync.stores.registry import BUILTIN, store_class
from tests.stores import apify_repo, apify_service, cloudflare_repo, cloudflare_service
from tests.stores.emulated import StoreRepo

OPTIONS = "    rename_namespaces: true\n    create_namespaces: true\n"
REPOS: dict[str, Callable[..., StoreRepo]] = {"cloudflare-kv": cloudflare_repo.Repo, "apify": apify_repo.Repo}
SERVICES: dict[str, Any] = {"cloudflare-kv": cloudflare_service.Service, "apify": apify_service.Service}


@pytest.fixture(scope="module")
def services() -> Iterator[Callable[[str], Any]]:
    with ExitStack() as stack:
        yield cache(lambda kind: stack.enter_context(SERVICES[kind].serve()))


@pytest.fixture(params=REPOS)
def repo(request: pytest.FixtureRequest, services: Callable[[str], Any], tmp_path: Path) -> StoreRepo:
    """A repository for an empty account, with a namespace `web` that holds our entries and a foreign one."""
    service = services(request.param)
    service.prepare()
    return REPOS[request.param](tmp_path, service, extra=OPTIONS)


async def filled(repo: StoreRepo) -> None:
    """Fill `web`, and let the files call it `shop`."""
    await repo.settle({"a": "1", "b": "2"})
    repo.service.put("web", "theirs", b"3")
    (repo.root / "state/web.yaml").unlink()
    repo.want({"a": "1", "b": "2"}, namespace="shop")


def command(repo: StoreRepo, *more: str) -> subprocess.CompletedProcess[str]:
    return repo.command("transfer", "--from-namespace", "web", "--target", f"{repo.store}/shop", *more)


async def planned(repo: StoreRepo) -> tuple[NamespaceRename | None, Plan]:
    """The rename that `transfer` would do, and its plan."""
    async with repo.open() as workspace:
        relocation = Relocation(workspace, workspace.load(), FormerPlace(namespace="web"))
        plan = await relocation.plan([Target(repo.store, "shop")])
        return relocation.rename, plan


def names(repo: StoreRepo) -> list[str]:
    service = repo.service
    found: list[str] = service.titles() if isinstance(repo, cloudflare_repo.Repo) else service.names()
    return found


def test_all_stores_that_can_are_tested() -> None:
    """A store that learns to rename namespaces must be added here."""
    assert {name for name in BUILTIN if hasattr(store_class(name), "rename_namespace")} == set(REPOS)


async def test_a_namespace_is_renamed_with_everything_in_it(repo: StoreRepo) -> None:
    """The plan has a note, and no change. Afterwards the namespace has the new name, foreign entries too are still in it, no
    entry was written, and there is nothing to do."""
    await filled(repo)
    held = repo.service.values("web")
    rename, plan = await planned(repo)
    assert rename is not None
    note = f"{repo.store}/web: renamed to shop; its id and all of its entries stay (rename_namespaces)"
    assert [(one.changes, one.notes) for one in plan.targets] == [((), (note,))]
    assert names(repo) == ["web"]
    async with repo.open() as workspace:
        await rename.carry_out(workspace)
    repo.service.ids["shop"] = repo.service.ids.pop("web")
    assert (names(repo), repo.service.values("shop")) == (["shop"], held)
    after = await repo.plan()
    assert (after.changes, after.unchanged, after.foreign, after.moved_from) == ((), 2, 1, None)


@pytest.mark.system
@pytest.mark.parametrize("repo", ["cloudflare-kv"], indirect=True)
async def test_a_pause_holds_the_command_back(repo: StoreRepo) -> None:
    """`transfer` shows the plan and is refused while the target is paused. Then it renames, and the history has the run."""
    await filled(repo)
    assert repo.command("pause", f"{repo.store}/shop").returncode == 0
    paused = command(repo, "--yes")
    assert (paused.returncode, names(repo)) == (4, ["web"])
    assert "edge/web: renamed to shop; " in paused.stdout
    assert "kvsync resume" in paused.stderr
    assert repo.command("resume", f"{repo.store}/shop").returncode == 0
    done = command(repo, "--yes", "-o", "json")
    assert (done.returncode, names(repo)) == (0, ["shop"]), done.stderr
    (target,) = json.loads(done.stdout)["targets"]
    assert "edge/web: renamed to shop; " in target["notes"][0]
    assert "1 namespace renamed" in repo.command("history").stdout


async def test_a_name_that_is_taken_is_not_given_away(repo: StoreRepo) -> None:
    """If a namespace with the new name appears after the plan was made, or the old name leads to another one, nothing is
    renamed. If it is there before, entries are copied to it."""
    await filled(repo)
    rename, _ = await planned(repo)
    assert rename is not None
    other = repo.service.ids["shop"] = repo.service.make("shop")
    async with repo.open() as workspace:
        with pytest.raises(PermanentError, match='"shop" already'):
            await rename.carry_out(workspace)
    assert sorted(names(repo)) == ["shop", "web"]
    assert [len(one.changes) for one in (await planned(repo))[1].targets] == [2, 2]
    repo.service.remove("web")
    repo.service.rename("shop", "web")
    async with repo.open() as workspace:
        with pytest.raises(PermanentError, match="now resolves to a different"):
            await rename.carry_out(workspace)
    assert (names(repo), repo.service.ids["web"]) == (["web"], other)


@pytest.mark.parametrize("arrives", [True, False])
async def test_a_lost_response_is_looked_for(repo: StoreRepo, arrives: bool) -> None:
    """The names of the namespaces show whether the request arrived, so that the history counts what was renamed."""
    await filled(repo)
    rename, _ = await planned(repo)
    assert rename is not None
    async with repo.open() as workspace:
        store: Any = workspace.stores[repo.store]
        send = store.rename_namespace

        async def lose_response(*of: Any) -> None:
            if arrives:
                await send(*of)
            raise TransientError("no response")

        store.rename_namespace = lose_response
        with nullcontext() if arrives else pytest.raises(TransientError):
            await rename.carry_out(workspace)
        (run, *_) = workspace.state.journal.runs()
        assert (run.summary.get(NAMESPACES_RENAMED, 0), names(repo)) == ((1, ["shop"]) if arrives else (0, ["web"]))


@pytest.mark.parametrize("extra", ["", "    rename_namespaces: true\n    key_format: '{namespace}.{key}'\n"])
async def test_without_the_option_entries_are_copied(repo: StoreRepo, extra: str) -> None:
    """A namespace keeps its name unless the configuration allows to change it, and where its name is a part of the keys."""
    repo.configure("    create_namespaces: true\n" + extra)
    await filled(repo)
    rename, plan = await planned(repo)
    assert rename is None
    assert [len(one.changes) for one in plan.targets] == [2, 2]
