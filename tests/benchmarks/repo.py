"""A synthetic repository for measuring: many files, many entries, in the forms that people mix."""

from __future__ import annotations

from pathlib import Path

CONFIG = """\
version: 1
owner: bench
state: ["state/**/*.yaml"]
stores:
  local: {type: sqlite, path: .kvsync/store.db}
policy:
  prune: owned
  guard: {max_delete_pct: 100, max_update_pct: 100, max_deletes: 1000000}
run:
  every: 1h
"""

_FORMS = (
    *["  {key}: some value number {n} of the shop, long enough to be real text\n"] * 6,
    '  {key}: {{value: "value {n}", content_type: text/plain}}\n',
    "  {key}:\n    json: {{rps: {n}, burst: 20, zones: [eu, us]}}\n",
    "  {key}:\n    value: value {n}\n    tags: {{tier: gold}}\n",
    "  {key}: {n}\n",
)


def write_repo(root: Path, files: int, entries_each: int, namespaces: int = 20) -> list[Path]:
    """Write `files` state files of `entries_each` entries, spread over `namespaces`; returns the files."""
    state = root / "state"
    state.mkdir(parents=True)
    (root / "kvsync.yaml").write_text(CONFIG)
    return [_write_file(state, number, entries_each, namespaces) for number in range(files)]


def _write_file(state: Path, number: int, entries: int, namespaces: int) -> Path:
    head = f"store: local\nnamespace: ns{number % namespaces:02d}\ndefaults: {{tags: {{team: shop}}}}\nkeys:\n"
    lines = [
        _FORMS[index % len(_FORMS)].format(
            key=f"svc{number:04d}.feature{index:03d}.setting", n=number * entries + index
        )
        for index in range(entries)
    ]
    file = state / f"f{number:04d}.yaml"
    file.write_text(head + "".join(lines))
    return file
