"""Moving on: entries follow their target to another store, namespace or key format, without a gap and without a loss."""

from __future__ import annotations

from pathlib import Path

import pytest

from kvsync.app import Report, TargetSelection
from kvsync.app.permit import split
from kvsync.app.reconciler import WorkspaceReconciler
from kvsync.app.relocated import FormerPlace
from kvsync.app.relocation import Relocation
from kvsync.daemon.ports import PassRequest
from kvsync.errors import PermanentError, UsageError
from kvsync.model.capabilities import Marks
from kvsync.model.entry import Target
from kvsync.model.plan import Plan, UnmanagedTarget
from kvsync.state import Pause
from kvsync.state.operator import resume
from kvsync.status.known_states import known_states
from kvsync.status.snapshot import State
from tests.support.memory_repository import MemoryRepository, is_clean, outcomes, rows
from tests.support.stores import KINDS

KINDS_OF_STORES = pytest.mark.parametrize("kind", KINDS)
ENTRIES = {
    "a": "one",
    "secret": "{value: hidden, sensitive: true}",
    "mortal": "{value: x, ttl: 7d}",
    "seed": "{value: first, mode: create-only}",
}
NEW_FORMAT = ", key_format: 'v2.{key}'"
WEB = Target("main", "web")
PLAIN = FormerPlace(key_format="{key}")


async def transferred(
    found: MemoryRepository, former: FormerPlace, target: Target | None = WEB
) -> tuple[Plan, Report, list[str]]:
    """Transfer one target, None for all, as a command of its own: the plan, what became of it, and what was noted."""
    async with found.open("transfer") as workspace:
        relocation = Relocation(workspace, workspace.load(), former)
        plan = await relocation.plan(None if target is None else [target])
        report = await workspace.apply(plan, command="transfer")
        assert await relocation.finish() == []
        return plan, report, relocation.notes


async def reformatted(folder: Path, patch: pytest.MonkeyPatch, kind: str) -> MemoryRepository:
    """A repository whose key format has just changed; `seed` has another value in the store by now."""
    found = MemoryRepository(folder, patch, kind)
    found.server.write("web", "theirs", b"x")
    await found.settle(ENTRIES)
    found.edit("seed", "grown")
    found.clock.advance(KINDS[kind].capabilities.settle)
    found.configure(options=NEW_FORMAT)
    return found


def held(found: MemoryRepository) -> dict[str, str]:
    """What the namespace holds, by remote key."""
    return {one.key: content.value.decode() for one, content in found.server.contents("web").items()}


UNPROVEN = {"v2.a": "one", "v2.secret": "hidden", "v2.mortal": "x", "seed": "grown", "theirs": "x"}
"""Where only a ledger says what is ours, an entry with other content than kvsync wrote is not proven ours, and stays."""
NEW = {"v2.a": "one", "v2.secret": "hidden", "v2.mortal": "x", "v2.seed": "grown", "theirs": "x"}


def lost(found: MemoryRepository) -> set[str]:
    """Values that readers of either key would miss."""
    return {"one", "hidden", "x", "grown"} - set(held(found).values())


@KINDS_OF_STORES
async def test_entries_follow_a_new_key_format(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """On every kind of store: each is copied as it is in the store, and its old key goes only when the copy is there. Nothing
    is left of the old keys in the ledgers, entries of others stay, and the next plan is empty."""
    found = await reformatted(tmp_path, monkeypatch, kind)
    gaps: list[set[str]] = []
    for _ in range(40):
        found.server.before_change(lambda: gaps.append(lost(found)))
    _, report, _ = await transferred(found, PLAIN)
    found.server.heal()
    moved = NEW if KINDS[kind].capabilities.marks is Marks.STORE else UNPROVEN
    assert held(found) == moved
    assert not any(gaps)
    assert {name: kind for name, kind in outcomes(report).items() if kind != "applied"} == (
        {} if moved is NEW else {"seed": "refused"}
    )
    found.clock.advance(KINDS[kind].capabilities.settle)
    assert rows(await found.plan(writing="test")) == ([] if moved is NEW else [("create", "new", "seed")])


@KINDS_OF_STORES
async def test_a_transfer_stopped_at_any_write_is_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """Whichever write the store stops at, every value is there under one of its keys, and the next transfer finishes."""
    for number in range(0, 8, 3):
        (tmp_path / str(number)).mkdir()
        found = MemoryRepository(tmp_path / str(number), monkeypatch, kind)
        await found.settle({"a": "one", "b": "two"})
        found.configure(options=NEW_FORMAT)
        writes = 0

        def interrupt() -> None:
            nonlocal writes
            writes += 1
            if writes > number:  # noqa: B023 - called before the next round
                raise PermanentError("the store is gone")

        found.server.before_change(interrupt, times=99)
        async with found.open("transfer") as workspace:
            relocation = Relocation(workspace, workspace.load(), PLAIN)
            await workspace.apply(await relocation.plan([Target("main", "web")]), command="transfer")
        assert {"one", "two"} <= set(held(found).values())
        found.server.heal()
        found.clock.advance(KINDS[kind].capabilities.settle)
        await transferred(found, PLAIN)
        assert held(found) == {"v2.a": "one", "v2.b": "two"}
        found.clock.advance(KINDS[kind].capabilities.settle)
        assert rows(await found.plan(writing="test")) == []


@KINDS_OF_STORES
async def test_keys_that_stay_the_same_are_marked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """Two formats can give an entry one remote key: it must not be deleted as the old one of the two."""
    found = MemoryRepository(tmp_path, monkeypatch, kind)
    found.configure(options=", key_format: 'web.{key}'")
    await found.settle({"a": "one", "b": "two"})
    found.configure(options=", key_format: '{namespace}.{key}'")
    plan, report, _ = await transferred(found, FormerPlace(key_format="web.{key}"))
    assert [(change.action.value, change.identity.key) for one in plan.targets for change in one.changes] == [
        ("adopt", "a"),
        ("adopt", "b"),
    ]
    assert is_clean(report)
    assert held(found) == {"web.a": "one", "web.b": "two"}
    found.clock.advance(KINDS[kind].capabilities.settle)
    assert rows(await found.plan(writing="test")) == []
    async with found.open(None) as workspace:
        places = {str(target): one.place for target, one in workspace.state.places.all().items()}
        assert workspace.state.ledger.all(places["main (key_format web.{key})/web"]) == {}


async def test_entries_follow_to_another_namespace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What no file names stays, and is reported; a namespace that the files still name is an error."""
    found = MemoryRepository(tmp_path, monkeypatch)
    await found.settle({"a": "one", "b": "two"})
    former = FormerPlace(namespace="web")
    text = "store: main\nnamespace: shop\nkeys: {a: one}\n"
    found.state(text, "shop.yaml")
    with pytest.raises(UsageError, match="the files still name it"):
        await transferred(found, former, Target("main", "shop"))
    (found.root / "state/web.yaml").unlink()
    plan, report, _ = await transferred(found, former, Target("main", "shop"))
    assert is_clean(report)
    assert plan.targets[0].notes == (
        "1 entry of main/web stay there, because no file names them; see kvsync list --orphans",
    )
    assert held(found) == {"b": "two"}
    assert found.server.contents("shop").keys() == {("a", None)}


async def test_what_the_target_holds_already_decides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After an apply at the new place, the old entries only have to go; entries of others there keep theirs from going."""
    found = MemoryRepository(tmp_path, monkeypatch)
    await found.settle({"a": "one", "b": "two"})
    found.edit("a", "drifted")
    found.configure(options=NEW_FORMAT)
    found.server.write("web", "v2.b", b"someone else's")
    await found.apply()
    _, report, _ = await transferred(found, PLAIN)
    assert outcomes(report)["b"] == "skipped"
    assert held(found) == {"v2.a": "one", "v2.b": "someone else's", "b": "two"}


async def test_a_renamed_store_needs_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """State and marks are kept by place, so that only the name changes: also where the files fan out to other stores, and for
    entries that no file names. A plan does not take the old name of what the files name for orphans; a transfer makes the new
    name the one of all."""
    found = MemoryRepository(tmp_path, monkeypatch)
    await found.settle({"a": "one"})
    found.state("store: main\nnamespace: gone\nkeys: {a: one}\n", "gone.yaml")
    await found.apply()
    (found.root / "state/gone.yaml").unlink()
    text = (found.root / "kvsync.yaml").read_text().replace("  main:", "  other:")
    (found.root / "kvsync.yaml").write_text(f"{text}  another: {{type: memory, shared: somewhere}}\n")
    found.state("stores: [another, other]\nnamespace: web\nkeys: {a: one}\n")
    plan = await found.plan_all()
    gone = UnmanagedTarget(Target("main", "gone"), 1, is_configured=False)
    assert ([rows(one) for one in plan.targets], plan.unmanaged) == ([[("create", "new", "a")], []], (gone,))
    with pytest.raises(UsageError, match="nor the state directory knows a store 'mian'"):
        await transferred(found, FormerPlace(store="mian"), None)
    with pytest.raises(UsageError, match=r"main/web was .*, and another/web is .*; to copy from there"):
        await transferred(found, FormerPlace(store="main"), Target("another", "web"))
    plan, _, notes = await transferred(found, FormerPlace(store="main"), None)
    assert (plan.targets, [note.partition(":")[0] for note in notes]) == (
        (),
        ["main/web is now other/web", "main/gone is now other/gone"],
    )
    assert (await found.plan_all()).unmanaged == (UnmanagedTarget(Target("other", "gone"), 1),)
    found.state("store: other\nnamespace: mail\nkeys: {a: one}\n")
    assert [one.target.namespace for one in (await found.plan_all()).unmanaged] == ["gone", "web"]


@pytest.mark.parametrize("namespace", ["web", None], ids=["target", "store"])
async def test_a_pause_holds_a_renamed_store_before_any_transfer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, namespace: str | None
) -> None:
    """The place is paused, whatever its name is: for a command, for the first pass of a daemon, and for status and page. It
    ends with the pause of the earlier name."""
    found = MemoryRepository(tmp_path, monkeypatch)
    await found.settle({"a": "one"})
    async with found.open("test") as workspace:
        workspace.state.pauses.pause("main", namespace, "freeze", 5.0)
    text = (found.root / "kvsync.yaml").read_text().replace("  main:", "  other:")
    (found.root / "kvsync.yaml").write_text(text)
    found.state("store: other\nnamespace: web\nkeys: {a: two}\n")
    other = Target("other", "web")
    async with found.open("run") as workspace:
        reconciler = WorkspaceReconciler(workspace, workspace.pass_context, {})
        await reconciler.load()
        first = await reconciler.reconcile(PassRequest(other, apply=True), lambda: False)
        assert (first.pending, held(found)) == (1, {"a": "one"})
        assert reconciler.is_paused(other)
        assert reconciler.paused_among([other]) == {other}
        workspace.state.passes.record(other, 6.0)
        assert known_states(workspace.state, workspace.state.passes.all(), 7.0)[other] is State.PAUSED
        plan = await workspace.plan(TargetSelection((other,)))
        assert not split(workspace, plan).has_work
    async with found.open("test") as workspace:
        pause = workspace.state.pauses.find(other)
        assert str(pause) == ("main/web" if namespace else "main")
        assert resume(workspace.state, {"other"}, str(pause), "test").ended
    assert outcomes(await found.apply()) == {"a": "applied"}


async def test_pauses_follow_a_renamed_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A transfer carries the pauses of a renamed store over, with reason and beginning, and forgets plans that were parked
    under its former name. A pause of the store holds both names until all of its targets have the new one. A pause that is
    left can be ended by its former name."""
    found = MemoryRepository(tmp_path, monkeypatch)
    await found.settle({"a": "one"})
    found.state("store: main\nnamespace: shop\nkeys: {a: one}\n", "shop.yaml")
    await found.apply()
    async with found.open("test") as workspace:
        workspace.state.pauses.pause("main", "web", "migration", 5.0)
        workspace.state.pauses.pause("main", None, "freeze", 6.0)
        workspace.state.parked.park(WEB, "sha256:0", "sha256:1", ["too much"], 7.0)
    text = (found.root / "kvsync.yaml").read_text()
    (found.root / "kvsync.yaml").write_text(text.replace("  main:", "  other:"))
    for name in ("web", "shop"):
        found.state(f"store: other\nnamespace: {name}\nkeys: {{a: one}}\n", f"{name}.yaml")
    carried = [Pause("other", None, "freeze", 6.0), Pause("other", "web", "migration", 5.0)]
    _, _, notes = await transferred(found, FormerPlace(store="main"), Target("other", "web"))
    assert notes[1:] == [
        "the pause of main is carried over to other",
        "the pause of main/web is carried over to other/web",
    ]
    async with found.open("test") as workspace:
        assert workspace.state.pauses.all() == [Pause("main", None, "freeze", 6.0), *carried]
        assert workspace.state.parked.all() == []
    await transferred(found, FormerPlace(store="main"), None)
    async with found.open("test") as workspace:
        assert workspace.state.pauses.all() == carried
        workspace.state.pauses.pause("main", "web", None, 8.0)
        assert resume(workspace.state, {"other"}, "main/web", "test").ended
        with pytest.raises(UsageError, match="unknown target 'main/web'"):
            resume(workspace.state, {"other"}, "main/web", "test")


async def test_a_store_moves_to_one_other_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a choice, the targets that kvsync used in another store move; never to two stores at once."""
    found = MemoryRepository(tmp_path, monkeypatch)
    await found.settle({"a": "one"})
    found.configure(stores="new: {type: memory, shared: new}\nmore: {type: memory, shared: more}\n")
    found.state("stores: [new, more]\nnamespace: web\nkeys: {a: one}\n")
    with pytest.raises(UsageError, match="main/web could move to more/web and to new/web; choose one with --target"):
        await transferred(found, FormerPlace(store="main"), None)
    found.state("store: new\nnamespace: web\nkeys: {a: one}\n")
    found.state("store: more\nnamespace: mail\nkeys: {a: one}\n", "mail.yaml")
    plan, report, _ = await transferred(found, FormerPlace(store="main"), None)
    assert [one.target for one in plan.targets] == [WEB, Target("new", "web")]
    assert is_clean(report)
    assert held(found) == {}
