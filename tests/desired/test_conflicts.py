"""Entries of different targets that are one remote key: found offline, with both places, for every type of store."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import Any

import pytest

from kvsync.desired import key_conflicts
from kvsync.desired.key_conflicts import find_key_conflicts
from kvsync.model.entry import Identity, Target
from kvsync.model.place import Place
from kvsync.stores.memory.store import MemoryStore
from tests.desired.conftest import CONFIG, Repo

APP, SUB, TWO = Target("edge", "app"), Target("edge", "app:sub"), Target("core", "app")


class SharedStore(MemoryStore):
    """A store whose namespaces are parts of its keys, and that leaves an inner one to its own target. All are one container."""

    def place(self, namespace: str) -> Place:
        return replace(super().place(namespace), parts=(("host", "one"),))

    def nested_namespace(self, namespace: str, identity: Identity, others: Collection[str]) -> str | None:
        return self._keys.nested_namespace(namespace, identity, others)


@pytest.fixture
def shared(repo: Repo) -> Repo:
    """Two stores that are one, with the namespace in their keys."""
    repo.kind = SharedStore
    config = CONFIG.replace("{type: memory}", '{type: memory, key_format: "{namespace}:{key}"}')
    repo.write("kvsync.yaml", config)
    return repo


def want(repo: Repo, target: Target, keys: str) -> None:
    name = f"{target.store}-{target.namespace.replace(':', '-')}"
    repo.write(f"state/{name}.yaml", f"store: {target.store}\nnamespace: {target.namespace}\nkeys:\n{keys}")


def test_twins_of_one_store(shared: Repo) -> None:
    """An entry of an outer namespace and one of an inner that are one key: an error with both places, which holds the outer one
    alone. Otherwise whoever manages the outer one could stop the other."""
    want(shared, APP, "  a: 1\n  sub:y: 1\n")
    want(shared, SUB, "  x: 1\n  y: 2\n")
    loaded = shared.load()
    assert [str(problem) for problem in loaded.problems] == [
        "state/edge-app.yaml:5:3: edge/app: sub:y and edge/app:sub: y (state/edge-app-sub.yaml:5:3) have the same remote key,"
        ' "app:sub:y", which is in the namespace of edge/app:sub; edge/app is left unchanged (remove it here)'
    ]
    assert set(loaded.held) == {APP}


def test_twins_of_two_stores(shared: Repo) -> None:
    """Two stores that lead to one container, which is an error on its own, are compared too; the same key under another label
    is another entry."""
    want(shared, SUB, "  y: 1\n  z: {labels: {prod: 1}}\n")
    want(shared, TWO, "  sub:y: 1\n  sub:z: {labels: {dev: 1}}\n")
    loaded = shared.load()
    overlap, *twins = (str(problem) for problem in loaded.problems)
    assert "core/app (kvsync.yaml:7:9) and edge/app:sub (kvsync.yaml:6:9) overlap" in overlap
    assert twins == [
        "state/core-app.yaml:4:3: core/app: sub:y and edge/app:sub: y (state/edge-app-sub.yaml:4:3) have the same remote key,"
        ' "app:sub:y"; core/app and edge/app:sub are left unchanged (remove one of them)'
    ]
    assert set(loaded.held) == {TWO, SUB}


def test_an_entry_in_another_namespace_of_the_store(shared: Repo) -> None:
    """An entry whose key is one of a managed namespace is an error of its own target, also if that does not ask for it."""
    want(shared, APP, "  a: 1\n  sub:y: 1\n")
    want(shared, SUB, "  {}\n")
    loaded = shared.load()
    assert [str(problem) for problem in loaded.problems] == [
        'state/edge-app.yaml:5:3: edge/app: sub:y belongs to the namespace "app:sub", which kvsync also manages;'
        " edge/app is left unchanged (define it there)"
    ]
    assert set(loaded.held) == {APP}


def test_containers_keep_keys_apart(repo: Repo) -> None:
    """Stores that hold their namespaces apart may use the same keys everywhere."""
    want(repo, APP, "  sub:y: 1\n  y: 1\n")
    want(repo, SUB, "  y: 1\n")
    want(repo, TWO, "  y: 1\n")
    loaded = repo.load()
    assert loaded.problems == ()
    assert not loaded.others(APP)


def test_only_nested_namespaces_are_neighbours(shared: Repo) -> None:
    """A target learns of those namespaces of its store alone whose keys could be its own."""
    for target in (APP, SUB, Target("edge", "apple"), Target("edge", "web"), Target("core", "app:sub")):
        want(shared, target, f"  {target.store}: 1\n")
    loaded = shared.load()
    assert set(loaded.others(APP)) == {"app:sub"}
    assert set(loaded.others(SUB)) == {"app"}
    assert not loaded.others(Target("edge", "apple"))


def test_a_held_target_stays_a_neighbour(shared: Repo) -> None:
    """A namespace whose file is broken keeps its entries: the outer one still leaves them to it."""
    want(shared, APP, "  a: 1\n")
    want(shared, SUB, "  y: 1\n")
    source = shared.source()
    assert set(source.load().others(APP)) == {"app:sub"}
    (shared.root / "state/edge-app-sub.yaml").write_text("store: edge\n  namespace: [")
    loaded = source.load()
    assert SUB in loaded.kept
    assert set(loaded.others(APP)) == {"app:sub"}


def test_nested_targets_are_compared_once(shared: Repo, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was found to be free of twins is not looked through again until one of the targets changes."""
    asked: list[int] = []

    def counted(*given: Any) -> Any:
        asked.append(1)
        return find_key_conflicts(*given)

    monkeypatch.setattr(key_conflicts, "find_key_conflicts", counted)
    want(shared, APP, "  a: 1\n")
    want(shared, SUB, "  y: 1\n")
    source = shared.source()
    for _ in range(3):
        assert source.load().problems == ()
    assert len(asked) == 1
    want(shared, SUB, "  y: 2\n")
    source.load()
    assert len(asked) == 2
