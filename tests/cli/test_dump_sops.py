"""`kvsync dump --sops`: sensitive values go into an encrypted file, and come back from it."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from tests.cli.conftest import CONFIGURATION, Repo
from tests.support.age import new_key

PATH = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
SECRET = "correct horse battery staple"


def test_dump_encrypts_sensitive_values(repo: Repo) -> None:
    """A plan after a dump to encrypted files is empty, and no value was on disk in plain text."""
    key = new_key()
    environ = {"PATH": PATH, "SOPS_AGE_KEY": key.secret, "TOKEN": SECRET}
    repo.write("kvsync.yaml", f"{CONFIGURATION}state_dir: .kvsync\n")
    repo.write("state/web.yaml", "store: local\nnamespace: web\nkeys: {a: x, api.token: {env: TOKEN}}\n")
    repo.run("apply", "--yes", env=environ)
    done = repo.run("dump", "local/web", "--to", "state", "--force", "--sops", key.recipient, env=environ)
    assert "1 sensitive value was encrypted with SOPS" in done.stdout
    written = list((repo.root / "state").iterdir())
    assert sorted(file.name for file in written) == ["web-secrets.sops.json", "web.yaml"]
    assert not any(SECRET.encode() in file.read_bytes() for file in written)
    assert '{sops: {file: "./web-secrets.sops.json", key: API_TOKEN}}' in (repo.root / "state/web.yaml").read_text()
    del environ["TOKEN"]
    repo.run("plan", "--exit-code", env=environ)
    assert SECRET not in repo.run("plan", "-o", "json", env=environ).stdout


def test_dump_names_a_recipient_that_cannot_be_used(repo: Repo) -> None:
    """Nothing is written when nothing can be encrypted."""
    done = repo.run("dump", "local/web", "--to", "out", "--sops", "nobody", code=64)
    assert "--sops needs an age recipient" in done.stderr
    assert not (repo.root / "out").exists()
