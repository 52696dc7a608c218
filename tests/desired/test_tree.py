"""One version of a folder: links, flips, mounts, the jail, and what to watch."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from kvsync.app.configuration import read_config
from kvsync.config.model import ReadLimits
from kvsync.desired import Source
from kvsync.desired.discovery import matches
from kvsync.desired.read_rules import OutsideError, UnreadableError
from kvsync.desired.reading_budget import ReadingBudget
from kvsync.desired.tree import Tree
from kvsync.model.entry import Target
from kvsync.stores.memory.store import MemoryStore
from tests.desired.conftest import CONFIG, WEB, Repo

NO_LIMIT = ReadingBudget(ReadLimits()).take_steps_for


def flip(link: Path, target: str) -> None:
    """Move a link to another target at once, as git-sync and Kubernetes do."""
    fresh = link.with_name(f".{link.name}.new")
    fresh.symlink_to(target)
    fresh.replace(link)


def make(root: Path, *paths: str) -> None:
    """Files whose content is their path."""
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(path)


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("a/*.yaml", ["a/x.yaml", "a/y.yaml"]),
        ("a/?.yaml", ["a/x.yaml", "a/y.yaml"]),
        ("a/[!y].yaml", ["a/x.yaml"]),
        ("a/**/*.yaml", ["a/b/c/x.yaml", "a/b/x.yaml", "a/x.yaml", "a/y.yaml"]),
        ("**/x.yaml", ["a/b/c/x.yaml", "a/b/x.yaml", "a/x.yaml", "x.yaml"]),
        ("a/**/c/*", ["a/b/c/x.yaml"]),
        ("*/b/*", ["a/b/x.yaml"]),
        ("a/x.yaml", ["a/x.yaml"]),
        ("./a//x.yaml", ["a/x.yaml"]),
        ("a/b/**", ["a/b/c/x.yaml", "a/b/x.yaml"]),
        ("a/none*", []),
        (".hidden/*", [".hidden/x.yaml"]),
    ],
)
def test_globs(tmp_path: Path, pattern: str, found: list[str]) -> None:
    """`**` represents any number of folders, and wildcards leave hidden names alone."""
    make(
        tmp_path,
        "x.yaml",
        "a/x.yaml",
        "a/y.yaml",
        "a/b/x.yaml",
        "a/b/c/x.yaml",
        "a/.z.yaml",
        "a/.g/x.yaml",
        ".hidden/x.yaml",
    )
    with Tree(tmp_path) as tree:
        assert matches(tree, "", pattern, NO_LIMIT) == found


def test_links_inside_are_followed_once(tmp_path: Path) -> None:
    """A file that several ways lead to is one file, under its own name, and a link in a circle ends."""
    make(tmp_path, "a/x.yaml", "b/y.yaml")
    (tmp_path / "a" / "again").symlink_to("../a")
    (tmp_path / "a" / "b").symlink_to("../b")
    (tmp_path / "a" / "z.yaml").symlink_to("x.yaml")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "a" / "a.yaml").symlink_to("x.yaml")
    (tmp_path / "a" / "aa").symlink_to("../a")
    with Tree(tmp_path) as tree:
        assert matches(tree, "", "a/**/*.yaml", NO_LIMIT) == ["a/b/y.yaml", "a/x.yaml"]
        assert tree.read("a/z.yaml", 99) == b"a/x.yaml"
        with pytest.raises(UnreadableError, match="form a loop"):
            tree.read("loop/x", 99)


@pytest.mark.parametrize("path", ["../x", "a/../../x", "out/x", "absolute/x", "file", "a/up/x"])
def test_nothing_outside_is_read(tmp_path: Path, path: str) -> None:
    """Neither dots nor links lead out of the root."""
    make(tmp_path, "x", "root/a/y")
    root = tmp_path / "root"
    (root / "out").symlink_to("..")
    (root / "absolute").symlink_to(tmp_path)
    (root / "file").symlink_to("../x")
    (root / "a" / "up").symlink_to("../..")
    with Tree(root) as tree, pytest.raises(OutsideError):
        tree.read(path, 99)


def test_absolute_links_inside_are_fine(tmp_path: Path) -> None:
    """What counts is where a link leads."""
    make(tmp_path, "a/x")
    (tmp_path / "link").symlink_to(tmp_path / "a")
    with Tree(tmp_path) as tree:
        assert tree.read("link/x", 99) == b"a/x"


def test_size_limit_and_kinds(tmp_path: Path) -> None:
    """Too large, a folder, missing: each has its own words."""
    make(tmp_path, "a/x")
    with Tree(tmp_path) as tree:
        for path, said in (("a", "not a file"), ("none", "does not exist"), ("a/x/y", "does not exist")):
            with pytest.raises(UnreadableError, match=said):
                tree.read(path, 99)
        with pytest.raises(UnreadableError, match="the limit is"):
            tree.read("a/x", 2)


def test_a_flip_is_noticed(tmp_path: Path) -> None:
    """Of the root, of a link on the way, of a folder that was replaced; and nothing else is."""
    make(tmp_path, "v1/s/x", "v2/s/x")
    (tmp_path / "current").symlink_to("v1")
    for root, path in ((tmp_path / "current", "s/x"), (tmp_path, "current/s/x")):
        flip(tmp_path / "current", "v1")
        with Tree(root) as tree:
            assert tree.read(path, 99) == b"v1/s/x"
            assert not tree.changed()
            flip(tmp_path / "current", "v2")
            assert tree.changed()
            assert tree.read(path, 99) == b"v1/s/x"
    with Tree(tmp_path) as tree:
        tree.items("v1/s")
        (tmp_path / "v1" / "s").rename(tmp_path / "v1" / "old")
        make(tmp_path, "v1/s/x")
        assert tree.changed()
    with Tree(tmp_path / "v1") as tree:
        (tmp_path / "v1").rename(tmp_path / "v0")
        make(tmp_path, "v1/s/x")
        assert tree.changed()


def version(root: Path, name: str, value: str) -> None:
    """One version of a repository: two files that must agree."""
    for file in ("a", "b", "c"):
        path = root / name / "state" / f"{file}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"store: edge\nnamespace: web\nkeys: {{{file}: {value}}}\n")


@pytest.mark.parametrize("config_inside", [True, False])
def test_never_a_mixture_while_a_link_flips(tmp_path: Path, config_inside: bool) -> None:
    """With git-sync's link flipping all the time, each load is of one version, or fails as a whole."""
    for name in ("v1", "v2"):
        version(tmp_path, name, name)
        (tmp_path / name / "kvsync.yaml").write_text(CONFIG)
    (tmp_path / "kvsync.yaml").write_text(CONFIG.replace("state/**", "current/state/**"))
    (tmp_path / "current").symlink_to("v1")
    repo = Repo(tmp_path / "current" if config_inside else tmp_path)
    check_no_mixture(repo.source(), lambda name: flip(tmp_path / "current", name))


def test_never_a_mixture_in_a_configmap_mount(tmp_path: Path) -> None:
    """The same for the `..data` link of a mounted ConfigMap."""
    mount = tmp_path / "state"
    mount.mkdir()
    (tmp_path / "kvsync.yaml").write_text(CONFIG)
    for name in ("..v1", "..v2"):
        version(tmp_path, "made", name.strip("."))
        (tmp_path / "made" / "state").rename(mount / name)
    (mount / "..data").symlink_to("..v1")
    for file in ("a", "b", "c"):
        (mount / f"{file}.yaml").symlink_to(f"..data/{file}.yaml")
    source = Repo(tmp_path).source()
    loaded = source.load()
    assert (loaded.files, loaded.problems) == (3, ())
    assert {str(mount), str(mount / "..v1")} <= set(loaded.watch.directories)
    check_no_mixture(source, lambda name: flip(mount / "..data", f"..{name}"))


def check_no_mixture(source: Source, to: object) -> None:
    """Load while a thread flips, until both versions were seen."""
    assert callable(to)
    stop = threading.Event()

    def flipping() -> None:
        while not stop.is_set():
            for name in ("v1", "v2"):
                to(name)
                stop.wait(0.0015)

    thread = threading.Thread(target=flipping)
    thread.start()
    seen: set[str] = set()
    try:
        for _ in range(400):
            loaded = source.load()
            if loaded.problems:
                assert loaded.hold_all  # it never came to rest, and says so
                continue
            values = {entry.content.value.decode() for entry in loaded.targets[WEB].entries.values()}
            assert len(values) == 1
            assert len(loaded.targets[WEB].entries) == 3
            seen |= values
            if len(seen) == 2:
                break
    finally:
        stop.set()
        thread.join()
    assert seen == {"v1", "v2"}


def test_what_to_watch(repo: Repo, tmp_path: Path) -> None:
    """Folders of state files and of what they refer to, and the parents of links on the way: absolute, sorted."""
    repo.write("assets/logo.png", "x")
    repo.write("pages/sub/x.html", "x")
    repo.write("real/deep/y.yaml", "store: edge\nnamespace: y\nkeys: {logo: {file: ../../assets/logo.png}}\n")
    repo.web("keys: {}\nfiles: [{path: ../pages}]\n", "state/in/web.yaml")
    repo.web("keys: {}\nfiles: [{path: ../../pages}]\n", "state/in/web.yaml")
    (tmp_path / "state" / "link").symlink_to("../real")
    loaded = repo.load()
    assert [str(problem) for problem in loaded.problems] == []
    names = ["", "assets", "pages", "pages/sub", "real", "real/deep", "state", "state/in"]
    assert loaded.watch.directories == tuple(str(tmp_path / name) if name else str(tmp_path) for name in names)


def test_the_parent_of_the_roots_link_is_watched(tmp_path: Path) -> None:
    """A flip of git-sync's link is seen from its parent only."""
    version(tmp_path / "git" / ".trees", "v1", "x")
    (tmp_path / "git" / ".trees" / "v1" / "kvsync.yaml").write_text(CONFIG)
    (tmp_path / "git" / "current").symlink_to(".trees/v1")
    folders = Repo(tmp_path / "git" / "current").load().watch.directories
    assert {str(tmp_path / "git"), str(tmp_path / "git" / ".trees" / "v1" / "state")} <= set(folders)


def test_the_configuration_is_not_a_state_file(tmp_path: Path) -> None:
    """A glob over everything leaves kvsync.yaml out."""
    repo = Repo(tmp_path)
    repo.write("kvsync.yaml", CONFIG.replace("state/**/*.yaml", "**/*.yaml"))
    repo.web("keys: {a: 1}\n", "web.yaml")
    assert repo.values(Target("edge", "web")) == {"a": "1"}


def test_the_jail_holds_for_references(repo: Repo, tmp_path: Path) -> None:
    """A link in the repository cannot make a secret of the host a value."""
    outside = tmp_path.parent / f"{tmp_path.name}-outside"
    outside.mkdir()
    (outside / "secret").write_text("hush")
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "link").symlink_to(outside)
    (tmp_path / "state" / "file").symlink_to(outside / "secret")
    repo.web("keys: {a: {file: link/secret}, b: {file: file}}\nfiles: [{path: link}]\n")
    found = repo.problems()
    assert len(found) == 3
    assert all("outside" in problem for problem in found)


def test_names_that_are_not_text(repo: Repo) -> None:
    """A file whose name is not UTF-8 cannot be a key, and is reported."""
    folder = repo.root / "state" / "x"
    folder.mkdir(parents=True)
    os.close(os.open(os.fsencode(folder) + b"/\xff", os.O_CREAT))
    repo.web("files: [{path: x}]\n")
    assert "is not UTF-8" in repo.problems()[0]
    assert read_config(repo.root / "kvsync.yaml", environ={}).stores["edge"].type == MemoryStore.capabilities.type
