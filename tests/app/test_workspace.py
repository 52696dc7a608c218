"""The workspace: opening, what is asked for, and that reading is reading."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from kvsync.app import TargetSelection, is_hash_of, resolve_targets
from kvsync.errors import InvalidInput, LockHeld, TransientError, UsageError
from kvsync.model.entry import Applied, Target
from kvsync.model.pass_options import PassOptions
from kvsync.planning.sealing import SealingKeys
from kvsync.reconcile import TargetPass
from kvsync.state.ledger import _applied
from tests.support.memory_repository import MemoryRepository, is_clean, outcomes, rows


@pytest.fixture
def repo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MemoryRepository:
    return MemoryRepository(tmp_path, monkeypatch)


def two_targets(repo: MemoryRepository) -> None:
    repo.state("store: main\nnamespace: web\nkeys: {a: 1}\n")
    repo.state("store: main\nnamespace: api\nkeys: {a: 1}\n", "api.yaml")


async def test_targets_are_chosen_by_store_or_by_name(repo: MemoryRepository) -> None:
    """A selection names stores or store/namespace; nothing named means all; the plan is sorted by target."""
    two_targets(repo)
    chosen = {(): ["main/api", "main/web"], ("main",): ["main/api", "main/web"], ("main/web",): ["main/web"]}
    async with repo.open(writing=None) as workspace:
        loaded = workspace.load()
        for names, targets in chosen.items():
            plan = await workspace.plan(TargetSelection(resolve_targets(loaded, names)), loaded)
            assert [str(one.target) for one in plan.targets] == targets


async def test_an_unknown_target_is_a_usage_error_that_names_the_known(repo: MemoryRepository) -> None:
    """Asking for a target that no file names says which there are."""
    two_targets(repo)
    async with repo.open(writing=None) as workspace:
        with pytest.raises(UsageError, match="main/api, main/web"):
            resolve_targets(workspace.load(), ["main/wbe"])
        with pytest.raises(UsageError, match="main/wbe: no state file names this target"):
            await workspace.plan(TargetSelection([Target("main", "wbe")]))


async def test_a_reading_workspace_refuses_to_write(repo: MemoryRepository) -> None:
    """Without the right to write the stores refuse it, whatever is asked of them."""
    repo.want({"a": 1})
    async with repo.open(writing=None) as workspace:
        plan = await workspace.plan()
        report = await workspace.apply(plan, command="test")
    assert outcomes(report) == {"a": "failed"}
    assert repo.writes() == 0
    assert repo.values() == {}


async def test_one_workspace_writes_and_others_read(repo: MemoryRepository) -> None:
    """While one process may write, another one that wants to is refused, and reading works next to it."""
    repo.want({"a": 1})
    async with repo.open("run"):
        with pytest.raises(LockHeld):
            async with repo.open("apply"):
                raise AssertionError
        assert rows(await repo.plan()) == [("create", "new", "a")]
    assert is_clean(await repo.apply())


async def test_a_broken_configuration_opens_nothing(repo: MemoryRepository) -> None:
    """Everything that is wrong with the configuration is said at once, with its place, and no state directory appears."""
    (repo.root / "kvsync.yaml").write_text("version: 1\nowner: a\nstores: {main: {type: memroy}}\nsatte: []\n")
    with pytest.raises(InvalidInput) as caught:
        async with repo.open():
            raise AssertionError
    places = {str(problem.origin).rsplit(":", 2)[0] for problem in caught.value.problems}
    assert len(caught.value.problems) >= 2
    assert places == {"kvsync.yaml"}
    assert not (repo.root / ".kvsync").exists()


async def test_an_environment_brings_its_overlays(repo: MemoryRepository) -> None:
    """Another environment is another desired state of the same target."""
    repo.configure(more="environments: [dev, prod]\nenvironment: dev\n")
    repo.want({"a": 1, "b": 1})
    repo.state("store: main\nnamespace: web\nkeys: {a: 2, b: {remove: true}}\n", "web.prod.yaml")
    assert is_clean(await repo.apply())
    assert repo.values() == {"a": "1", "b": "1"}
    assert is_clean(await repo.apply(environment="prod"))
    assert repo.values() == {"a": "2"}


async def test_a_broken_file_holds_its_target_and_no_other(repo: MemoryRepository) -> None:
    """The target of a file that cannot be used keeps its state; the others go on."""
    two_targets(repo)
    assert is_clean(await repo.apply())
    repo.state("store: main\nnamespace: web\nkeys: {a: {fiel: x}}\n")
    repo.state("store: main\nnamespace: api\nkeys: {a: 2}\n", "api.yaml")
    async with repo.open() as workspace:
        loaded = workspace.load()
        plan = await workspace.plan(loaded=loaded)
        report = await workspace.apply(plan, command="test")
    assert [str(problem.origin) for problem in loaded.problems] == ["state/web.yaml:3:11"]
    assert outcomes(report) == {"a": "applied"}
    assert {one.target for one in plan.targets if one.problems} == {Target("main", "web")}
    assert repo.values() == {"a": "1"}


async def test_a_run_with_nothing_to_do_leaves_no_trace_in_the_journal(repo: MemoryRepository) -> None:
    """Only runs that had something to write are history."""
    await repo.settle({"a": 1})
    report = await repo.apply()
    assert report.run is None
    async with repo.open(writing=None) as workspace:
        assert len(workspace.state.journal.runs()) == 1


async def test_the_journal_names_command_commit_and_counts(repo: MemoryRepository) -> None:
    """A run in the journal says what ran, at which commit, and what became of its changes."""
    (repo.root / ".git").mkdir()
    (repo.root / ".git/HEAD").write_text("1234567890123456789012345678901234567890\n")
    repo.want({"a": 1, "b": 1})
    report = await repo.apply()
    async with repo.open(writing=None) as workspace:
        run = workspace.state.journal.run(report.run or "")
        changes = workspace.state.journal.changes(run.id)
    assert (run.command, run.source) == ("test", "1234567890123456789012345678901234567890")
    assert run.summary["applied"] == 2
    assert [(str(one.identity), one.outcome, one.origin) for one in changes] == [
        ("a", "applied", "state/web.yaml:4:3"),
        ("b", "applied", "state/web.yaml:5:3"),
    ]


async def test_several_targets_of_one_store_are_applied_together(repo: MemoryRepository) -> None:
    """One run serves all targets, and each has its own outcomes."""
    for number in range(5):
        repo.state(f"store: main\nnamespace: n{number}\nkeys: {{a: 1}}\n", f"n{number}.yaml")
    report = await repo.apply()
    assert [outcome.kind.value for one in report.targets for outcome in one.outcomes] == ["applied"] * 5
    assert report.counts()["applied"] == 5
    async with repo.open(writing=None) as workspace:
        assert len(workspace.state.journal.runs()) == 1


async def test_rows_of_the_ledger_are_decoded_for_what_changed_alone(
    repo: MemoryRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of many entries, a plan makes values of the rows of those that it changes, and the plan and write of an apply of no
    others."""
    decoded: list[str | None] = []

    def decode(keys: SealingKeys, row: Sequence[Any]) -> Applied:
        decoded.append(row[5])
        return _applied(keys, row)

    entries = {f"k{number}": 1 for number in range(100)}
    await repo.settle(entries)
    monkeypatch.setattr("kvsync.state.ledger._applied", decode)
    assert rows(await repo.plan(writing="test")) == []
    assert decoded == [], "nothing changed"
    repo.edit("k1", "2")
    repo.want(entries | {"k2": 2})
    assert len(rows(await repo.plan(writing="test"))) == 2
    assert len(decoded) == 2
    await repo.apply()
    assert (len(decoded), len(set(decoded))) == (4, 2)


async def test_the_digest_of_a_plan_is_the_same_for_everybody(repo: MemoryRepository) -> None:
    """Planning twice, reading or writing, deep or not, gives one and the same digest."""
    await repo.settle({"a": 1, "b": 1})
    repo.want({"a": 2, "c": 1})
    digests = {
        (await repo.plan_all(ask, writing=writing)).digest
        for ask in (PassOptions(), PassOptions(deep=True))
        for writing in (None, "x")
    }
    assert len(digests) == 1


@pytest.mark.parametrize(
    ("given", "is_it"),
    [
        ("sha256:0123456789abc", True),
        ("0123456789ab", True),
        (" 0123456789ABCD ", True),
        ("0123456789a", False),
        ("sha256:", False),
        ("123456789abc", False),
        ("", False),
    ],
)
def test_a_hash_may_be_cut_to_twelve_digits(given: str, is_it: bool) -> None:
    """What a person types for a digest needs at least twelve digits of it, from its start."""
    assert is_hash_of(given, "sha256:0123456789abcdef") is is_it


class TestAccidents:
    """An exception that nobody expected in one store ends the work on its targets, and on no others."""

    @pytest.fixture
    def pair(self, repo: MemoryRepository) -> MemoryRepository:
        """A second store, which has accidents."""
        repo.configure(stores=f"bad: {{type: memory, shared: {repo.root}-bad}}\n")
        repo.want({"a": 1})
        repo.state("store: bad\nnamespace: web\nkeys: {b: 1}\n", "bad.yaml")
        return repo

    @pytest.mark.parametrize("method", ["locate", "observe", "read", "write"])
    async def test_in_a_store(self, pair: MemoryRepository, monkeypatch: pytest.MonkeyPatch, method: str) -> None:
        """Whichever call it is: the plan or the report of that target says what happened, and the other one is applied."""
        async with pair.open() as workspace:
            store = workspace.stores["bad"]
            monkeypatch.setattr(store._inner, method, accident, raising=False)  # type: ignore[attr-defined]
            report = await workspace.apply(await workspace.plan(), command="test")
        bad, good = report.targets
        said = " ".join(filter(None, (bad.plan.error, bad.error, *(one.error for one in bad.outcomes))))
        if method != "read":  # an entry that is new is not read
            assert "unexpected RuntimeError: boom; this is a bug in kvsync" in said
        assert [one.kind for one in good.outcomes] == ["applied"]
        assert pair.values() == {"a": "1"}

    @pytest.mark.parametrize("method", ["plan", "apply"])
    async def test_in_kvsync_itself(self, pair: MemoryRepository, monkeypatch: pytest.MonkeyPatch, method: str) -> None:
        """The same holds for what kvsync itself does with a target."""
        original = getattr(TargetPass, method)

        async def work(self: TargetPass, *given: object) -> object:
            return await (accident() if self.target.store == "bad" else original(self, *given))

        monkeypatch.setattr(TargetPass, method, work)
        async with pair.open() as workspace:
            report = await workspace.apply(await workspace.plan(), command="test")
        bad, _ = report.targets
        assert "unexpected RuntimeError: boom; this is a bug in kvsync" in (bad.plan.error or bad.error or "")
        assert pair.values() == {"a": "1"}

    async def test_a_shortage_of_the_machine_is_not_a_bug(
        self, pair: MemoryRepository, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Out of descriptors or memory: the target fails in words, and is tried again later."""

        async def short(*_given: object, **_named: object) -> None:
            raise OSError(24, "Too many open files")

        async with pair.open() as workspace:
            monkeypatch.setattr(workspace.stores["bad"]._inner, "observe", short)  # type: ignore[attr-defined]
            bad, _ = (await workspace.plan()).targets
            assert isinstance(workspace.failure(bad.target), TransientError)
        assert bad.error is not None
        assert "too many open files; raise the limit" in bad.error
        assert "bug" not in bad.error


async def accident(*_given: object, **_named: object) -> None:
    """What nobody expected."""
    raise RuntimeError("boom")


@pytest.mark.parametrize(
    ("kept", "changes", "most"), [(100_000, 1, 0), (5_000, 1, 2), (2, 1, 10), (100_000, 50, 5), (100_000, 100, 10)]
)
async def test_a_large_journal_is_not_searched_after_every_run(
    repo: MemoryRepository, monkeypatch: pytest.MonkeyPatch, kept: int, changes: int, most: int
) -> None:
    """To find what is to be forgotten, all runs are looked at: after every thousandth part of those that are kept, or after as
    many changes. A small journal never has more than it keeps, and one of large runs hardly more than its size."""
    repo.configure(more=f"journal: {{runs: {kept}}}")
    async with repo.open() as workspace:
        looks: list[None] = []
        prune = workspace.state.journal.prune
        monkeypatch.setattr(
            workspace.state.journal, "prune", lambda *given, **more: looks.append(prune(*given, **more))
        )
        for number in range(10):
            repo.want({f"a{key}": 0 for key in range(changes * (number + 1))})
            await workspace.apply(await workspace.plan(), command="run")
        assert len(looks) == most
        assert len(workspace.state.journal.runs(100)) == min(kept, 10)
