"""The command `kvsync init`."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import click

from kvsync.cli.command import GlobalOptions, command
from kvsync.cli.exit_codes import Exit
from kvsync.cli.output import print_lines
from kvsync.errors import KvsyncError, UsageError

_CONFIGURATION: Final = """\
version: 1
owner: {owner}    # kvsync marks every entry it writes with this id, and deletes only marked entries

state: ["state/**/*.yaml"]    # the files that describe the entries

# environments: [dev, prod]    # with --env prod, kvsync.prod.yaml overrides this file, and state/web.prod.yaml state/web.yaml

stores:
  local: {{type: sqlite, path: .kvsync/store.db}}    # "kvsync stores" lists all types

policy:
  prune: owned        # delete entries that are no longer in the files, if kvsync wrote them
  adopt: if-equal     # take ownership of existing entries that match the files; leave others unchanged
  drift: heal         # restore entries that were changed by hand

authors:              # limits for the authors of state files
  policy: tighten     # state files may make the policy stricter, never looser
  env: []             # environment variables that {{env: NAME}} may read, such as [APP_*]

run:
  every: 5m           # how often "kvsync run" checks for drift; file changes are applied immediately
"""

_STATE: Final = """\
# Entries of the namespace "web" in the store "local".
store: local
namespace: web
keys:
  greeting: Hello
  timeout: 30                  # the text as written: 30
  limits:
    json: {rps: 10, burst: 25}
  promo: {value: "10 %", ttl: 7d}
"""

_IGNORED: Final = ".kvsync/\n"

_README: Final = """\
# {owner}

Key-value configuration, kept in sync by kvsync.

    kvsync validate     # check the files
    kvsync plan         # show the changes
    kvsync apply        # apply them
    kvsync run          # start the daemon, which keeps the stores in sync

The state files are in `state/`, the stores are configured in `kvsync.yaml`. kvsync keeps its own data in `.kvsync/`, which Git
ignores.
"""


@command(
    "init",
    short_help="Create a small working repository.",
    examples=("init", "init shop"),
    exits=(Exit.DONE, Exit.ERROR),
)
@click.argument("directory", default=".", metavar="[DIR]")
def init(_settings: GlobalOptions, directory: str) -> Exit:
    """Create a small working repository in DIR (default: the current folder): kvsync.yaml with a SQLite store, a state file, a
    README, and a .gitignore. Existing files are never overwritten.
    """
    folder = Path(directory)
    files = _files(folder)
    _require_new_files(files)
    for file, text in files.items():
        _write(file, text)
    ignore_state_dir(folder / ".gitignore")
    go = [] if directory == "." else [f"  cd {directory}"]
    print_lines(f"Wrote {', '.join(map(str, files))}.", "", "Next:", *go, "  kvsync plan", "  kvsync apply")
    return Exit.DONE


def _files(folder: Path) -> dict[Path, str]:
    owner = "".join(
        char if char.isascii() and (char.isalnum() or char in "._-") else "-" for char in folder.resolve().name
    )
    owner = owner.strip("-.")[:64] or "my-configuration"
    return {
        folder / "kvsync.yaml": _CONFIGURATION.format(owner=owner),
        folder / "state" / "web.yaml": _STATE,
        folder / "README.md": _README.format(owner=owner),
    }


def _require_new_files(files: dict[Path, str]) -> None:
    there = [str(file) for file in files if file.exists() and file.name != "README.md"]
    if there:
        raise UsageError(f"{', '.join(there)}: already exists, and init never overwrites files; choose another folder")


def _write(file: Path, text: str) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("x", encoding="utf-8") as stream:
            stream.write(text)
    except FileExistsError:
        if file.name != "README.md":  # someone's own words; the rest was checked
            raise KvsyncError(
                f"{file}: already exists, and init never overwrites files; choose another folder"
            ) from None
    except OSError as error:
        raise KvsyncError(f"{file}: cannot write the file: {error.strerror}") from None


def ignore_state_dir(file: Path) -> None:
    """Keep kvsync's own folder out of Git, next to whatever is ignored already."""
    try:
        ignored = file.read_text(encoding="utf-8") if file.exists() else ""
        if _IGNORED.strip() not in ignored.split():
            gap = "\n" if ignored and not ignored.endswith("\n") else ""
            file.write_text(f"{ignored}{gap}{_IGNORED}", encoding="utf-8")
    except OSError as error:
        raise KvsyncError(f"{file}: cannot write the file: {error.strerror}") from None
