"""`apply PLANFILE --exact`: the plan that was reviewed, or nothing."""

from __future__ import annotations

from tests.cli.conftest import WEB, Repo


def test_it_wants_a_plan_file(repo: Repo) -> None:
    """Without a file there is nothing to compare with."""
    assert "--exact compares with a plan file" in repo.run("apply", "--exact", "--yes", code=64).stderr


def test_another_target_counts(repo: Repo) -> None:
    """A change anywhere else that nobody has seen refuses the whole, though the saved targets are as they were."""
    repo.run("plan", "--out", "plan.json")
    repo.write("state/new.yaml", "store: local\nnamespace: new\nkeys: {k: v}\n")
    done = repo.run("apply", "plan.json", "--exact", code=4)
    assert "local/new: k: the plan is now to create it, which was not planned before" in done.stderr
    assert repo.held() == {}
    repo.run("apply", "plan.json")
    assert len(repo.held()) == 3  # what the file says is applied without --exact


def test_drift_since_counts(applied: Repo) -> None:
    """What somebody changed in the store meanwhile is to be reviewed too."""
    applied.write("state/web.yaml", WEB.replace("timeout: 30", "timeout: 31"))
    applied.run("plan", "--out", "plan.json")
    applied.drift()
    done = applied.run("apply", "plan.json", "--exact", code=4)
    assert "greeting: the plan is now to update it" in done.stderr
    assert applied.held()["timeout"] == "30"


def test_what_was_done_since_does_not_count(repo: Repo) -> None:
    """A run that stopped half-way is completed by the same plan file, and then nothing is left to do."""
    repo.run("plan", "--out", "plan.json")
    repo.run("apply", "--yes", "--key", "greeting")
    done = repo.json("apply", "plan.json", "--exact")
    assert done["summary"]["outcomes"]["applied"] == 2
    assert repo.json("apply", "plan.json", "--exact")["summary"]["outcomes"]["applied"] == 0


def test_files_that_broke_since_refuse(repo: Repo) -> None:
    """Where a target of the plan cannot be planned any more, nothing of any target is applied."""
    repo.write("state/new.yaml", "store: local\nnamespace: new\nkeys: {k: v}\n")
    repo.run("plan", "--out", "plan.json")
    repo.write("state/new.yaml", "store: local\nnamespace: new\nkeys: {k: null}\n")
    done = repo.run("apply", "plan.json", "--exact", code=4)
    assert "local/new: k: its target cannot be planned now" in done.stderr
    assert repo.held() == {}


def test_many_differences_are_counted(repo: Repo) -> None:
    """The refusal names twenty differences, and how many more there are."""
    repo.run("plan", "--out", "plan.json")
    repo.write(
        "state/new.yaml", f"store: local\nnamespace: new\nkeys: {{{', '.join(f'k{n}: v' for n in range(30))}}}\n"
    )
    done = repo.run("apply", "plan.json", "--exact", code=4)
    assert done.stderr.count("which was not planned before") == 20
    assert "and 10 more" in done.stderr
