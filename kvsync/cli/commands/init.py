"""`kvsync init`."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import click

from kvsync.cli.command import GlobalOptions, command
from kvsync.cli.exit_codes import Exit
from kvsync.cli.output import answer_lines
from kvsync.errors import KvsyncError, UsageError

_CONFIGURATION: Final = """\
version: 1
owner: {owner}    # every entry kvsync writes is marked with this, and only those are ever deleted

state: ["state/**/*.yaml"]    # which files say what the stores shall hold

stores:
  local: {{type: sqlite, path: .kvsync/store.db}}    # "kvsync stores" lists the types there are

policy:
  prune: owned        # what leaves the files leaves the store, if kvsync put it there
  adopt: if-equal     # an equal entry that somebody else made becomes ours; a different one is left alone
  drift: heal         # what somebody changed by hand is written back

authors:              # what state files may do; this file is yours, those may be changed by others
  policy: tighten     # they may tighten the policy above, and never loosen it
  env: []             # variables that {{env: NAME}} in them may name, such as [APP_*]

run:
  every: 5m           # how often "kvsync run" looks for drift; a changed file is seen at once
"""

_STATE: Final = """\
# What the namespace "web" of the store "local" shall hold.
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

What the key-value stores shall hold, kept so by kvsync.

    kvsync validate     # is everything right?
    kvsync plan         # what would be done?
    kvsync apply        # do it
    kvsync run          # keep it so

State files are in `state/`, the stores in `kvsync.yaml`. `.kvsync/` is kvsync's own and stays out of Git.
"""


@command(
    "init",
    short_help="Write a small working repository to begin with.",
    examples=("init", "init shop"),
    exits=(Exit.DONE, Exit.ERROR),
)
@click.argument("directory", default=".", metavar="[DIR]")
def init(_settings: GlobalOptions, directory: str) -> Exit:
    """Write a small working repository into DIR (here, unless it is given): kvsync.yaml with an SQLite store, a state file, a
    README, and a .gitignore. Nothing that exists is overwritten.
    """
    folder = Path(directory)
    files = _files(folder)
    _insist_on_room(files)
    for file, text in files.items():
        _write(file, text)
    _ignore(folder / ".gitignore")
    go = [] if directory == "." else [f"  cd {directory}"]
    answer_lines(f"Wrote {', '.join(map(str, files))}.", "", "Next:", *go, "  kvsync plan", "  kvsync apply")
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


def _insist_on_room(files: dict[Path, str]) -> None:
    there = [str(file) for file in files if file.exists() and file.name != "README.md"]
    if there:
        raise UsageError(f"{', '.join(there)}: already there, and init overwrites nothing; choose another folder")


def _write(file: Path, text: str) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("x", encoding="utf-8") as stream:
            stream.write(text)
    except FileExistsError:
        if file.name != "README.md":  # somebody's own words; the rest was checked
            raise KvsyncError(f"{file} is in the way, and init overwrites nothing") from None
    except OSError as error:
        raise KvsyncError(f"{file} cannot be written: {error.strerror}") from None


def _ignore(file: Path) -> None:
    """Keep kvsync's own folder out of Git, beside whatever is ignored already."""
    try:
        ignored = file.read_text(encoding="utf-8") if file.exists() else ""
        if _IGNORED.strip() not in ignored.split():
            gap = "\n" if ignored and not ignored.endswith("\n") else ""
            file.write_text(f"{ignored}{gap}{_IGNORED}", encoding="utf-8")
    except OSError as error:
        raise KvsyncError(f"{file} cannot be written: {error.strerror}") from None
