"""Clients that come as npm packages, installed once into the user's cache; where that cannot be, tests skip and say why."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parent / "js"
_SECONDS = 250


def installed(manifest: str, what: str) -> Path:
    """The folder `node_modules` with what a manifest in `js/` asks for. No package's own install script is run."""
    if not (shutil.which("node") and shutil.which("npm")):
        pytest.skip(f"{what} is not tried: install node 20 or newer and npm to have it tried")
    wanted = (SCRIPTS / manifest).read_bytes()
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = cache / "kvsync-tests" / f"js-{hashlib.sha256(wanted).hexdigest()[:12]}"
    if not (folder / "node_modules/.package-lock.json").exists():
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "package.json").write_bytes(wanted)
        install = ["npm", "install", "--no-audit", "--no-fund", "--silent", "--ignore-scripts"]
        try:
            done = subprocess.run(install, cwd=folder, capture_output=True, text=True, check=False, timeout=_SECONDS)
        except subprocess.TimeoutExpired:
            shutil.rmtree(folder)  # it may lack files that npm believes to be there
            pytest.skip(f"{what} is not tried: npm install took more than {_SECONDS} s")
        if done.returncode:
            pytest.skip(
                f"{what} is not tried: npm install failed; it needs a package index ({done.stderr.strip()[-200:]})"
            )
    return folder / "node_modules"
