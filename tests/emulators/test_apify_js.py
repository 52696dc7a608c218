"""The vendor's client for node, as it is."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from kvsync.emulators.server import Running
from tests.emulators.npm import SCRIPTS, installed


def test_the_js_client(apify: Running, tmp_path: Path) -> None:
    """The official JS client does everything it offers against the emulator, unchanged, and what it gets wrong goes wrong."""
    (tmp_path / "node_modules").symlink_to(installed("apify.json", "the JS client"))
    shutil.copy(SCRIPTS / "apify.mjs", tmp_path)
    env = {**os.environ, **apify.env}
    command = ["node", "apify.mjs"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=env, cwd=tmp_path, timeout=60)
    assert done.returncode == 0, done.stderr or done.stdout
    assert done.stdout.count("ok ") == 7
