"""The manifests for Kubernetes as files: well laid out, complete by the schemas, with a configuration that holds."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from kvsync import __version__
from kvsync.app.configuration import read_config
from kvsync.cli.main import run as kvsync
from tests.deploy.manifests import FOLDER, check
from tests.deploy.parts import ROOT

FILES = sorted(FOLDER.rglob("*.yaml"))
PATCHES = ("sidecar.yaml", "replicas.yaml", "egress.yaml")
WHOLE = [path for path in FILES if path.name not in (*PATCHES, "kustomization.yaml", "kvsync.yaml")]
CONFIGS = [path for path in FILES if path.name == "kvsync.yaml"]


def name(path: Path) -> str:
    return path.relative_to(FOLDER).as_posix()


def test_yamllint_has_nothing_to_say() -> None:
    """What people copy and edit is laid out in one way."""
    yamllint = [sys.executable, "-m", "yamllint", "--strict", "-c", str(ROOT / ".yamllint.yaml"), str(ROOT / "deploy")]
    done = subprocess.run(yamllint, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize("path", WHOLE, ids=name)
def test_every_resource_is_as_kubernetes_knows_it(path: Path) -> None:
    """Each file holds against the schemas, strictly, of the oldest and the newest Kubernetes it is for."""
    for resource in yaml.safe_load_all(path.read_text(encoding="utf-8")):
        check(resource)


def test_the_image_is_of_this_version() -> None:
    """The manifests run the kvsync that they are shipped with."""
    tags = [re.findall(r"newTag: (\S+)", path.read_text(encoding="utf-8")) for path in FILES]
    assert {tag for found in tags for tag in found} == {__version__}


@pytest.mark.parametrize("path", CONFIGS, ids=name)
def test_every_configuration_holds(path: Path) -> None:
    """kvsync reads each configuration of the manifests without a complaint."""
    assert read_config(path, environ={}).owner == "payments-gitops"


def test_the_configuration_for_git_sync_holds(tmp_path: Path) -> None:
    """The configuration that the documentation shows for a repository next to git-sync is valid."""
    page = (ROOT / "docs/kubernetes.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"^```yaml\n(version: 1\n.*?)^```", page, re.MULTILINE | re.DOTALL)
    path = tmp_path / "kvsync.yaml"
    path.write_text(block)
    assert read_config(path, environ={}).run.listen == "0.0.0.0:9464"


def test_a_checkout_next_to_the_configuration(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With the configuration of the git-sync overlay, the checkout behind the link is read, the next one after a flip, and a
    kvsync.yaml in the repository counts for nothing."""
    shutil.copy(FOLDER / "overlays/git-sync/kvsync.yaml", tmp_path)
    repository = tmp_path / "repository"
    for name, keys in (("first", "a: 1"), ("second", "a: 1\n  b: {env: HOME}")):
        (repository / f".worktrees/{name}/state/web").mkdir(parents=True)
        (repository / f".worktrees/{name}/state/web/web.yaml").write_text(
            f"store: edge\nnamespace: web\nkeys:\n  logo: {{file: logo.txt}}\n  {keys}\n"
        )
        (repository / f".worktrees/{name}/state/web/logo.txt").write_text("logo")
        (repository / f".worktrees/{name}/kvsync.yaml").write_text("authors: {env: ['*']}\n")
    command = ["-c", str(tmp_path / "kvsync.yaml"), "validate"]
    (repository / "current").symlink_to(".worktrees/first")
    assert kvsync(command) == 0
    assert "valid: 2 entries, 1 target, 1 file" in capsys.readouterr().out
    (repository / "next").symlink_to(".worktrees/second")
    (repository / "next").replace(repository / "current")
    assert kvsync(command) == 78
    assert (
        "repository/current/state/web/web.yaml:6:12: keys.b.env: would write the variable HOME"
        in capsys.readouterr().err
    )
