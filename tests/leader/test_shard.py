"""Shares of the targets: each target in exactly one, the same on every machine, and few of them move."""

from __future__ import annotations

import os
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kvsync.model.entry import Target
from kvsync.model.shard import Shard
from kvsync.state import DaemonRecord, LeaseRecord, StateDir
from tests.cli.conftest import Repo
from tests.support.examples import examples

TARGETS = [Target("edge", f"namespace-{number}") for number in range(2000)]


@settings(max_examples=examples(30))
@given(st.builds(Target, st.text(max_size=20), st.text(max_size=20)), st.integers(1, 12))
def test_every_target_belongs_to_one_share(target: Target, count: int) -> None:
    """Shares neither overlap nor leave anything out."""
    assert sum(Shard(index, count).owns(target) for index in range(1, count + 1)) == 1


def test_the_shares_are_about_equal() -> None:
    """No share is much larger than another."""
    sizes = [sum(map(Shard(index, 4).owns, TARGETS)) for index in range(1, 5)]
    assert min(sizes) > 400


def test_a_further_share_takes_from_all_and_moves_nothing_else() -> None:
    """When a process is added, a target stays where it is or goes to the new one."""

    def owners(count: int) -> list[int]:
        return [next(index for index in range(1, count + 1) if Shard(index, count).owns(one)) for one in TARGETS]

    moved = Counter(after for before, after in zip(owners(3), owners(4), strict=True) if before != after)
    assert moved.keys() == {4}
    assert moved[4] < 700


def test_the_same_on_every_machine_forever() -> None:
    """Replicas of different versions must agree; these are written down."""
    known = {"web": 1, "app": 2, "ops": 1, "db": 3}
    assert {name: next(i for i in (1, 2, 3) if Shard(i, 3).owns(Target("edge", name))) for name in known} == known


@pytest.mark.parametrize(("text", "shard"), [("1/1", (1, 1)), ("2/3", (2, 3)), ("3/3", (3, 3)), ("0/3", (3, 3))])
def test_how_a_share_is_written(text: str, shard: tuple[int, int]) -> None:
    """Counted from 1; from 0 as well, for the ordinal of a pod."""
    assert Shard.parse(text) == Shard(*shard)


@pytest.mark.parametrize("text", ["", "1", "1/", "/3", "4/3", "1/0", "0/0", "-1/3", "1/3/5", "a/b", "1/99999", "٣/٤"])
def test_what_is_not_a_share(text: str) -> None:
    """Everything else is refused."""
    with pytest.raises(ValueError, match="I/N"):
        Shard.parse(text)


def test_commands_take_a_share(repo: Repo) -> None:
    """plan, apply and run look at their share alone, from the option or the environment, and together at everything."""
    (repo.root / "state/web.yaml").unlink()
    names = [f"n{number}" for number in range(6)]
    for name in names:
        repo.write(f"state/{name}.yaml", f"store: local\nnamespace: {name}\nkeys: {{{name}: {name}}}\n")
    seen = []
    for index in (0, 1):
        plan = repo.json("plan", "--shard", f"{index}/2")
        seen.append({target["namespace"] for target in plan["targets"]})
    assert seen[0] | seen[1] == set(names)
    assert not seen[0] & seen[1]
    repo.run("apply", "--yes", env={"KVSYNC_SHARD": "1/2"})
    assert {name for name in names if repo.held(name)} == seen[1]
    repo.run("run", "--once", "--shard", "2/2")
    assert {name for name in names if repo.held(name)} == set(names)
    refused = repo.run("plan", "--shard", "3/2", code=64)
    assert "'3/2': expected I/N with N from 1 to 1000 and I from 1 to N" in refused.stderr
    other = repo.run("plan", "--shard", "1/2", "--target", f"local/{min(seen[0])}", code=64)
    assert "unknown target" in other.stderr


def test_what_belongs_to_another_share_is_left_alone(repo: Repo) -> None:
    """Targets of another share are not managed here: nothing of them is deleted, with any policy."""
    repo.write("state/web.yaml", "store: local\nnamespace: web\nkeys: {a: 1}\n")
    repo.write("state/app.yaml", "store: local\nnamespace: app\nkeys: {a: 1}\n")
    repo.configure(**{"prune: owned": "prune: scope"})
    repo.run("apply", "--yes")
    for index in (1, 2, 3):
        repo.run("apply", "--yes", "--shard", f"{index}/3")
    assert (repo.held("web"), repo.held("app")) == ({"a": "1"}, {"a": "1"})


def test_status_names_shares_that_no_replica_leads(repo: Repo) -> None:
    """The leader of each share is known, and where there is none, the targets that nobody manages; so is what does not fit."""
    targets = [Target("local", f"n{number}") for number in range(6)]
    for target in targets:
        repo.write(f"state/{target.namespace}.yaml", f"store: local\nnamespace: {target.namespace}\nkeys: {{a: 1}}\n")
    (repo.root / "state/web.yaml").unlink()
    left = [target.namespace for target in targets if Shard(2, 2).owns(target)]
    record = LeaseRecord("main-1-of-2", "a", "a", True, {"1/2": "a", "2/2": None}, ["lease other: its leader differs"])
    with StateDir.open(repo.root / ".kvsync", writable=True) as state, state.lock("run"):
        state.passes.set_daemon(DaemonRecord(os.getpid(), 1.0, 1.0, "apply", "1", ready=True, lease=record))
        document, lines = repo.json("status"), repo.run("status").stdout.splitlines()
    assert document["unassigned"] == [{"store": "local", "namespace": name, "share": "2/2"} for name in left]
    assert document["daemon"]["lease"]["shares"] == {"1/2": "a", "2/2": None}
    assert lines[1:4] == [
        "  share 1/2: led by a",
        f"  share 2/2: no replica leads it; targets that are not managed: {len(left)}",
        "  problem: lease other: its leader differs",
    ]
