"""`transfer --from-owner` in stores that keep the ledger themselves: the ledger changes hands, and nothing else does."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kvsync.model.pass_options import PassOptions
from tests.stores import apify_repo, apify_service, voximplant_repo, voximplant_service
from tests.stores.emulated import StoreRepo, changes, outcomes

KEYS = {"a": "1", "drifts": "1", "secret": "{env: API_TOKEN}"}
STORES = {
    "apify": (apify_service.Service, apify_repo.Repo),
    "voximplant": (voximplant_service.Service, voximplant_repo.Repo),
}


@pytest.fixture(params=STORES)
def repo(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    """A repository of one owner, whose store keeps the ledger."""
    service, made = STORES[request.param]
    with service.serve() as found:
        found.prepare()
        yield made(tmp_path / "repo", found, ledger="store", policy="{prune: owned, drift: report, adopt: never}")


def put(repo: StoreRepo, key: str, value: str) -> None:
    """Write an entry as another program does."""
    where = ("web", key) if repo.store == apify_repo.Repo.store else (f"web:{key}",)
    repo.service.put(*where, value, **({} if len(where) == 2 else {"ttl": 7_000_000}))


def held(repo: StoreRepo) -> dict[str, Any]:
    """The entries that the store holds, without the ledger."""
    found = repo.service.values("web" if repo.store == apify_repo.Repo.store else "web:")
    return {key: value for key, value in found.items() if "kvsync." not in key}


async def test_a_ledger_in_the_store_is_taken_over(repo: Any) -> None:
    """The preview of the command shows what is taken over, drift is still drift for a fresh checkout, no entry is
    written, and what is foreign stays."""
    put(repo, "theirs", "x")
    await repo.settle(KEYS)
    put(repo, "drifts", "other")
    before, config = held(repo), repo.root / "kvsync.yaml"
    config.write_text(config.read_text().replace("owner: team-a", "owner: team-b"))
    assert "run kvsync transfer --from-owner team-a" in str((await repo.plan(machine="fresh")).error)
    seen = repo.command("transfer", "--from-owner", "team-a", "--dry-run", "-o", "json")
    (target,) = json.loads(seen.stdout)["targets"]
    assert {(one["action"], one["class"], one["key"]) for one in target["changes"]} == {
        ("adopt", "taken", key) for key in KEYS
    }
    assert target["notes"] == ["the ledger of owner 'team-a' in the store is taken over: 3 of its 3 entries"]
    report = await repo.apply(ask=PassOptions(deep=True, from_owner="team-a"))
    assert (report.targets[0].error, held(repo)) == (None, before)
    plan = await repo.plan(machine="fresh")
    assert (plan.error, plan.foreign, changes(plan), plan.refused) == (None, 1, [], ())
    assert [(one.cause.value, one.identity.key) for one in plan.reported] == [("drifted", "drifts")]
    assert outcomes(await repo.apply(machine="fresh")) == {"drifts": "skipped"}
    assert held(repo) == before
