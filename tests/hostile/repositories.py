"""Repositories crafted to read files of others, to stop other targets, or to feed kvsync wrong data. Each is built into a
folder that holds a good target, and says what kvsync has to make of it.
"""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

CANARY = "CANARY-of-the-host"
"""What no command may show, log, keep or write to a store."""

CONFIG = """\
version: 1
owner: tester
environments: [prod]
stores:
  local: {type: sqlite, path: ../store.db}
  telephony: {type: voximplant, credentials: {file: vox.json}, application_id: 1, endpoint: "http://127.0.0.1:9"}
policy: {prune: owned}
"""
GOOD = "store: local\nnamespace: good\nkeys: {ok: fine}\n"
BAD = "store: local\nnamespace: bad\n"


@dataclass(frozen=True)
class Hostile:
    """A repository. `says` is part of what is reported; `holds_all` tells that its targets cannot be known."""

    build: Callable[[Path], object]
    says: str
    holds_all: bool = False


def bad(root: Path, keys: str) -> Path:
    """A state file of the target local/bad."""
    file = root / "state" / "zbad.yaml"
    file.write_text(BAD + keys)
    return file


def value(path: str) -> Callable[[Path], object]:
    """A value that is taken from a file."""
    return lambda root: bad(root, f"keys: {{a: {{file: {path!r}}}}}\n")


def linked(target: str, path: str = "../data/link") -> Callable[[Path], object]:
    """A value that is taken through a link."""

    def build(root: Path) -> None:
        (root / "data").mkdir()
        (root / "data" / "link").symlink_to(target.format(outside=root.parent / "outside"))
        value(path)(root)

    return build


def data_link(target: str, path: str) -> Callable[[Path], object]:
    """A committed `..data` link that names another link."""

    def build(root: Path) -> None:
        (root / "data").mkdir()
        (root / "data" / "..evil").symlink_to(target.format(outside=root.parent / "outside"))
        (root / "data" / "..data").symlink_to("..evil")
        value(path)(root)

    return build


def hard_link(target: str) -> Callable[[Path], object]:
    """A value that is another name of a file."""

    def build(root: Path) -> None:
        os.link(root / target, root / "state" / "innocent")
        value("innocent")(root)

    return build


def kind(make: Callable[[Path], object]) -> Callable[[Path], object]:
    """A value that is not a file at all."""

    def build(root: Path) -> None:
        make(root / "state" / "thing")
        value("thing")(root)

    return build


def state_file(make: Callable[[Path], object]) -> Callable[[Path], object]:
    """A state file that is something else."""
    return lambda root: make(root / "state" / "zbad.yaml")


def listen(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as one:
        here = Path.cwd()
        os.chdir(path.parent)  # the path of a socket is short
        try:
            one.bind(path.name)
        finally:
            os.chdir(here)


def files(root: Path, line: str) -> None:
    bad(root, f"keys: {{}}\nfiles: [{line}]\n")


def files_in(make: Callable[[Path], object]) -> Callable[[Path], object]:
    """Values that are taken from a folder; `make` makes its one file."""

    def build(root: Path) -> None:
        (root / "p").mkdir()
        make(root / "p" / "x")
        files(root, "{path: ../p}")

    return build


def folder_link(root: Path) -> None:
    (root / "l").symlink_to("../outside")
    files(root, "{path: ../l}")


def deep_pattern(root: Path) -> None:
    here = root / "data"
    for _ in range(60):
        here = here / "x"
    here.mkdir(parents=True)
    for number in range(10):
        (here / f"f{number}").touch()
    for parent in list(here.parents)[:60]:
        for number in range(10):
            (parent / f"y{number}").mkdir()
    pattern = "**/x/" * 40 + "f"
    files(root, f"{{path: ../data, glob: {pattern!r}}}")


def fan_of_links(root: Path) -> None:
    for number in range(40):
        folder = root / "data" / str(number)
        folder.mkdir(parents=True)
        for name in "abc":
            (folder / name).symlink_to(f"../{number + 1}")
    files(root, "{path: ../data/0, glob: '**/*'}")


def chain_of_folders(root: Path) -> None:
    here = root / "data"
    for _ in range(200):
        here = here / "d"
    here.mkdir(parents=True)
    (here / "f").touch()
    files(root, "{path: ../data, glob: '**/f'}")


def large_values(root: Path) -> None:
    (root / "data").mkdir()
    for number in range(15):
        with (root / "data" / f"{number}").open("wb") as stream:
            stream.truncate(2**36)
    files(root, "{path: ../data}")


def large_state_file(root: Path) -> None:
    with bad(root, "keys:\n").open("a") as stream:
        stream.writelines(f"  key{number}: {'x' * 90}\n" for number in range(120_000))


def many_mistakes(root: Path) -> None:
    bad(root, "keys:\n" + "".join(f"  k{number}: {{valeu: 1}}\n" for number in range(50_000)))


def other_suffix(root: Path) -> None:
    """The overlay of the configuration under its other suffix."""
    (root / "kvsync.prod.yaml").rename(root / "kvsync.prod.yml")
    linked("../kvsync.prod.yml")(root)


def bomb(root: Path) -> None:
    levels = "".join(f"  l{n}: &l{n} {{json: [{', '.join([f'*l{n - 1}'] * 10)}]}}\n" for n in range(1, 12))
    bad(root, "keys:\n  l0: &l0 {json: [1]}\n" + levels)


def nested(root: Path) -> None:
    bad(root, f"keys: {{a: {{json: {'[' * 5_000}{']' * 5_000}}}}}\n")


def hostile() -> dict[str, Hostile]:
    """All of them, by name."""
    never, outside, no_file = "kvsync never reads it: ", "outside the folder", "it is not a file"
    return {
        # out of the repository
        "link to a file": Hostile(linked("{outside}/secret"), outside),
        "link to a folder": Hostile(linked("../../outside", "../data/link/secret"), outside),
        "link to the root": Hostile(linked("/", "../data/link/etc/passwd"), outside),
        "link to /proc": Hostile(linked("/proc/self", "../data/link/environ"), outside),
        "dots": Hostile(value("../../outside/secret"), outside),
        "absolute path": Hostile(value("/etc/passwd"), "is absolute"),
        "..data to a link": Hostile(data_link("{outside}", "../data/secret"), "it does not exist"),
        "..data to /proc": Hostile(data_link("/proc/self", "../data/environ"), "it does not exist"),
        "..data by name": Hostile(data_link("{outside}", "../data/..data/secret"), outside),
        "files through a link": Hostile(folder_link, outside),
        "files of a link": Hostile(files_in(lambda path: path.symlink_to("../../outside/secret")), outside),
        "state file outside": Hostile(
            state_file(lambda path: path.symlink_to("../../outside/state.yaml")), outside, holds_all=True
        ),
        # what is never read
        "state directory": Hostile(value("../.kvsync/key"), never),
        "state database": Hostile(linked("../.kvsync", "../data/link/state.db"), never),
        "journal by a pattern": Hostile(lambda root: files(root, "{path: ../.kvsync, glob: '*'}"), never),
        "key by a hard link": Hostile(hard_link(".kvsync/key"), never),
        "git": Hostile(value("../.git/config"), never),
        "git of a submodule": Hostile(value("../sub/.git"), never),
        "git by a pattern": Hostile(lambda root: files(root, "{path: .., glob: '.git/*'}"), never),
        "configuration": Hostile(value("../kvsync.yaml"), never),
        "overlay": Hostile(linked("../kvsync.prod.yaml"), never),
        "backup of the configuration": Hostile(value("../kvsync.yaml.bak"), never),
        "overlay with another suffix": Hostile(other_suffix, never),
        "swap file of an editor": Hostile(value("../.kvsync.yaml.swp"), never),
        "overlay as a state file": Hostile(
            state_file(lambda path: path.symlink_to("../kvsync.prod.yaml")), never, holds_all=True
        ),
        "credential": Hostile(value("../vox.json"), never),
        "credential by a hard link": Hostile(hard_link("vox.json"), never),
        "credential by a pattern": Hostile(lambda root: files(root, "{path: .., glob: '*.json'}"), never),
        "store": Hostile(value("../../store.db"), outside),
        # what holds readers up
        "pipe": Hostile(kind(os.mkfifo), no_file),
        "socket": Hostile(kind(listen), no_file),
        "pipe as a state file": Hostile(state_file(os.mkfifo), no_file, holds_all=True),
        "pipe by a pattern": Hostile(files_in(os.mkfifo), no_file),
        # what costs
        "pattern with many depths": Hostile(deep_pattern, "no file under"),
        "fan of links": Hostile(fan_of_links, "it does not exist"),
        "chain of folders": Hostile(chain_of_folders, "limits.folder_depth"),
        "large values": Hostile(large_values, "the configured stores allow at most"),
        "large state file": Hostile(large_state_file, "limits.state_file"),
        "many mistakes": Hostile(many_mistakes, "the rest of the file was not checked"),
        "aliases": Hostile(bomb, "aliases expand to more than"),
        "nesting": Hostile(nested, "nested deeper than 64 levels"),
    }


def lay_out(root: Path) -> None:
    """The folder with the good target, and what must not be read around and in it."""
    (root / "state").mkdir(parents=True)
    (root / "kvsync.yaml").write_text(f"# {CANARY}\n{CONFIG}")
    for name in ("kvsync.prod.yaml", "kvsync.yaml.bak", ".kvsync.yaml.swp"):
        (root / name).write_text(f"# {CANARY}\n")
    (root / "state" / "good.yaml").write_text(GOOD)
    (root / "vox.json").write_text(f'{{"private_key": "{CANARY}"}}')
    outside = root.parent / "outside"
    outside.mkdir()
    (outside / "secret").write_text(CANARY)
    (outside / "state.yaml").write_text(f"{BAD}keys: {{a: {CANARY}}}\n")
    subprocess.run(["git", "init", "-q", str(root)], check=True)
    subprocess.run(["git", "config", "http.extraheader", CANARY], cwd=root, check=True)
    (root / "sub").mkdir()
    (root / "sub" / ".git").write_text(f"gitdir: {CANARY}\n")
