"""The Dockerfile as a file: linted, and saying what a careful reader wants to see."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from tests.deploy.parts import ROOT

TEXT = (ROOT / "Dockerfile").read_text(encoding="utf-8")


def test_hadolint_has_nothing_to_say() -> None:
    """The linter for Dockerfiles finds nothing, and what it is told to overlook has a reason next to it."""
    hadolint = Path(sys.executable).with_name("hadolint")
    done = subprocess.run([hadolint, ROOT / "Dockerfile"], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (0, "")
    assert all("  # " in line for line in TEXT.splitlines() if "hadolint ignore" in line)


def test_every_package_of_the_image_is_pinned_by_hash() -> None:
    """Whatever pip takes from an index in the build has to have a known hash."""
    installs = re.findall(r"pip[^\n]* install [^\n]*", TEXT)
    assert installs
    assert all("--require-hashes" in line or "--no-deps /kvsync/*.whl" in line for line in installs)


def test_nothing_of_the_repository_gets_in_unasked() -> None:
    """The build sees only what the Dockerfile copies: no .git, no state directory, no file someone left lying about."""
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    allowed = {line.removeprefix("!") for line in ignored if line.startswith("!")}
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", TEXT, re.MULTILINE)
    assert "*" in ignored
    assert allowed == {name for line in copied for name in line.split()}
