"""A changed configuration is described: what it allows or reaches that was not before, and what it changes besides."""

from __future__ import annotations

from pathlib import Path

import pytest

from kvsync.app.configuration import read_config
from kvsync.config.changes import changes
from kvsync.config.model import Config

BASE = """\
version: 1
owner: us
state: ["state/**/*.yaml"]
policy: {prune: owned, drift: gate, ignore: [a, b]}
stores:
  edge: {type: apify, token: {env: EDGE}}
  core: {type: memory}
run: {every: 5m, max_deletes_per_hour: 100, windows: [{deny: "0 22 * * 5", for: 1h}]}
authors:
  env: ["APP_*"]
  files: [state]
  targets: [{path: "state/web/**", stores: [edge]}]
"""


def config(folder: Path, text: str) -> Config:
    (folder / "kvsync.yaml").write_text(text)
    return read_config(folder / "kvsync.yaml", environ={})


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ('env: ["APP_*"]', 'env: ["APP_*", X]', ["+authors.env"]),
        ('env: ["APP_*"]', "env: []", ["-authors.env"]),
        ("files: [state]", "files: [.]", ["+authors.files", "-authors.files"]),
        ('  targets: [{path: "state/web/**", stores: [edge]}]\n', "", ["+authors.targets"]),
        ("stores: [edge]}]", "stores: [edge]}, {path: a.yaml}]", ["+authors.targets"]),
        ("stores: [edge]}]", "stores: [edge, core]}]", ["+authors.targets", "-authors.targets"]),
        ("authors:\n", "authors:\n  policy: any\n", ["+authors.policy"]),
        ("prune: owned", "prune: scope", ["+stores.core.policy.prune", "+stores.edge.policy.prune"]),
        ("prune: owned", "prune: off", ["-stores.core.policy", "-stores.edge.policy"]),
        ("drift: gate", "drift: heal", [f"+stores.{store}.policy.drift.{name}" for store in ("core", "edge") for name in (
            "conflict", "drifted", "missing")]),
        ("ignore: [a, b]", "ignore: [b]", ["+stores.core.policy.ignore", "+stores.edge.policy.ignore"]),
        ("ignore: [a, b]", "ignore: []", ["+stores.core.policy.ignore", "+stores.edge.policy.ignore"]),
        ("token: {env: EDGE}", "token: {env: OTHER}", ["+credentials", "+stores.edge"]),
        ("core: {type: memory}", "core: {type: memory, endpoint: 'https://h'}", ["+stores.core"]),
        ("core: {type: memory}", "core: {type: memory, timeout: 5s}", ["-stores.core"]),
        ("core: {type: memory}", "core: {type: memory}\n  more: {type: memory}", ["+stores.more"]),
        ("  core: {type: memory}\n", "", ["-stores.core"]),
        ("owner: us", "owner: them", ["+owner"]),
        ("owner: us", "owner: us\nowner_key: {env: KEY}", ["+owner_key"]),
        ('state: ["state/**/*.yaml"]', 'state: ["**/*.yaml"]', ["+state"]),
        ("every: 5m", "every: 1m", ["-run.every"]),
        ("max_deletes_per_hour: 100", "max_deletes_per_hour: 101", ["+run.max_deletes_per_hour"]),
        ("max_deletes_per_hour: 100", "max_deletes_per_hour: 99", ["-run.max_deletes_per_hour"]),
        (', windows: [{deny: "0 22 * * 5", for: 1h}]', "", ["+run.windows"]),
        ("version: 1\n", "version: 1\n\n# moved down\n", []),
    ],
)  # fmt: skip
def test_each_change_is_reported(tmp_path: Path, old: str, new: str, expected: list[str]) -> None:
    """`+` is what widens; what only moves in the file is not a change."""
    assert old in BASE
    found = changes(config(tmp_path, BASE), config(tmp_path, BASE.replace(old, new)))
    assert sorted(("+" if one.widens else "-") + one.field for one in found) == sorted(expected)
    assert [one.widens for one in found] == sorted((one.widens for one in found), reverse=True)


def test_no_secret_is_reported(tmp_path: Path) -> None:
    """A store that leads elsewhere is described by the names of its fields, never by their values."""
    after = config(tmp_path, BASE.replace("token: {env: EDGE}", "token: {env: EDGE}, endpoint: 'https://h/s3cret'"))
    (one,) = changes(config(tmp_path, BASE), after)
    assert one.message == "points to another place or uses another credential (endpoint)"
