"""Waves: a target is applied once those of the earlier waves are in sync and have rested."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from kvsync.app import Report, TargetSelection
from kvsync.app.permit import split
from kvsync.app.reconciler import WorkspaceReconciler
from kvsync.app.release import plan_release
from kvsync.app.wave_wait import WaveWait
from kvsync.cli.exit_codes import Exit, of_reports
from kvsync.daemon.ports import PassRequest
from kvsync.model.entry import Target
from kvsync.model.pass_options import PassOptions
from kvsync.model.plan import TargetReport
from kvsync.model.result import PassResult
from kvsync.model.wave import WavePosition
from kvsync.testing import FakeClock
from kvsync.util.waits import WAITS
from tests.support.memory_repository import MemoryRepository

DEV, PROD = Target("main", "dev"), Target("main", "prod")
BAKE = 600


@pytest.fixture
def repo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MemoryRepository:
    repo = MemoryRepository(tmp_path, monkeypatch)
    configure(repo, BAKE)
    return repo


def configure(repo: MemoryRepository, bake: int, more: str = "", policy: str = "{}") -> None:
    repo.configure(policy, more=f"waves: [{{targets: [main/dev], bake: {bake}s{more}}}]")


def want(repo: MemoryRepository, value: str, *namespaces: str, more: str = "") -> None:
    for one in namespaces or ("dev", "prod"):
        repo.state(f"store: main\nnamespace: {one}\nkeys: {{a: {value}{more}}}\n", f"{one}.yaml")


def held(repo: MemoryRepository, namespace: str) -> dict[str, str]:
    return {slot.key: entry.content.value.decode() for slot, entry in repo.server.held.get(namespace, {}).items()}


def of(reports: tuple[TargetReport, ...], target: Target) -> TargetReport:
    return next(one for one in reports if one.plan.target == target)


async def test_without_a_bake_one_command_applies_wave_after_wave(repo: MemoryRepository) -> None:
    """The earlier wave is written first, and the later one in the same run."""
    configure(repo, 0)
    want(repo, "1")
    report = await repo.apply()
    assert [one.early for one in report.targets] == [None, None]
    assert (held(repo, "dev"), held(repo, "prod")) == ({"a": "1"}, {"a": "1"})
    async with repo.open(None) as workspace:
        changes = list(workspace.state.journal.changes(report.run or ""))
    assert [one.target for one in changes] == [DEV, PROD]


async def test_the_later_wave_waits_out_the_bake_in_other_processes(repo: MemoryRepository) -> None:
    """A held target is not written, its plan and report say why and until when, and the command is refused. The rest goes on in
    the next process."""
    want(repo, "1")
    report = await repo.apply()
    early = of(report.targets, PROD).early or ""
    assert early.startswith("waits for wave 1 of 2 (main/dev): baking until ")
    assert of_reports(report.targets, problems=False, held=()) is Exit.REFUSED
    repo.clock.advance(BAKE - 1)
    async with repo.open(None) as workspace:
        marked = workspace.with_approvals(await workspace.plan())
        assert [one.wave for one in marked.targets] == [
            WavePosition(1, 2),
            WavePosition(2, 2, early, repo.clock.now() + 1),
        ]
    await repo.apply()
    assert held(repo, "prod") == {}
    repo.clock.advance(1)
    await repo.apply()
    assert held(repo, "prod") == {"a": "1"}


async def test_a_change_of_the_earlier_wave_starts_the_bake_again(repo: MemoryRepository) -> None:
    """What the later wave gets has rested in the earlier one. A change of the later wave alone does not wait."""
    want(repo, "1")
    await repo.apply()
    repo.clock.advance(BAKE - 1)
    want(repo, "2")
    await repo.apply()
    repo.clock.advance(BAKE - 1)
    await repo.apply()
    assert held(repo, "prod") == {}
    repo.clock.advance(1)
    await repo.apply()
    want(repo, "3", "prod")
    await repo.apply()
    assert held(repo, "prod") == {"a": "3"}


async def test_a_failed_wave_leaves_the_later_ones_untouched(repo: MemoryRepository) -> None:
    """An entry of another owner in the earlier wave is a failure of it, which the held target names."""
    configure(repo, 0)
    want(repo, "1")
    repo.server.write("dev", "a", b"theirs")
    report = await repo.apply()
    assert of(report.targets, PROD).early == ("waits for wave 1 of 2 (main/dev): main/dev is not in sync: 1 refused")
    assert held(repo, "prod") == {}


@pytest.mark.parametrize("broken", ["keys: {a: [}", "keys: {a: null}"])
async def test_a_broken_file_of_the_earlier_wave_holds_the_later(repo: MemoryRepository, broken: str) -> None:
    """Nobody knows what the earlier wave should be."""
    configure(repo, 0)
    want(repo, "1")
    await repo.apply()
    repo.state(f"store: main\nnamespace: dev\n{broken}\n", "dev.yaml")
    want(repo, "2", "prod")
    await repo.apply()
    assert held(repo, "prod") == {"a": "1"}


async def test_a_part_of_the_earlier_wave_is_not_the_wave(repo: MemoryRepository) -> None:
    """Neither some of its keys nor the later wave alone: both leave the later wave held."""
    configure(repo, 0)
    repo.state("store: main\nnamespace: dev\nkeys: {a: 1, b: 1}\n", "dev.yaml")
    want(repo, "1", "prod")
    async with repo.open() as workspace:
        for options, targets in ((PassOptions(keys=("a",)), None), (PassOptions(), [PROD])):
            plan = await workspace.plan(TargetSelection(targets, options))
            await workspace.apply(plan, command="test")
    assert (held(repo, "dev"), held(repo, "prod")) == ({"a": "1"}, {})


async def test_a_run_that_is_killed_leaves_the_later_wave_held(repo: MemoryRepository) -> None:
    """A wave whose outcome was not recorded has not been in sync, however long ago it last was."""
    want(repo, "1")
    await repo.apply()
    repo.clock.advance(BAKE)
    want(repo, "2")
    async with repo.open() as workspace:
        plan = await workspace.plan()
        workspace.waves.begin(await workspace.waves.permitted(plan.targets[:1]))
    async with repo.open() as workspace:
        plan = await workspace.plan(TargetSelection([PROD]))
        report = await workspace.apply(plan, command="test")
    assert "it is being applied" in (report.targets[0].early or "")


async def test_renewals_and_adoptions_are_never_held(repo: MemoryRepository) -> None:
    """A held target keeps its entries alive; everything else of it waits."""
    configure(repo, 0)
    want(repo, "{value: x, ttl: 3h}")
    await repo.apply()
    repo.clock.advance(2.5 * 3600)
    want(repo, "{value: x, ttl: 3h}", "prod", more=", b: 1")
    repo.state("store: main\nnamespace: dev\nkeys: {a: [}\n", "dev.yaml")
    report = await repo.apply()
    kinds = {one.identity.key: (one.action.value, one.kind.value) for one in of(report.targets, PROD).outcomes}
    assert kinds == {"a": ("renew", "applied"), "b": ("create", "not-attempted")}


async def test_a_release_is_not_held(repo: MemoryRepository) -> None:
    """Ownership can be given up whatever the earlier wave is like."""
    configure(repo, 0)
    want(repo, "1")
    await repo.apply()
    repo.state("store: main\nnamespace: dev\nkeys: {a: [}\n", "dev.yaml")
    async with repo.open("release") as workspace:
        report = await workspace.apply(
            await plan_release(workspace, workspace.load(), ["main/prod"], ()), command="release"
        )
    assert [one.kind.value for one in of(report.targets, PROD).outcomes] == ["applied"]
    assert [entry.mark for entry in repo.server.held["prod"].values()] == [None]


async def test_a_daemon_comes_back_when_the_bake_is_over(repo: MemoryRepository) -> None:
    """A held pass is not a failure, says why, and asks for the next pass at the end of the bake; a clock that is set forward
    ends no bake early."""
    want(repo, "1")

    async def reconcile(target: Target) -> PassResult:
        await reconciler.load()
        return await reconciler.reconcile(PassRequest(target), lambda: False)

    async with repo.open("run") as workspace:
        reconciler = WorkspaceReconciler(workspace, workspace.pass_context, {})
        first = await reconcile(PROD)
        assert "main/dev has not been applied yet" in (first.early or "")
        assert (await reconcile(DEV)).early is None
        waits = await reconcile(PROD)
        assert (waits.ok, waits.next_moment, waits.pending) == (True, repo.clock.now() + BAKE, 1)
        repo.clock.step(2 * BAKE)
        assert (await reconcile(PROD)).pending == 1
        repo.clock.advance(BAKE)
        done = await reconcile(PROD)
    assert (done.early, done.pending) == (None, 0)
    assert held(repo, "prod") == {"a": "1"}


async def early_of(repo: MemoryRepository, target: Target = PROD) -> str | None:
    """Apply, and return why the target waits."""
    return of((await repo.apply()).targets, target).early


@pytest.mark.parametrize("held_by", ["pause", "report", "guard"])
async def test_drift_that_is_not_healed_in_the_earlier_wave_holds_the_later(
    repo: MemoryRepository, held_by: str
) -> None:
    """Whatever keeps the earlier target from being healed: the wave is not over, although its files were applied and have
    rested."""
    policies = {"report": "{drift: report}", "guard": "{guard: {max_update_pct: 1, min_existing: 1}}"}
    configure(repo, 0, policy=policies.get(held_by, "{}"))
    want(repo, "1")
    await repo.apply()
    (mark,) = (entry.mark for entry in repo.server.held["dev"].values())
    repo.server.write("dev", "a", b"drifted", mark=mark)
    repo.state("store: main\nnamespace: prod\nkeys: {a: 1, b: 1}\n", "prod.yaml")
    async with repo.open() as workspace:
        if held_by == "pause":
            workspace.state.pauses.pause("main", "dev", None, repo.clock.now())
        permitted = split(workspace, await workspace.plan())
        report = await workspace.apply(permitted.plan, command="test")
    assert "main/dev is not in sync" in (of(report.targets, PROD).early or "")
    assert (held(repo, "dev"), held(repo, "prod")) == ({"a": "drifted"}, {"a": "1"})


async def test_a_target_that_joins_an_earlier_wave_holds_the_later(repo: MemoryRepository) -> None:
    """While a later wave is applied a target is added to an earlier one: what is left of the later wave waits for it."""
    repo.configure(more=f"waves: [{{targets: ['main/dev*'], bake: {BAKE}s}}]")
    want(repo, "1")
    await repo.apply()
    repo.clock.advance(BAKE)
    want(repo, "1", "dev2")
    assert await early_of(repo) is not None
    assert (held(repo, "dev2"), held(repo, "prod")) == ({"a": "1"}, {})
    repo.clock.advance(BAKE)
    assert await early_of(repo) is None


async def test_an_undone_wave_holds_the_later(repo: MemoryRepository) -> None:
    """A change that was undone in the earlier wave does not reach the later one, even before its next pass."""
    want(repo, "1")
    await repo.apply()
    repo.clock.advance(BAKE)
    await repo.apply()
    want(repo, "2")
    report = await repo.apply()
    repo.clock.advance(BAKE)
    await repo.undo(report.run or "")
    async with repo.open() as workspace:
        plan = await workspace.plan(TargetSelection([PROD]))
        await workspace.apply(plan, command="test")
    assert await early_of(repo) is not None
    assert (held(repo, "dev"), held(repo, "prod")) == ({"a": "1"}, {"a": "1"})


async def test_another_place_behind_the_earlier_target_holds_the_later(repo: MemoryRepository) -> None:
    """What was applied to the earlier wave was applied elsewhere."""
    want(repo, "1")
    await repo.apply()
    repo.clock.advance(BAKE)
    repo.configure(more=f"waves: [{{targets: [main/dev], bake: {BAKE}s}}]", options=", key_format: 'x/{key}'")
    async with repo.open() as workspace:
        report = await workspace.apply(await workspace.plan(TargetSelection([PROD])), command="test")
    assert "main/dev has not been applied since its files or its place changed" in (report.targets[0].early or "")


async def test_files_that_are_read_during_a_pass_are_not_what_it_applied(repo: MemoryRepository) -> None:
    """A daemon reads newer files while a pass of the earlier wave is under way: the later wave waits for a pass with those."""
    configure(repo, 0)
    want(repo, "1")
    async with repo.open() as workspace:
        plan = await workspace.plan(TargetSelection([DEV]))
        want(repo, "2")
        newer = workspace.load()
        await workspace.apply(plan, command="test")
        report = await workspace.apply(await workspace.plan(TargetSelection([PROD]), newer), command="test")
    assert "main/dev has not been applied since its files or its place changed" in (report.targets[0].early or "")


PASSES = "#!/bin/sh\nexit 0\n"
FAILS = "#!/bin/sh\necho deploy failed >&2\nexit 3\n"


@pytest.mark.parametrize("owner", ["earlier", "later"])
async def test_a_probe_that_fails_holds_the_later_wave(repo: MemoryRepository, owner: str) -> None:
    """Between two waves, the probes of both must succeed. A failed one is asked again after a while."""
    probe, name = "probe: {command: [./probe]}", "its own probe"
    if owner == "earlier":
        configure(repo, 0, f", {probe}")
        name = "the probe of wave 1 of 2 (main/dev)"
    else:
        repo.configure(more=f"waves: [{{targets: [main/dev]}}, {{targets: [main/prod], {probe}}}]")
    program = repo.root / "probe"
    program.write_text(FAILS)
    program.chmod(0o700)
    want(repo, "1")
    async with repo.open() as workspace:
        report = await workspace.apply(await workspace.plan(), command="test")
        assert of(report.targets, PROD).early == f"waits for {name}: ./probe: exit code 3: deploy failed"
        assert (held(repo, "dev"), held(repo, "prod")) == ({"a": "1"}, {})
        program.write_text(PASSES)
        repo.clock.advance(30)
        await workspace.apply(await workspace.plan(), command="test")
    assert held(repo, "prod") == {"a": "1"}


async def test_a_probe_is_asked_again_once_the_earlier_wave_was_written(repo: MemoryRepository) -> None:
    """An answer from before, however new, says nothing about what was written since."""
    configure(repo, 0, ", probe: {command: [./probe]}")
    program = repo.root / "probe"
    program.write_text(PASSES)
    program.chmod(0o700)
    want(repo, "1")
    async with repo.open() as workspace:
        await workspace.apply(await workspace.plan(), command="test")
        want(repo, "2")
        program.write_text(FAILS)
        repo.clock.advance(1)
        await workspace.apply(await workspace.plan(), command="test")
    assert (held(repo, "dev"), held(repo, "prod")) == ({"a": "2"}, {"a": "1"})


async def test_what_is_only_observed_holds_no_later_wave(repo: MemoryRepository) -> None:
    """kvsync never brings such an entry to what the file says, so that waiting for it would never end."""
    configure(repo, 0)
    repo.server.write("dev", "a", b"theirs")
    want(repo, "{value: ours, mode: observe}", "dev", more=", b: 1")
    want(repo, "1", "prod")
    await repo.apply()
    assert held(repo, "prod") == {"a": "1"}


async def test_environments_that_share_a_state_directory_do_not_mix_their_waves(repo: MemoryRepository) -> None:
    """A bake in one environment neither ends nor restarts that of another with the same names of targets."""
    more = f"environments: [one, two]\nwaves: [{{targets: [main/dev], bake: {BAKE}s}}]"
    repo.configure(more=more)
    want(repo, "1")
    await repo.apply(environment="one")
    repo.clock.advance(BAKE)
    assert of((await repo.apply(environment="two")).targets, PROD).early is not None
    assert of((await repo.apply(environment="one")).targets, PROD).early is None


async def test_nothing_is_kept_of_waves_that_are_gone(repo: MemoryRepository) -> None:
    """Neither of a target that no file names any more, nor of waves that are no longer configured."""
    want(repo, "1", "dev", "prod")
    repo.configure(more="waves: [{targets: ['main/*'], bake: 1h}]")
    await repo.apply()
    (repo.root / "state" / "prod.yaml").unlink()
    await repo.apply()
    async with repo.open(None) as workspace:
        assert workspace.state.waves.all().keys() == {DEV}
    repo.configure()
    await repo.apply()
    async with repo.open(None) as workspace:
        assert workspace.state.waves.all() == {}


async def wait_and_apply(
    repo: MemoryRepository, seconds: float, meanwhile: Callable[[], None]
) -> tuple[Report, set[str]]:
    """Apply with a wait for earlier waves, during which `meanwhile` is called. Returns what was waited for, too."""
    waits: set[str] = set()

    class WatchedClock(FakeClock):
        async def sleep(self, seconds: float) -> None:
            if not waits:
                meanwhile()
            wait = WAITS.longest()
            waits.add("" if wait is None else wait.reason)
            await super().sleep(seconds)

    clock = WatchedClock(repo.clock.now())
    async with repo.open(clock=clock) as workspace:
        workspace.waves.waiting = WaveWait(seconds)
        return await workspace.apply(await workspace.plan(), command="test"), waits


async def test_apply_waits_for_the_bake_if_asked(repo: MemoryRepository) -> None:
    """Wave after wave, in one run; progress shows what for."""
    want(repo, "1")
    report, waits = await wait_and_apply(repo, BAKE, lambda: None)
    assert held(repo, "prod") == {"a": "1"}
    assert [one.early for one in report.targets] == [None, None]
    assert [one.partition(" until ")[0] for one in waits] == ["wave 1 of 2 (main/dev): baking"]


@pytest.mark.parametrize("what", ["drift", "pause", "too long"])
async def test_what_comes_up_during_the_wait_holds_the_later_wave(repo: MemoryRepository, what: str) -> None:
    """The earlier wave is looked at again after the wait, and so are pauses; a bake longer than allowed is not waited for."""

    def meanwhile() -> None:
        if what == "drift":
            (mark,) = (entry.mark for entry in repo.server.held["dev"].values())
            repo.server.write("dev", "a", b"drifted", mark=mark)
        else:
            state.pauses.pause("main", "prod", "frozen", repo.clock.now())

    want(repo, "1")
    async with repo.open(None) as other:
        state = other.state
        report, waits = await wait_and_apply(repo, BAKE - (what == "too long"), meanwhile)
    reasons = {"drift": "main/dev is not in sync: 1 pending", "pause": "paused (frozen)", "too long": "baking until"}
    assert reasons[what] in (of(report.targets, PROD).early or "")
    assert (len(waits), held(repo, "prod")) == (0 if what == "too long" else 1, {})
