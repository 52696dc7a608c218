"""`apply PLANFILE --exact`: the plan that was reviewed, or nothing."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from kvsync.app import saved_plan
from kvsync.errors import InvalidInput
from tests.cli.conftest import WEB, Repo


def test_it_wants_a_plan_file(repo: Repo) -> None:
    """Without a file there is nothing to compare with."""
    assert "--exact needs a plan file" in repo.run("apply", "--exact", "--yes", code=64).stderr


def test_another_target_counts(repo: Repo) -> None:
    """A change anywhere else that nobody has seen refuses the whole, though the saved targets are as they were."""
    repo.run("plan", "--out", "plan.json")
    repo.write("state/new.yaml", "store: local\nnamespace: new\nkeys: {k: v}\n")
    done = repo.run("apply", "plan.json", "--exact", code=4)
    assert "local/new: k: the new plan would create it, the saved plan would not" in done.stderr
    assert repo.held() == {}
    repo.run("apply", "plan.json")
    assert len(repo.held()) == 3  # what the file says is applied without --exact


def test_drift_since_counts(applied: Repo) -> None:
    """What someone changed in the store meanwhile is to be reviewed too."""
    applied.write("state/web.yaml", WEB.replace("timeout: 30", "timeout: 31"))
    applied.run("plan", "--out", "plan.json")
    applied.drift()
    done = applied.run("apply", "plan.json", "--exact", code=4)
    assert "greeting: the new plan would update it" in done.stderr
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
    assert done.stderr.count("the saved plan would not") == 20
    assert "and 10 more" in done.stderr


def altered(repo: Repo) -> None:
    """Change a sentence of a saved plan that only people read."""
    file = repo.root / "plan.json"
    document = json.loads(file.read_text())
    document["summary"]["create"] = 0
    file.write_text(json.dumps(document))


def test_an_altered_file_is_refused(repo: Repo) -> None:
    """A plan file that someone changed, in whatever part, is not the reviewed one: nothing is applied."""
    repo.run("plan", "--out", "plan.json")
    altered(repo)
    done = repo.run("apply", "plan.json", "--exact", code=4)
    assert "plan.json: the file was changed after kvsync saved it, so nothing was applied" in done.stderr
    assert repo.held() == {}


def test_an_altered_file_is_reported(repo: Repo) -> None:
    """Without --exact a changed file can only leave changes out; that it was changed is said."""
    repo.run("plan", "--out", "plan.json")
    altered(repo)
    done = repo.run("apply", "plan.json")
    assert "the file was changed after kvsync saved it; only the changes that a new plan also contains" in done.stderr
    assert len(repo.held()) == 3


@pytest.mark.parametrize("part", ["seal", "summary"])
def test_a_file_of_another_key_is_refused(repo: Repo, part: str) -> None:
    """The file names the key that signed it: naming another one is not a way around the signature."""
    repo.run("plan", "--out", "plan.json")
    file = repo.root / "plan.json"
    document = json.loads(file.read_text())
    document["seal"] = "0" * len(document["seal"])
    if part == "summary":
        document["summary"]["create"] = 0
    file.write_text(json.dumps(document))
    done = repo.run("apply", "plan.json", "--exact", code=4)
    assert "saved with another state directory (another key)" in done.stderr
    assert repo.held() == {}


def test_another_key_says_what_it_cannot_check(repo: Repo, tmp_path: Path) -> None:
    """Planned on one machine and applied on another without a key in common: without --exact, what cannot be checked is said,
    and what protects instead. With the same key nothing needs to be said."""
    repo.run("plan", "--out", "plan.json")
    key = (repo.root / ".kvsync/key").read_bytes()
    shutil.rmtree(repo.root / ".kvsync")
    assert "give both state directories the same file" in repo.run("apply", "plan.json", "--exact", code=4).stderr
    done = repo.run("apply", "plan.json")
    assert "cannot verify that the file is unchanged" in done.stderr
    assert "applies only the changes that both plans contain" in done.stderr
    (repo.root / ".kvsync/key").write_bytes(key)
    assert "cannot verify" not in repo.run("apply", "plan.json", "--exact").stderr


def test_an_endless_file_is_refused(repo: Repo, monkeypatch: pytest.MonkeyPatch) -> None:
    """A plan file is read as far as one may reach, and no further."""
    monkeypatch.setattr(saved_plan, "_MOST_BYTES", 2**20)
    with pytest.raises(InvalidInput, match="/dev/zero: not a plan file: it has more than 1 MiB"):
        saved_plan.read("/dev/zero", None)  # type: ignore[arg-type]
