"""Exports of the az CLI as state files."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.cli.runner import run_command

FLAG = "application/vnd.microsoft.appconfig.ff+json;charset=utf-8"
ITEMS: list[dict[str, Any]] = [
    {"key": "web:greeting", "value": "Hello", "label": None, "content_type": "", "tags": {}},
    {"key": "web:greeting", "value": "Hallo", "label": "de", "content_type": None, "tags": {"team": "web"}},
    {"key": "web:limits", "value": '{"rps":10}', "label": None, "content_type": "application/json", "tags": {}},
    {"key": "mail:from", "value": "a@example.com", "label": "prod"},
    {
        "key": "web:flag",
        "value": '{"id": "f", "enabled": true}',
        "content_type": FLAG,
        "tags": {"kvsync": "old-owner", "kvsync.ttl": "7200"},
    },
    {"key": "bare", "value": "no namespace"},
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "kvsync.yaml").write_text(
        "version: 1\nowner: me\npolicy: {prune: owned}\nstores:\n"
        "  settings: {type: azure-appconfig, connection_string: {env: NOT_SET}}\n  local: {type: sqlite, path: a.db}\n"
    )
    (tmp_path / "export.json").write_text(json.dumps({"items": ITEMS}))
    return tmp_path


def dump(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return run_command(["dump", *arguments, "--to", "state"], folder)


def test_an_export_becomes_state_files(folder: Path) -> None:
    """Every entry with a namespace is in the file of that namespace, as it was; the store itself is not asked."""
    done = dump(folder, "settings", "--kvset", "export.json")
    assert done.returncode == 3, done.stderr
    assert done.stdout.endswith(
        "settings: 1 key in no namespace, not written:\n  - bare: its key does not fit key_format\n"
    )
    assert sorted(file.name for file in (folder / "state").iterdir()) == ["mail.yaml", "web.yaml"]
    text = (folder / "state" / "web.yaml").read_text()
    assert "greeting: {value: Hello, labels: {de: {value: Hallo, tags: {team: web}}}}" in text
    assert 'limits: {json: {"rps": 10}}' in text
    assert "ttl: 2h" in text
    assert "old-owner" not in text
    run_command(["validate"], folder, code=0)


def test_one_namespace_of_an_export(folder: Path) -> None:
    """With a namespace, what is of another one is left out."""
    done = dump(folder, "settings/mail", "--kvset", "export.json")
    assert done.returncode == 0, done.stderr
    assert sorted(file.name for file in (folder / "state").iterdir()) == ["mail.yaml"]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ('{"items": [', "export.json:1:12: not valid JSON"),
        ('{"web:greeting": "Hello"}', "not a list of key-values"),
        ('{"items": {"key": "web:a"}}', "its items are not a list"),
        ('{"items": [{"key": "web:a", "tags": {"b": "1", "b": "2"}}]}', 'an object has the member "b" twice'),
        ('{"items": [{"value": "x"}, null]}', "item 0: not a key-value with a key"),
        ('{"items": [{"value": "x"}, null]}', "item 1: not a key-value with a key"),
        ('{"items": [{"key": "web:a", "value": 1}]}', 'item 0 ("web:a"): its value is not text'),
        ('{"items": [{"key": "web:a", "label": 3}]}', 'item 0 ("web:a"): its label is not text'),
        ('{"items": [{"key": "web:a", "content_type": 3}]}', 'item 0 ("web:a"): its content_type is not text'),
        ('{"items": [{"key": "web:a", "description": 3}]}', 'item 0 ("web:a"): its description is not text'),
        ('{"items": [{"key": "web:a", "tags": ["a"]}]}', 'item 0 ("web:a"): its tags are not pairs of text'),
        ('{"items": [{"key": "web:a", "tags": {"a": 1}}]}', 'item 0 ("web:a"): its tags are not pairs of text'),
        ('{"items": [{"key": "web:a", "value": "\\ud800"}]}', 'item 0 ("web:a"): it is not Unicode text'),
        (
            '{"items": [{"key": "web:a", "value": "1"}, {"key": "web:a", "value": "2"}]}',
            'item 1 ("web:a"): the same key and label',
        ),
    ],
)
def test_what_is_not_an_export(folder: Path, text: str, complaint: str) -> None:
    """A file of another kind is refused with its place and how to make the right one, and nothing is written."""
    (folder / "export.json").write_text(text)
    done = dump(folder, "settings", "--kvset", "export.json")
    assert done.returncode == 78
    assert complaint in done.stderr
    assert "--profile appconfig/kvset" in done.stderr
    assert not (folder / "state").exists()


def test_only_for_app_configuration(folder: Path) -> None:
    """An export belongs to a store of the type it comes from."""
    done = dump(folder, "local", "--kvset", "export.json")
    assert done.returncode == 64
    assert "azure-appconfig" in done.stderr
