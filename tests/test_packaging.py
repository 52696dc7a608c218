"""What an installation rests on: pinned, hashed, and from nowhere in particular."""

from __future__ import annotations

import json
import os
import re
import sys
import tarfile
import tomllib
import venv
import zipfile
from contextlib import ExitStack
from importlib.metadata import Distribution, distribution
from pathlib import Path
from subprocess import PIPE, STDOUT, Popen, run

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from kvsync import __version__
from kvsync.emulators import TYPES

ROOT = Path(__file__).resolve().parent.parent
PINS = sorted(ROOT.glob("requirements*.txt"))


@pytest.mark.parametrize("pins", PINS, ids=lambda path: path.name)
def test_every_package_is_pinned_by_hash_and_no_index_is_named(pins: Path) -> None:
    """Each requirement has one exact version and at least one hash, and no line says where packages come from."""
    text = pins.read_text(encoding="utf-8")
    requirements = re.split(r"\n(?=\S)", text.strip())
    assert all(re.match(r"[a-z0-9.-]+==\S+ ", requirement) for requirement in requirements)
    assert all("--hash=sha256:" in requirement for requirement in requirements)
    assert "://" not in text


def test_pins_agree() -> None:
    """A package has the same version for running, building and testing."""
    versions: dict[str, set[str]] = {}
    for pins in PINS:
        for name, version in re.findall(r"^([a-z0-9.-]+)==(\S+)", pins.read_text(encoding="utf-8"), re.MULTILINE):
            versions.setdefault(name, set()).add(version)
    assert {name: found for name, found in versions.items() if len(found) > 1} == {}


def _closure(*requirements: str) -> dict[str, Distribution]:
    """The installed distributions that some requirements lead to, by name."""
    found: dict[str, Distribution] = {}
    pending = [Requirement(one) for one in requirements]
    while pending:
        wanted = pending.pop()
        extras = wanted.extras or {""}
        known = found.setdefault(canonicalize_name(wanted.name), distribution(wanted.name))
        needs = [Requirement(one) for one in known.requires or ()]
        pending += [
            one
            for one in needs
            if canonicalize_name(one.name) not in found
            and (one.marker is None or any(one.marker.evaluate({"extra": extra}) for extra in extras))
        ]
    return found


def _bare_environment(folder: Path, *requirements: str) -> Path:
    """A virtual environment with what pip would install for these requirements, as links, and nothing else. Returns its
    interpreter."""
    venv.create(folder, symlinks=True)
    (site,) = folder.glob("lib/python*/site-packages")
    for found in _closure(*requirements).values():
        for top in {file.parts[0] for file in found.files or () if file.parts[0] not in ("..", "__pycache__")}:
            if not (site / top).exists():
                (site / top).symlink_to(str(found.locate_file(top)))
    return folder / "bin/python"


def built(source: Path, target: str, into: Path, **environ: str) -> Path:
    """The sdist or wheel of a source folder."""
    environ = {"PATH": os.environ["PATH"], **environ}
    run([sys.executable, "-m", "hatchling", "build", "-t", target, "-d", into], cwd=source, env=environ, check=True)
    (made,) = into.iterdir()
    return made


@pytest.mark.system
def test_packages_know_their_commit_and_bring_manuals_and_completions(tmp_path: Path) -> None:
    """A wheel that is built from the sdist, without Git, shows the commit of the sdist, and installs the files under share/."""
    sdist = built(ROOT, "sdist", tmp_path / "sdist", KVSYNC_COMMIT="0123456789ab")
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path / "source", filter="data")
    (source,) = (tmp_path / "source").iterdir()
    with zipfile.ZipFile(built(source, "wheel", tmp_path / "wheel")) as wheel:
        wheel.extractall(tmp_path / "installed")
    shown = run(
        [sys.executable, "-P", "-m", "kvsync", "--version"],
        env={"PYTHONPATH": str(tmp_path / "installed")},
        stdout=PIPE,
        check=True,
    )
    assert shown.stdout == f"kvsync {__version__} (commit 0123456789ab)\n".encode()
    (shared,) = (tmp_path / "installed").glob("*.data/data/share")
    names = {file.relative_to(shared) for file in shared.rglob("*") if file.is_file()}
    assert names == {file.relative_to(ROOT / "share") for file in (ROOT / "share").rglob("*") if file.is_file()}


@pytest.mark.system
def test_the_emulators_run_with_what_their_extra_installs(tmp_path: Path) -> None:
    """Every emulator starts, also with TLS, in an environment that holds kvsync[emulate] and nothing else."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    python = _bare_environment(tmp_path, *project["dependencies"], *project["optional-dependencies"]["emulate"])
    environ = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}
    with ExitStack() as running:
        for type_ in TYPES:
            command = [str(python), "-m", "kvsync", "emulate", type_, "--tls"]
            process = Popen(command, cwd=tmp_path, env=environ, stdout=PIPE, stderr=STDOUT, text=True)
            running.callback(process.wait)
            running.callback(process.terminate)
            assert process.stdout is not None
            line = running.enter_context(process.stdout).readline()
            assert json.loads(line)["url"].startswith("https://"), line
