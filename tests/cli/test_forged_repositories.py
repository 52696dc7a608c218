"""`--as-author` and repositories that a change brings with it: none of them is taken for the one of the checkout."""

from __future__ import annotations

import shutil
import zlib
from pathlib import Path

import pytest

from kvsync.git.config_revision import TARGET_BRANCH_VARIABLES
from tests.ci.jobs import git
from tests.cli.conftest import CONFIGURATION, WEB, Repo

WIDER = CONFIGURATION.replace("prune: owned", "prune: scope")
LOOSE = f"{WEB}policy: {{prune: scope}}\n"


@pytest.fixture
def change(repo: Repo, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Repo:
    """A clone with the branch of a change checked out, whose configuration is in the folder `deploy`."""
    for name in TARGET_BRANCH_VARIABLES:
        monkeypatch.delenv(name, raising=False)  # of the CI that these tests may run in
    (repo.root / "deploy/state").mkdir(parents=True)
    (repo.root / "kvsync.yaml").rename(repo.root / "deploy/kvsync.yaml")
    repo.write("deploy/state/web.yaml", WEB)
    repo.write(".gitignore", ".kvsync/\n")
    names = getattr(request, "param", "sha1")
    git(repo.root, "init", "--quiet", "--initial-branch", "main", f"--object-format={names}")
    commit(repo.root)
    git(repo.root, "update-ref", "refs/remotes/origin/main", "HEAD")
    git(repo.root, "symbolic-ref", "refs/remotes/origin/HEAD", "refs/remotes/origin/main")
    git(repo.root, "checkout", "--quiet", "-b", "change")
    return repo


def commit(root: Path) -> None:
    """Commit everything."""
    git(root, "add", "--all")
    git(root, "commit", "--quiet", "--allow-empty", "-m", "x")


def forged(place: Path) -> Path:
    """A repository in which the target branch has a configuration with more rights."""
    place.mkdir()
    git(place, "init", "--quiet", "--initial-branch", "main")
    (place / "kvsync.yaml").write_text(WIDER)
    commit(place)
    git(place, "update-ref", "refs/remotes/origin/main", "HEAD")
    return place


@pytest.mark.parametrize("command", ["validate", "plan"])
def test_a_bare_repository_in_a_commit_is_not_asked(
    change: Repo, tmp_path_factory: pytest.TempPathFactory, command: str
) -> None:
    """Files that look like a bare repository, next to the configuration, do not say what the target branch has."""
    there = forged(tmp_path_factory.mktemp("attacker") / "forged")
    git(there, "config", "core.bare", "true")
    shutil.copytree(there / ".git", change.root / "deploy", dirs_exist_ok=True)
    change.write("deploy/kvsync.yaml", WIDER)
    change.write("deploy/state/web.yaml", LOOSE)
    commit(change.root)
    done = change.run("-c", "deploy/kvsync.yaml", command, "--as-author=refs/remotes/origin/main", code=78)
    assert "policy.prune: would delete every entry" in done.stderr


@pytest.mark.parametrize("change", ["sha1", "sha256"], indirect=True)
def test_a_forged_object_is_an_error(change: Repo) -> None:
    """The content of an object that is not the one of its name is not used, even for a commit given by its full hash."""
    commit_id = git(change.root, "rev-parse", "refs/remotes/origin/main")
    blob = git(change.root, "rev-parse", f"{commit_id}:deploy/kvsync.yaml")
    loose = change.root / ".git/objects" / blob[:2] / blob[2:]
    loose.chmod(0o600)
    loose.write_bytes(zlib.compress(f"blob {len(WIDER)}\0{WIDER}".encode()))
    done = change.run("-c", "deploy/kvsync.yaml", "validate", f"--as-author={commit_id}", code=1)
    assert f"the git object {blob} is damaged or forged" in done.stderr


def test_a_submodule_in_place_of_the_folder_is_not_asked(
    change: Repo, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """A change that makes the folder of the configuration a submodule is checked by the repository around it."""
    there = forged(tmp_path_factory.mktemp("attacker") / "forged")
    (there / "state").mkdir()
    (there / "state/web.yaml").write_text(LOOSE)
    commit(there)
    git(change.root, "rm", "-r", "--quiet", "deploy")
    shutil.rmtree(change.root / "deploy", ignore_errors=True)
    shutil.copytree(there, change.root / "deploy")
    modules = change.root / ".git/modules/deploy"
    modules.parent.mkdir()
    (change.root / "deploy/.git").rename(modules)
    (change.root / "deploy/.git").write_text("gitdir: ../.git/modules/deploy\n")
    done = change.run("-c", "deploy/kvsync.yaml", "validate", "--as-author=refs/remotes/origin/main", code=78)
    assert "policy.prune: would delete every entry" in done.stderr


def test_a_link_in_place_of_the_folder_is_not_followed(change: Repo) -> None:
    """A change cannot choose another folder of the target branch, whose configuration may allow more."""
    (change.root / "deploy").rename(change.root / "other")
    (change.root / "deploy").symlink_to("other")
    done = change.run("-c", "deploy/kvsync.yaml", "validate", "--as-author", code=1)
    assert "deploy: is a symbolic link, which is not followed with --as-author" in done.stderr
