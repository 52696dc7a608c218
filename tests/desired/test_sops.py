"""Secrets that live encrypted in Git, with the real `sops` program and age keys."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from kvsync.model.entry import Target
from tests.desired.conftest import CONFIG, WEB, Repo
from tests.support.age import AgeKey, new_key

BIN = str(Path(sys.executable).parent)
PASSWORD = "correct horse battery staple"
PLAIN = f"db:\n  password: {PASSWORD}\n  port: 5432\n  hosts: [a, b]\na.b: {{c: dotted}}\n"


@pytest.fixture(scope="module")
def key() -> AgeKey:
    return new_key()


@pytest.fixture(scope="module")
def encrypted(key: AgeKey) -> bytes:
    return encrypt(key, PLAIN)


def encrypt(key: AgeKey, text: str, *options: str) -> bytes:
    """A YAML text as `sops` encrypts it."""
    command = [f"{BIN}/sops", "--encrypt", "--age", key.recipient, *options]
    command += ["--input-type", "yaml", "--output-type", "yaml", "/dev/stdin"]
    return subprocess.run(command, input=text.encode(), capture_output=True, check=True, timeout=60).stdout


@pytest.fixture
def secrets(repo: Repo, key: AgeKey, encrypted: bytes) -> Iterator[Repo]:
    """A repository with an encrypted file, and the key in the environment."""
    repo.environ.update({"PATH": f"{BIN}:{os.environ['PATH']}", "SOPS_AGE_KEY": key.secret})
    repo.write("secrets/prod.sops.yaml", encrypted)
    yield repo
    for file in repo.root.rglob("*"):
        assert file.is_dir() or PASSWORD.encode() not in file.read_bytes(), file


def one(file: str = "../secrets/prod.sops.yaml", key: str = "db.password") -> str:
    return f"{{sops: {{file: {file}, key: {key}}}}}"


def test_values_come_from_encrypted_files(secrets: Repo) -> None:
    """Texts, numbers and data of an encrypted file are values, always sensitive, and never on disk."""
    secrets.cache = secrets.root / "cache.db"
    secrets.web(f"""
        vars: {{password: {one()}}}
        keys:
          password: {one()}
          port: {one(key="db.port")}
          hosts: {one(key="db.hosts")}
          host: {one(key="db.hosts.1")}
          dotted: {one(key="[a.b, c]")}
          dsn: {{template: "db://x:${{password}}@h"}}
    """)
    loaded = secrets.load()
    assert loaded.problems == ()
    found = {str(name): entry for name, entry in loaded.targets[WEB].entries.items()}
    assert {name: entry.content.value.decode() for name, entry in found.items()} == {
        "password": PASSWORD,
        "port": "5432",
        "hosts": '["a","b"]',
        "host": "b",
        "dotted": "dotted",
        "dsn": f"db://x:{PASSWORD}@h",
    }
    assert all(entry.sensitive for entry in found.values())
    assert PASSWORD in loaded.secrets


def test_state_file_can_be_encrypted_as_a_whole(secrets: Repo, key: AgeKey) -> None:
    """All values of a `*.sops.yaml` state file are sensitive, and errors in it repeat nothing of its text."""
    text = f"store: edge\nnamespace: web\nkeys:\n  a: {PASSWORD}\n  b: {{json: {{c: 1}}}}\n"
    secrets.write("state/web.sops.yaml", encrypt(key, text))
    entries = secrets.entries()
    assert [entry.content.value for entry in entries.values()] == [PASSWORD.encode(), b'{"c":1}']
    assert all(entry.sensitive for entry in entries.values())
    secrets.write("state/web.sops.yaml", encrypt(key, text.replace("{json: {c: 1}}", "{value: x, ttl: hunter2}")))
    [found] = secrets.problems()
    assert found.startswith("state/web.sops.yaml:")
    assert "keys.b.ttl: expected a duration" in found
    assert "hunter2" not in found


def test_missing_key_holds_only_the_targets_concerned(secrets: Repo, key: AgeKey) -> None:
    """Without the key, what needs it keeps its state, and everything else goes on."""
    secrets.web(f"keys: {{a: {one()}}}\n")
    shown = "store: edge\nnamespace: whole\nkeys: {a: x}\n"
    secrets.write("state/whole.sops.yaml", encrypt(key, shown, "--encrypted-regex", "^keys$"))
    secrets.write("state/other.yaml", "store: edge\nnamespace: other\nkeys: {a: x}\n")
    del secrets.environ["SOPS_AGE_KEY"]
    secrets.environ["HOME"] = "/nonexistent"
    loaded = secrets.load()
    assert set(loaded.held) == {WEB, Target("edge", "whole")}
    assert not loaded.hold_all
    web, whole = map(str, loaded.problems)
    assert web.startswith("state/web.yaml:3:")
    assert f"sops cannot decrypt it: {key.recipient}: failed to load age identities; give kvsync the private key" in web
    assert whole.startswith("state/whole.sops.yaml:1:1: cannot read the file: sops cannot decrypt it")


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        (one(key="db.nothing"), "the decrypted file has no such key"),
        (one(key="db.hosts.7"), "the decrypted file has no such key"),
        (
            one(file="nothing.yaml"),
            'it does not exist (paths are relative to the folder of this file; this one is "state/nothing.yaml")',
        ),
        (one(file="plain.yaml"), "it is not encrypted with SOPS"),
        (one(file="broken.yaml"), "it is not a single valid YAML document"),
        (one(file="/etc/passwd"), "is absolute"),
        (one(file="../kvsync.yaml"), "it is the configuration"),
        ("{sops: {file: x}}", 'keys.a.sops: missing field "key"'),
        ("{sops: {file: plain.yaml, key: a}, sensitive: false}", "it is not encrypted with SOPS"),
    ],
)
def test_mistakes_are_reported_with_their_place(secrets: Repo, entry: str, expected: str) -> None:
    """Each mistake is at its line, and none shows what was decrypted."""
    secrets.write("state/plain.yaml", "store: edge\nnamespace: plain\nkeys: {}\n")
    secrets.write("state/broken.yaml", "a: [")
    secrets.web(f"keys: {{a: {entry}}}\n")
    found = [line for line in secrets.problems() if line.startswith("state/web.yaml:3:")]
    assert expected in found[0]
    assert PASSWORD not in " ".join(found)


def test_authors_files_bounds_encrypted_files(secrets: Repo) -> None:
    """`{sops: …}` reads only where `{file: …}` may."""
    secrets.write("kvsync.yaml", CONFIG.replace('authors: {env: ["*"]}', "authors: {files: [state]}"))
    secrets.web(f"keys: {{a: {one()}}}\n")
    assert "outside the folders in authors.files" in secrets.problems()[0]


def test_keys_over_the_network_need_the_operator(secrets: Repo, encrypted: bytes) -> None:
    """A file cannot make sops show credentials to an address that the author chose."""
    vault = b"sops:\n    hc_vault:\n        - vault_address: https://evil.example\n          key_name: b\n"
    secrets.write("secrets/prod.sops.yaml", encrypted.replace(b"sops:\n", vault, 1))
    secrets.web(f"keys: {{a: {one()}}}\n")
    [found] = secrets.problems()
    assert "sops: {keys: [age, pgp, hc_vault]}" in found


def test_program_is_bounded_and_may_be_missing(secrets: Repo) -> None:
    """A program that hangs, writes without end, or is not there, is an error that says what to do."""
    program = secrets.write("bin/sops", "#!/bin/sh\nexec sleep 60\n")
    program.chmod(0o755)
    secrets.write("kvsync.yaml", f"{CONFIG}sops: {{program: {program}, timeout: 200ms}}\n")
    secrets.web(f"keys: {{a: {one()}}}\n")
    assert "sops took longer than 0.2 s; see sops.timeout" in secrets.problems()[0]
    program.write_text("#!/bin/sh\nexec cat /dev/zero\n")
    secrets.write("kvsync.yaml", f"{CONFIG}sops: {{program: {program}}}\n")
    assert "MiB when decrypted" in secrets.problems()[0]
    program.unlink()
    assert "install SOPS, or set sops.program" in secrets.problems()[0]


def test_unchanged_file_is_decrypted_once(secrets: Repo) -> None:
    """The program runs once for the content of a file, also when the state file changes."""
    log = secrets.root / "runs.txt"
    program = secrets.write("bin/sops", f'#!/bin/sh\necho run >> {log}\nexec {BIN}/sops "$@"\n')
    program.chmod(0o755)
    secrets.write("kvsync.yaml", f"{CONFIG}sops: {{program: {program}}}\n")
    source = None
    for number in range(3):
        secrets.web(f"keys: {{a: {one()}, b: {number}}}\n")
        source = source or secrets.source()
        assert source.load().problems == ()
    assert log.read_text() == "run\n"
