"""Files for `wrangler kv bulk put` as state files."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.cli.runner import run_command

PAIRS: list[dict[str, Any]] = [
    {"key": "greeting", "value": "Hello"},
    {"key": "binary", "value": "AAH/", "base64": True},
    {"key": "meta", "value": "x", "metadata": {"region": "eu"}},
    {"key": "promo", "value": "x", "expiration_ttl": 7200},
    {"key": "sale", "value": "on", "expiration": 4070908800},
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "kvsync.yaml").write_text(
        "version: 1\nowner: me\npolicy: {prune: owned}\nstores:\n"
        "  edge: {type: cloudflare-kv, account_id: abc, token: {env: NOT_SET}}\n"
        '  labelled: {type: cloudflare-kv, account_id: abc, token: {env: NOT_SET}, key_format: "app/{key}"}\n'
        "  local: {type: sqlite, path: a.db}\n"
    )
    (tmp_path / "bulk.json").write_text(json.dumps(PAIRS))
    return tmp_path


def kvsync(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return run_command(arguments, folder)


def test_a_bulk_file_becomes_a_state_file(folder: Path) -> None:
    """Every pair is in the state file as it was, with its metadata, bytes and lifetime; the store itself is not asked."""
    done = kvsync(folder, "dump", "edge/web", "--wrangler", "bulk.json", "--to", "state")
    assert done.returncode == 0, done.stderr
    text = (folder / "state/web.yaml").read_text()
    for line in (
        "greeting: Hello",
        'binary: {base64: "AAH/"}',
        "metadata: {",
        "ttl: 2h",
        'expires_at: "2099-01-01T00:00:00Z"',
    ):
        assert line in text, text
    assert kvsync(folder, "validate").returncode == 0


def test_keys_of_another_format_are_left_out(folder: Path) -> None:
    """Names that are none of the store's key format are named and left out."""
    (folder / "bulk.json").write_text(json.dumps([*PAIRS, {"key": "app/a", "value": "1"}]))
    done = kvsync(folder, "dump", "labelled/web", "--wrangler", "bulk.json", "--to", "state")
    assert done.returncode == 3
    assert "edge" not in done.stdout
    assert (
        "labelled: 5 keys in no namespace, not written:\n  - greeting: its key does not fit key_format\n" in done.stdout
    )
    assert "a: " in (folder / "state/web.yaml").read_text()


def test_an_entry_that_no_file_can_hold_keeps_no_other_out(folder: Path) -> None:
    """Metadata with half of a surrogate pair is named with the reason, and all other entries are written."""
    (folder / "bulk.json").write_text(json.dumps([*PAIRS, {"key": "half", "value": "x", "metadata": {"r": "\ud83d"}}]))
    done = kvsync(folder, "dump", "edge/web", "--wrangler", "bulk.json", "--to", "state")
    assert done.returncode == 3
    assert "edge/web: 5 entries written\n" in done.stdout
    assert "  - half: metadata is not Unicode text: it has half of a surrogate pair\n" in done.stdout
    assert kvsync(folder, "validate").returncode == 0


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "not valid JSON"),
        ('{"key": "a"}', "not a list"),
        ('[{"value": "x"}, {"key": "a", "value": 1}]', 'entry 1 ("a"): its value is not text'),
        ('[{"key": "a", "value": "secret!", "base64": true}]', 'entry 0 ("a"): its value is not base64'),
        ('[{"key": "a", "value": "x", "base64": "true"}]', "base64 is neither true nor false"),
        (
            '[{"key": "a", "value": "x", "expirationTtl": 3600}]',
            'unknown member "expirationTtl" (did you mean "expiration_ttl"?)',
        ),
        (
            '[{"key": "a", "value": "x", "expiration": 1999999999000}]',
            "expiration is after the year 9999; write seconds",
        ),
        ('[{"key": "a", "value": "x"}, {"key": "a", "value": "x"}]', 'entry 1 ("a"): the same key as entry 0'),
        ('[{"key": "\\ud800", "value": "x"}]', "its key is not Unicode text"),
        ('[{"key": "a", "value": "x", "expiration_ttl": 0}]', "expiration_ttl is not a positive number"),
        ('[{"key": "a", "value": "secret!", "value": "x"}]', 'the entry "a" has the member "value" twice'),
        ('[{"key": "a", "value": "x", "metadata": {"r": NaN}}]', "not valid JSON: NaN is not a number"),
    ],
)
def test_what_is_wrong_with_the_file_is_reported(folder: Path, content: str, words: str) -> None:
    """A file that is no such list, or holds entries that are none, is refused with all that is wrong, and no value repeated."""
    (folder / "bulk.json").write_text(content)
    done = kvsync(folder, "dump", "edge/web", "--wrangler", "bulk.json", "--to", "state")
    assert done.returncode == 78
    assert words in done.stderr
    assert "secret!" not in done.stderr
    assert not (folder / "state").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ("local/web", "--wrangler", "bulk.json"),
        ("edge", "--wrangler", "bulk.json"),
        ("edge/web", "--wrangler", "none.json"),
        ("edge/web", "--wrangler", "bulk.json", "--kvset", "bulk.json"),
    ],
)
def test_what_makes_no_sense_is_a_usage_error(folder: Path, arguments: tuple[str, ...]) -> None:
    """Another type of store, no namespace, no file, or two files at once end with the exit code for usage."""
    assert kvsync(folder, "dump", *arguments, "--to", "state").returncode == 64
