"""`--as-author`: a change is checked and planned by the configuration of the target branch, never by its own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kvsync.git.config_revision import TARGET_BRANCH_VARIABLES
from tests.ci.jobs import git
from tests.cli.conftest import CONFIGURATION, WEB, Repo

WIDER = CONFIGURATION.replace("prune: owned", "prune: scope").replace("env: [", "env: ['*', ")
LOOSE = f"{WEB}policy: {{prune: scope}}\n"


@pytest.fixture
def change(repo: Repo, monkeypatch: pytest.MonkeyPatch) -> Repo:
    """A clone with the branch of a change checked out, and a target branch that was fetched."""
    for name in TARGET_BRANCH_VARIABLES:
        monkeypatch.delenv(name, raising=False)  # of the CI that these tests may run in
    repo.write(".gitignore", ".kvsync/\n")
    git(repo.root, "init", "--quiet", "--initial-branch", "main")
    commit(repo)
    git(repo.root, "update-ref", "refs/remotes/origin/main", "HEAD")
    git(repo.root, "symbolic-ref", "refs/remotes/origin/HEAD", "refs/remotes/origin/main")
    git(repo.root, "checkout", "--quiet", "-b", "change")
    return repo


def commit(repo: Repo) -> None:
    """Commit everything."""
    git(repo.root, "add", "--all")
    git(repo.root, "commit", "--quiet", "--allow-empty", "-m", "x")


@pytest.mark.parametrize("command", ["validate", "plan"])
def test_a_change_cannot_widen_its_own_rights(change: Repo, command: str) -> None:
    """A state file that needs the configuration of the same change is an error, which without the option it is not."""
    change.write("kvsync.yaml", WIDER)
    change.write("state/web.yaml", LOOSE)
    commit(change)
    change.run(command)
    for revision in ("--as-author", "--as-author=origin/main", "--as-author=HEAD^"):
        done = change.run(command, revision, code=78)
        assert "state/web.yaml:7:17: policy.prune: would delete every entry of the target" in done.stderr
        assert ("widens   stores.local.policy.prune" in done.stderr) is (command == "validate")


def test_it_says_what_a_change_widens(change: Repo) -> None:
    """A changed configuration is reported, what widens something first; state files that need nothing of it are fine."""
    change.write("kvsync.yaml", WIDER + "run: {every: 1m, max_deletes_per_hour: 6000}\n")
    told = change.run("validate", "--as-author").stdout.splitlines()
    head = "the configuration differs from that of refs/remotes/origin/HEAD, which was used to check the state files:"
    assert told[1:] == [
        head,
        '  widens   authors.env: lets state files read the variables "*"',
        "  widens   stores.local.policy.prune: lets kvsync delete every entry of the target that is not in the files, "
        "including those that kvsync did not write: scope, was owned",
        "  widens   run.max_deletes_per_hour: is now 6000; it was 5000",
        "  changes  run.every: changed",
    ]
    document = change.json("validate", "--as-author")["configuration"]
    assert document["commit"] == git(change.root, "rev-parse", "origin/main")
    assert [one["widens"] for one in document["changes"]] == [True, True, True, False]
    annotated = change.run("validate", "--as-author", "-o", "github").stdout
    assert annotated.count("::warning file=kvsync.yaml,line=") == 3
    assert annotated.count("::notice file=kvsync.yaml,line=") == 1


def test_a_change_that_breaks_the_configuration_is_an_error(change: Repo) -> None:
    """The configuration of the change must be valid, and fit the state files, too."""
    change.write("kvsync.yaml", CONFIGURATION.replace("owner:", "ownr:"))
    assert 'kvsync.yaml:2:1: unknown field "ownr"' in change.run("validate", "--as-author", code=78).stderr
    change.write("kvsync.yaml", CONFIGURATION.replace("local:", "other:"))
    done = change.run("validate", "--as-author", code=78)
    assert 'state/web.yaml:1:8: unknown store "local"' in done.stderr


def test_an_unchanged_configuration_says_nothing(change: Repo) -> None:
    """Without a change of the configuration the answer is that of a plain validate."""
    change.write("state/more.yaml", WEB.replace("web", "more"))
    assert change.run("validate", "--as-author").stdout == change.run("validate").stdout
    assert change.json("validate", "--as-author")["configuration"]["changes"] == []


@pytest.mark.parametrize(
    ("variables", "branch"),
    [
        ({"GITHUB_BASE_REF": "release"}, "release"),
        ({"CI_MERGE_REQUEST_TARGET_BRANCH_NAME": "release"}, "release"),
        ({"GITHUB_BASE_REF": ""}, "HEAD"),
    ],
)
def test_the_target_branch_is_the_one_that_ci_names(change: Repo, variables: dict[str, str], branch: str) -> None:
    """Without a revision it is the target branch of GitHub or GitLab, else the default branch of origin."""
    unset = {"GITHUB_BASE_REF": "", "CI_MERGE_REQUEST_TARGET_BRANCH_NAME": ""}
    if branch != "HEAD":
        done = change.run("validate", "--as-author", env=unset | variables, code=64)
        assert f"there is no refs/remotes/origin/{branch} in this clone; fetch it" in done.stderr
        git(change.root, "update-ref", f"refs/remotes/origin/{branch}", "HEAD")
    done = change.run("validate", "--as-author", env=unset | variables)
    assert f"using the configuration of refs/remotes/origin/{branch} (commit " in done.stderr


def test_a_tag_cannot_stand_in_for_the_branch(change: Repo) -> None:
    """A name that a tag or another branch shares is refused, and a full name never means a tag."""
    change.write("kvsync.yaml", WIDER)
    commit(change)
    git(change.root, "tag", "origin/main")
    done = change.run("validate", "--as-author=origin/main", code=64)
    assert "'origin/main' is ambiguous: refs/remotes/origin/main and refs/tags/origin/main" in done.stderr
    git(change.root, "tag", "refs/remotes/origin/next")
    assert (
        "there is no refs/remotes/origin/next"
        in change.run("plan", "--as-author=refs/remotes/origin/next", code=64).stderr
    )
    short = git(change.root, "rev-parse", "--short=8", "origin/main^{commit}".replace("origin", "refs/remotes/origin"))
    git(change.root, "tag", short)
    assert "is ambiguous" in change.run("validate", f"--as-author={short}", code=64).stderr


def test_an_object_cannot_be_exchanged(change: Repo) -> None:
    """A replacement object in the clone (refs/replace) does not change what the target branch says."""
    change.write("kvsync.yaml", WIDER)
    change.write("state/web.yaml", LOOSE)
    commit(change)
    blobs = [git(change.root, "rev-parse", f"{name}:kvsync.yaml") for name in ("refs/remotes/origin/main", "HEAD")]
    git(change.root, "replace", *blobs)
    change.run("validate", "--as-author", code=78)


@pytest.mark.parametrize("revision", ["nowhere", "-x", "a b", "main:kvsync.yaml", "HEAD^{blob}", "a*"])
def test_what_is_not_a_revision_is_a_usage_error(change: Repo, revision: str) -> None:
    """A revision that does not exist, or is none, ends with 64, and reaches git as nothing else."""
    assert revision.split(":")[0] in change.run("validate", f"--as-author={revision}", code=64).stderr


def test_a_folder_in_the_repository(change: Repo, tmp_path: Path) -> None:
    """The configuration may lie in a folder of the repository; one that the target branch lacks is an error."""
    folder = change.root / "config"
    (folder / "state").mkdir(parents=True)
    (folder / "kvsync.yaml").write_text(CONFIGURATION)
    (folder / "state/web.yaml").write_text(LOOSE)
    done = change.run("-c", "config/kvsync.yaml", "validate", "--as-author", code=78)
    assert "refs/remotes/origin/HEAD does not contain kvsync.yaml" in done.stderr
    commit(change)
    git(change.root, "update-ref", "refs/remotes/origin/main", "HEAD")
    (folder / "kvsync.yaml").write_text(WIDER)
    done = change.run("-c", "config/kvsync.yaml", "validate", "--as-author", code=78)
    assert "policy.prune" in done.stderr


def test_outside_of_a_repository(repo: Repo) -> None:
    """Without a repository around the configuration it is an error, and says what git says."""
    assert "not a git repository" in repo.run("validate", "--as-author", code=1).stderr


def test_the_option_may_come_from_the_environment(change: Repo) -> None:
    """KVSYNC_AS_AUTHOR sets it for every command that has it."""
    change.write("kvsync.yaml", WIDER)
    change.write("state/web.yaml", LOOSE)
    change.run("plan", env={"KVSYNC_AS_AUTHOR": "origin/main"}, code=78)
    assert json.loads(change.run("plan", "-o", "json").stdout)["owner"] == "tester"


def test_a_change_does_not_choose_where_state_is_kept(change: Repo) -> None:
    """The state directory that a changed configuration names is not made when the change is only checked."""
    change.write("kvsync.yaml", f"{CONFIGURATION}state_dir: elsewhere\n")
    told = change.run("validate", "--as-author").stdout
    assert "widens   state_dir: changed" in told
    assert not (change.root / "elsewhere").exists()


def test_a_change_does_not_choose_what_is_fetched(change: Repo, tmp_path: Path) -> None:
    """A changed `source` is reported and not used: it would show a credential of this machine to a server of its choice."""
    there = tmp_path / "there"
    there.mkdir()
    git(there, "init", "--quiet", "--initial-branch", "main")
    (there / "state").mkdir()
    (there / "state" / "web.yaml").write_text(LOOSE)
    git(there, "add", "--all")
    git(there, "commit", "--quiet", "-m", "x")
    change.write("kvsync.yaml", f"{CONFIGURATION}source: {{git: {{url: 'file://{there}', ref: main}}}}\n")
    done = change.run("validate", "--as-author")
    assert "widens   source: changed" in done.stdout
    assert "commit" not in done.stderr.replace("(commit", "")


@pytest.mark.parametrize("name", ["kvsync.yaml", "kvsync.more.yaml"])
def test_a_change_does_not_choose_which_file_is_the_configuration(change: Repo, tmp_path: Path, name: str) -> None:
    """A link in place of the configuration is not followed: an error would show what is in the file that it leads to."""
    (tmp_path / "password").write_text("hunter2")
    (change.root / name).unlink(missing_ok=True)
    (change.root / name).symlink_to(tmp_path / "password")
    done = change.run("validate", "--as-author", code=78 if name == "kvsync.yaml" else 0)
    assert "hunter2" not in done.stdout + done.stderr
    assert ("kvsync.yaml: is a symbolic link" in done.stderr) is (name == "kvsync.yaml")


def test_overlays_come_from_the_target_branch_too(change: Repo) -> None:
    """A change cannot widen its rights in an overlay, and what it widens there is listed with its environment."""
    declared = f"{CONFIGURATION}environments: [dev, prod]\n"
    change.write("kvsync.yaml", declared)
    commit(change)
    git(change.root, "update-ref", "refs/remotes/origin/main", "HEAD")
    change.write("kvsync.prod.yaml", "policy: {prune: scope}\n")
    change.write("state/web.prod.yaml", "policy: {prune: scope}\n")
    commit(change)
    change.run("--env", "prod", "validate")
    done = change.run("--env", "prod", "validate", "--as-author", code=78)
    assert "state/web.prod.yaml:1:17: policy.prune: would delete every entry" in done.stderr
    assert "widens   stores.local.policy.prune: lets kvsync delete every entry" in done.stderr
    done = change.run("validate", "--as-author", code=78)
    assert "scope, was owned (in prod)" in done.stderr
    (change.root / "kvsync.prod.yaml").unlink()
    (change.root / "kvsync.prod.yaml").symlink_to("/etc/hostname")
    assert "kvsync.prod.yaml: is a symbolic link" in change.run("validate", "--as-author", code=78).stderr
