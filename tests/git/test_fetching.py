"""From a repository to a folder: what is taken, what is not, and that the last good commit stays."""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import subprocess
import threading
import time
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from kvsync.desired.read_rules import UnreadableError
from kvsync.desired.tree import Tree
from kvsync.errors import SourceError
from kvsync.git import command
from kvsync.git.clone import Clone, Member
from kvsync.git.clone_directory import UNUSED_SECONDS
from kvsync.git.source import Checkout
from kvsync.git.status import read_status
from tests.git.repos import WEB, Origin, checkout, files, left_over


@pytest.fixture
def origin(tmp_path: Path) -> Origin:
    made = Origin(tmp_path / "origin")
    made.commit({"state/web.yaml": WEB, "README.md": "hello\n"})
    return made


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def opened(home: Path, origin: Origin) -> Iterator[Checkout]:
    one = checkout(home, origin.url, ref="main")
    yield one
    one.close()


async def test_the_newest_commit_is_in_force(opened: Checkout, origin: Origin) -> None:
    """A fetch brings the files of the newest commit, and names it; the next one brings what came since."""
    first = await opened.fetch()
    assert first.commit == origin.git("rev-parse", "HEAD")
    assert files(opened) == {"state/web.yaml": WEB, "README.md": "hello\n"}
    newer = origin.commit({"state/web.yaml": "new", "README.md": None})
    second = await opened.fetch()
    assert (second.commit, second.before, second.refused) == (newer, first.commit, None)
    assert files(opened) == {"state/web.yaml": "new"}


async def test_nothing_new_changes_nothing(opened: Checkout) -> None:
    """A fetch without news leaves the very same folder in force."""
    await opened.fetch()
    before = opened.root
    await opened.fetch()
    assert opened.root == before


@pytest.mark.parametrize("ref", ["HEAD", "main", "refs/heads/main", "v1", "refs/tags/v1", "light"])
async def test_refs(home: Path, origin: Origin, ref: str) -> None:
    """A branch, a tag with or without a message, a full name and HEAD all lead to their commit."""
    origin.git("tag", "--annotate", "--message=one", "v1")
    origin.git("tag", "light")
    one = checkout(home, origin.url, ref=ref)
    assert (await one.fetch()).commit == origin.git("rev-parse", "HEAD")
    one.close()


async def test_a_commit_by_its_id(home: Path, origin: Origin) -> None:
    """The full id of a commit is that commit, however the branches go on."""
    pinned = origin.git("rev-parse", "HEAD")
    origin.commit({"a": "later"})
    origin.git("config", "uploadpack.allowAnySHA1InWant", "true")
    one = checkout(home, origin.url, ref=pinned)
    assert (await one.fetch()).commit == pinned
    assert (await one.fetch()).commit == pinned
    one.close()


async def test_a_branch_and_a_tag_of_one_name_are_refused(home: Path, origin: Origin) -> None:
    """Whoever may push tags cannot put one in the place of the branch, and whoever may push branches none in that of a tag. The
    full name says which of the two is meant."""
    origin.git("tag", "main")
    newer = origin.commit({"a": "b"})
    with pytest.raises(
        SourceError,
        match=r"'main' is both a branch and a tag \(set source.git.ref to refs/heads/main or refs/tags/main",
    ):
        await checkout(home, origin.url, ref="main").fetch()
    one = checkout(home, origin.url, ref="refs/heads/main")
    assert (await one.fetch()).commit == newer
    one.close()


async def test_a_tag_object_under_another_name_is_refused(home: Path, origin: Origin) -> None:
    """Without signatures too: a tag that was moved to the object of another one is not followed."""
    first = origin.git("rev-parse", "HEAD")
    origin.git("tag", "--annotate", "--message=v1", "v1")
    one = checkout(home, origin.url, ref="v1")
    assert (await one.fetch()).commit == first
    origin.commit({"a": "two"})
    origin.git("tag", "--annotate", "--message=v2", "v2")
    origin.git("update-ref", "refs/tags/v1", origin.git("rev-parse", "refs/tags/v2"))
    fetched = await one.fetch()
    assert fetched.commit == first
    assert fetched.refused is not None
    assert fetched.refused.reason == "refs/tags/v1 points to a tag that is called v2"
    one.close()


async def test_a_tag_object_in_the_place_of_a_branch_is_refused(home: Path, origin: Origin) -> None:
    """Git never lets a branch point to a tag object; a server that does is not followed, signatures or not."""
    good = origin.git("rev-parse", "HEAD")
    one = checkout(home, origin.url, ref="main")
    await one.fetch()
    origin.commit({"a": "evil"})
    origin.git("tag", "--annotate", "--message=x", "wip")
    (origin.path / ".git/refs/heads/main").write_text(origin.git("rev-parse", "refs/tags/wip") + "\n")
    fetched = await one.fetch()
    assert fetched.commit == good
    assert fetched.refused is not None
    assert fetched.refused.reason == "refs/heads/main points to a tag object instead of a commit"
    one.close()


async def test_a_history_that_was_set_back_is_refused(home: Path, origin: Origin) -> None:
    """A fresh state directory knows no earlier commit: `min_commit` says what must be in the history, so that nobody can pass
    off an old commit, or another repository, as the newest."""
    old = origin.git("rev-parse", "HEAD")
    oldest = origin.commit({"a": "1"})
    newer = origin.commit({"a": "2"})
    for commit, found in ((newer, newer), (oldest, oldest), (old, None)):
        origin.git("reset", "--quiet", "--hard", commit)
        folder = home / commit
        one = checkout(folder, origin.url, ref="main", min_commit=oldest)
        fetched = await one.fetch()
        assert fetched.commit == found
        if found is None:
            assert fetched.refused is not None
            said = f"commit {oldest[:12]} (source.git.min_commit) is not in its history"
            assert (fetched.refused.commit, fetched.refused.reason) == (old, said)
        one.close()


async def test_a_history_that_is_too_short_to_tell_is_refused(home: Path, origin: Origin) -> None:
    """With a depth that does not reach the oldest acceptable commit, nothing is known: it is refused, and the depth named."""
    oldest = origin.git("rev-parse", "HEAD")
    for number in range(3):
        origin.commit({"a": str(number)})
    one = checkout(home, origin.url, ref="main", min_commit=oldest, depth=2)
    refused = (await one.fetch()).refused
    assert refused is not None
    assert "only 2 commits of history are fetched" in str(refused)
    one.close()


async def test_what_was_good_before_must_be_recent_enough(home: Path, origin: Origin) -> None:
    """A commit that was put in force before `min_commit` was set is judged by it too."""
    first = checkout(home, origin.url, ref="main")
    await first.fetch()
    first.close()
    newer = origin.commit({"a": "b"})
    later = checkout(home, origin.url, ref="main", min_commit=newer)
    with pytest.raises(SourceError):
        await later.reopen()
    assert (await later.fetch()).commit == newer
    later.close()


async def test_only_the_path_is_there(home: Path, origin: Origin) -> None:
    """With a path the files under it are shown, relative to it, and no others are written."""
    origin.commit({"config/prod/state/web.yaml": WEB, "config/dev/state/web.yaml": "other"})
    one = checkout(home, origin.url, ref="main", path="config/prod")
    await one.fetch()
    assert files(one) == {"state/web.yaml": WEB}
    assert one.root is not None
    assert [path.name for path in one.root.parent.iterdir()] == ["prod"]
    one.close()


async def test_a_short_history(home: Path, origin: Origin) -> None:
    """With a depth the first fetch brings that many commits, and what comes later is still known to go on from them."""
    for number in range(5):
        origin.commit({"n": str(number)})
    one = checkout(home, origin.url, ref="main", depth=2)
    await one.fetch()
    assert commits(home) == 2
    newest = [origin.commit({"n": str(number)}) for number in range(5, 8)][-1]
    assert (await one.fetch()).commit == newest
    one.close()


def folder(one: Checkout) -> str:
    """The name of the folder that is in force."""
    assert one.root is not None
    return one.root.parent.name


def commits(home: Path) -> int:
    (clone,) = (home / "state/source").glob("*.git")
    counted = subprocess.run(
        ["git", "rev-list", "--all", "--count"], cwd=clone, capture_output=True, text=True, check=True
    )
    return int(counted.stdout)


# -- the last good commit stays ---------------------------------------------------------------------------------------


async def refused(one: Checkout, pattern: str) -> None:
    """Fetch, and insist that the newest commit is refused for this, and that nothing moved."""
    before, shown = one.commit, files(one)
    fetched = await one.fetch()
    assert fetched.refused is not None
    assert re.search(pattern, str(fetched.refused)), fetched.refused
    assert (fetched.commit, files(one)) == (before, shown)


async def test_a_rewritten_history_is_refused(opened: Checkout, origin: Origin, home: Path) -> None:
    """A tip that does not go on from the commit in force is not used, and the message names the way out: allow_rewrites."""
    origin.commit({"state/web.yaml": "second"})
    await opened.fetch()
    origin.git("reset", "--quiet", "--hard", "HEAD~1")
    other = origin.commit({"state/web.yaml": "rewritten"})
    await refused(opened, r"history was rewritten.*allow_rewrites")
    status = read_status(home / "state", origin.url, "main")
    assert status is not None
    assert status.refused is not None
    assert other[:12] in status.refused
    allowing = checkout(home, origin.url, ref="main", allow_rewrites=True)
    assert (await allowing.fetch()).commit == other
    allowing.close()


async def test_a_branch_that_was_set_back_is_refused(opened: Checkout, origin: Origin) -> None:
    """An older commit of the same history is a rewrite, too; a revert is not."""
    before = origin.git("rev-parse", "HEAD")
    origin.commit({"state/web.yaml": "second"})
    await opened.fetch()
    origin.git("reset", "--quiet", "--hard", before)
    await refused(opened, "history was rewritten")


async def test_a_restored_history_is_followed_again(opened: Checkout, origin: Origin) -> None:
    """Once the tip goes on from the commit in force again, it is used."""
    kept = origin.commit({"state/web.yaml": "second"})
    await opened.fetch()
    origin.git("reset", "--quiet", "--hard", "HEAD~1")
    origin.commit({"state/web.yaml": "rewritten"})
    await refused(opened, "history was rewritten")
    origin.git("reset", "--quiet", "--hard", kept)
    newer = origin.commit({"state/web.yaml": "third"})
    assert (await opened.fetch()).commit == newer


async def test_a_rewrite_is_refused_after_a_restart(opened: Checkout, origin: Origin, home: Path) -> None:
    """What was in force is remembered: a new process does not follow a rewritten history either."""
    await opened.fetch()
    kept = opened.commit
    opened.close()
    origin.git("commit", "--quiet", "--amend", "--message=other")
    later = checkout(home, origin.url, ref="main")
    fetched = await later.fetch()
    assert fetched.refused is not None
    assert fetched.commit == kept
    later.close()


@pytest.mark.parametrize(
    ("change", "pattern"),
    [
        ({"state/web.yaml": None, "README.md": None}, "is empty"),
        (
            {"state/logo.png": "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"},
            r"state/logo\.png: stored in Git LFS",
        ),
        ({"big": b"x" * 3_000_000}, "MiB; the limit is 2 MiB"),
    ],
    ids=["emptied", "lfs", "large"],
)
async def test_accidents_are_refused(
    home: Path, origin: Origin, change: dict[str, str | bytes | None], pattern: str
) -> None:
    """An emptied tree, files that are not in Git, and more than is allowed leave the last good commit in force."""
    one = checkout(home, origin.url, ref="main", max_size=2 * 2**20)
    await one.fetch()
    origin.commit(change)
    await refused(one, pattern)
    assert left_over(home) == [folder(one)]
    one.close()


async def test_a_path_that_vanished_is_refused(home: Path, origin: Origin) -> None:
    """A commit without the folder, or with a file or a link in its place, is not used."""
    origin.commit({"config/web.yaml": WEB})
    one = checkout(home, origin.url, ref="main", path="config")
    await one.fetch()
    origin.commit({"config/web.yaml": None})
    await refused(one, "contain the folder 'config'")
    (origin.path / "config").rmdir() if (origin.path / "config").exists() else None
    (origin.path / "config").symlink_to("state")
    origin.commit()
    await refused(one, "contain the folder 'config'")
    one.close()


async def test_state_files_must_be_there(home: Path, origin: Origin) -> None:
    """What the files lack to be those of this configuration is asked before they are in force."""
    one = checkout(home, origin.url, ref="main")
    one._why_not_root = lambda root: (
        None if (root / "state/web.yaml").exists() else "no file in it matches state/*.yaml"
    )
    await one.fetch()
    origin.commit({"state/web.yaml": None})
    await refused(one, "no file in it matches")
    one.close()


GONE = {
    "repository": "no such repository",
    "ref": "no branch, tag or commit 'main'",
    "one meaning of the ref": "'main' is both a branch and a tag",
}


@pytest.mark.parametrize("gone", GONE)
async def test_what_cannot_be_fetched_leaves_the_last_good_commit(
    opened: Checkout, origin: Origin, home: Path, gone: str
) -> None:
    """Without the repository, without the ref, or with a tag of its name too, a fetch is an error, and what was there stays:
    also for a new process."""
    await opened.fetch()
    kept, shown = opened.commit, files(opened)
    if gone == "repository":
        origin.path.rename(origin.path.with_name("elsewhere"))
    elif gone == "ref":
        origin.git("branch", "--move", "other")
    else:
        origin.git("tag", "main")
    for one in (opened, checkout(home, origin.url, ref="main")):
        with pytest.raises(SourceError, match=GONE[gone]):
            await one.fetch()
        assert (one.commit, files(one)) == (kept, shown)
        one.close()
    status = read_status(home / "state", origin.url, "main")
    assert status is not None
    assert (status.commit, status.error is None) == (kept, False)


async def test_an_empty_repository(tmp_path: Path, home: Path) -> None:
    """A repository without any commit is an error that says so; nothing is in use."""
    one = checkout(home, Origin(tmp_path / "empty").url)
    with pytest.raises(SourceError, match="that the repository is not empty"):
        await one.fetch()
    assert one.root is None
    one.close()


# -- without the network ----------------------------------------------------------------------------------------------


async def test_the_clone_is_the_memory(opened: Checkout, origin: Origin, home: Path) -> None:
    """What was fetched is there again without asking anybody; what never was is an error."""
    await opened.fetch()
    origin.path.rename(origin.path.with_name("elsewhere"))
    later = checkout(home, origin.url, ref="main")
    await later.reopen()
    assert (later.commit, files(later)) == (opened.commit, files(opened))
    later.close()
    other = checkout(home, origin.url, ref="other")
    with pytest.raises(SourceError, match=r"no commit of .* has been fetched yet"):
        await other.reopen()


async def test_where_nothing_may_be_written(home: Path, origin: Origin) -> None:
    """A process that may not write to the state directory fetches into a folder of its own, which goes with it."""
    one = checkout(home, origin.url, ref="main", state_dir=home / "missing", writable=False)
    await one.fetch()
    assert one.root is not None
    own = one.root.parents[2]
    assert files(one)["state/web.yaml"] == WEB
    assert not (home / "missing").exists()
    one.close()
    assert not own.exists()


# -- others at the same time ------------------------------------------------------------------------------------------


async def test_processes_share_the_clone_and_nothing_else(opened: Checkout, origin: Origin, home: Path) -> None:
    """Fetches of several checkouts at once all come to the newest commit, each in a folder of its own."""
    others = [checkout(home, origin.url, ref="main") for _ in range(4)]
    found = await asyncio.gather(*(one.fetch() for one in (opened, *others)))
    assert {one.commit for one in found} == {origin.git("rev-parse", "HEAD")}
    assert len({one.root for one in (opened, *others)}) == 5
    for one in others:
        one.close()
    assert files(opened)["state/web.yaml"] == WEB


async def test_a_folder_is_never_seen_half_made(opened: Checkout, origin: Origin) -> None:
    """While the history moves on and is fetched, whoever reads sees the files of one commit, all of them."""
    names = [f"state/{number:02}" for number in range(40)]
    origin.commit(dict.fromkeys(names, "0"))
    await opened.fetch()
    seen: list[set[str]] = []
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            try:
                with Tree(opened.root or Path()) as tree:
                    contents = {tree.read(name, 100).decode() for name in names}
                    if not tree.changed():
                        seen.append(contents)
            except UnreadableError:
                continue  # the folder was exchanged meanwhile: who reads by name looks again

    reader = threading.Thread(target=read)
    reader.start()
    try:
        for number in range(1, 6):
            origin.commit(dict.fromkeys(names, str(number)))
            await opened.fetch()
    finally:
        done.set()
        reader.join()
    assert seen
    assert all(len(contents) == 1 for contents in seen)


async def test_folders_go_with_their_process(opened: Checkout, origin: Origin, home: Path) -> None:
    """One folder is in use at a time; closing removes it, and what a killed process left is removed by the next."""
    await opened.fetch()
    origin.commit({"a": "b"})
    await opened.fetch()
    assert left_over(home) == [folder(opened)]
    orphan = home / "state/source/trees/000000000000-killed"
    orphan.mkdir()
    (orphan / "file").write_text("x")
    origin.commit({"a": "c"})
    await opened.fetch()
    assert left_over(home) == [folder(opened)]
    opened.close()
    assert left_over(home) == []


async def test_environments_keep_their_clones(opened: Checkout, origin: Origin, home: Path, tmp_path: Path) -> None:
    """A clone stays while any environment uses it, and is removed once nobody has fetched it for a month."""
    await opened.fetch()
    other = Origin(tmp_path / "other")
    newest = other.commit({"x": "y"})
    one = checkout(home, other.url, ref="main")
    assert (await one.fetch()).commit == newest
    clones = list((home / "state/source").glob("*.git"))
    assert len(clones) == 2
    for clone in clones:
        os.utime(clone, (0, time.time() - UNUSED_SECONDS - 60))
    await one.fetch()
    assert len(list((home / "state/source").glob("*.git"))) == 1
    one.close()


# -- hostile content --------------------------------------------------------------------------------------------------


async def test_nothing_of_a_repository_is_run(home: Path, origin: Origin, tmp_path: Path) -> None:
    """Hooks, filters, helpers and templates, of the repository or of the user who runs kvsync, are not run."""
    trap = tmp_path / "trap"
    script = tmp_path / "evil"
    script.write_text(f"#!/bin/sh\ntouch {trap}\ncat\n")
    script.chmod(0o755)
    user = tmp_path / "user"
    user.mkdir()
    (user / ".gitconfig").write_text(
        f"[core]\n\thooksPath = {tmp_path}/hooks\n\tsshCommand = {script}\n\tfsmonitor = {script}\n"
        f'[filter "evil"]\n\tsmudge = {script}\n\tprocess = {script}\n[init]\n\ttemplateDir = {tmp_path}/template\n'
        f'[url "ext::{script}"]\n\tinsteadOf = file://\n[credential]\n\thelper = {script}\n'
    )
    for folder in (tmp_path / "hooks", tmp_path / "template/hooks", origin.path / ".git/hooks"):
        folder.mkdir(parents=True, exist_ok=True)
        for hook in ("post-checkout", "reference-transaction", "post-merge", "post-index-change"):
            (folder / hook).write_text(script.read_text())
            (folder / hook).chmod(0o755)
    origin.commit(
        {".gitattributes": "* filter=evil\n", ".gitmodules": f'[submodule "s"]\n\tpath = s\n\turl = ext::{script}\n'},
        "--no-verify",
    )
    trap.unlink(missing_ok=True)  # committing has run the hooks of the origin
    environ = {"HOME": str(user), "XDG_CONFIG_HOME": str(user), "GIT_CONFIG_GLOBAL": str(user / ".gitconfig"),
               "GIT_SSH_COMMAND": str(script), "GIT_ASKPASS": str(script), "GIT_EXTERNAL_DIFF": str(script),
               "GIT_TEMPLATE_DIR": str(tmp_path / "template"), "GIT_PROXY_COMMAND": str(script)}  # fmt: skip
    one = checkout(home, origin.url, ref="main", environ=environ)
    fetched = await one.fetch()
    assert fetched.commit == origin.git("rev-parse", "HEAD")
    assert files(one)["state/web.yaml"] == WEB
    assert not trap.exists()
    one.close()


async def test_links_are_kept_in_the_tree(opened: Checkout, origin: Origin) -> None:
    """A link inside the repository works; one that leads out of it is not followed by who reads state files."""
    (origin.path / "inside").symlink_to("state/web.yaml")
    (origin.path / "outside").symlink_to("/etc/passwd")
    (origin.path / "up").symlink_to("../../../../../../etc")
    origin.commit()
    await opened.fetch()
    assert opened.root is not None
    with Tree(opened.root) as tree:
        assert tree.read("inside", 1000).decode() == WEB
        for name in ("outside", "up/passwd"):
            with pytest.raises(UnreadableError, match="outside the folder"):
                tree.read(name, 1000)


async def test_a_tree_that_writes_through_its_own_link(home: Path, origin: Origin, tmp_path: Path) -> None:
    """A hand-made tree in which a name is both a link to elsewhere and a folder writes nothing elsewhere."""
    target = tmp_path / "target"
    target.mkdir()
    link = blob(origin, str(target).encode())
    inner = tree_object(origin, [(b"100644", b"pwned", blob(origin, b"x"))])
    root = tree_object(
        origin, [(b"120000", b"a", link), (b"40000", b"a", inner), (b"100644", b"z", blob(origin, b"z"))]
    )
    commit = origin.git("commit-tree", "-m", "evil", "-p", "HEAD", root)
    origin.git("update-ref", "refs/heads/evil", commit)
    one = checkout(home, origin.url, ref="evil")
    try:
        await one.fetch()
    except SourceError:
        assert one.root is None
    assert list(target.iterdir()) == []
    one.close()


@pytest.mark.parametrize("name", [b".git", b"..", b".GIT"])
async def test_names_that_lead_elsewhere(home: Path, origin: Origin, name: bytes) -> None:
    """A hand-made tree with a name that Git itself forbids puts nothing in force."""
    inner = tree_object(origin, [(b"100644", b"config", blob(origin, b"x"))])
    root = tree_object(origin, [(b"40000", name, inner)])
    origin.git("update-ref", "refs/heads/evil", origin.git("commit-tree", "-m", "evil", root))
    one = checkout(home, origin.url, ref="evil")
    with pytest.raises(SourceError):
        await one.fetch()
    assert one.root is None
    assert left_over(home) == []


def blob(origin: Origin, data: bytes) -> str:
    return hash_object(origin, "blob", data)


def tree_object(origin: Origin, entries: list[tuple[bytes, bytes, str]]) -> str:
    data = b"".join(mode + b" " + name + b"\0" + bytes.fromhex(oid) for mode, name, oid in entries)
    return hash_object(origin, "tree", data)


def hash_object(origin: Origin, kind: str, data: bytes) -> str:
    """Write an object as git does, without a process for each."""
    whole = b"%s %d\0" % (kind.encode(), len(data)) + data
    oid = hashlib.sha1(whole).hexdigest()
    file = origin.path / ".git/objects" / oid[:2] / oid[2:]
    file.parent.mkdir(exist_ok=True)
    if not file.exists():
        file.write_bytes(zlib.compress(whole))
    return oid


async def test_a_submodule_is_not_an_empty_folder(opened: Checkout, origin: Origin) -> None:
    """A submodule is not fetched, and not shown: a reference to it is an error, not a folder without files."""
    oid = origin.git("rev-parse", "HEAD")
    origin.git("update-index", "--add", "--cacheinfo", f"160000,{oid},state/sub")
    origin.git("commit", "--quiet", "--message=x")
    await opened.fetch()
    assert opened.root is not None
    assert not (opened.root / "state/sub").exists()


async def test_the_disk_is_not_filled(home: Path, origin: Origin) -> None:
    """A fetch that brings more than is allowed ends, says so, and leaves nothing behind."""
    origin.commit({"noise": os.urandom(4_000_000)})
    one = checkout(home, origin.url, ref="main", max_size=2**20)
    with pytest.raises(SourceError, match=r"exceeds the size limit.*max_size"):
        await one.fetch()
    with pytest.raises(SourceError):
        await one.fetch()  # which also removes what the first one left
    size = sum(path.stat().st_size for path in (home / "state").rglob("*") if path.is_file())
    assert size < 2 * 2**20


def bomb(origin: Origin, folder: str, levels: int) -> None:
    """Commit a folder with ten times as many files for each level, all of them the same few objects."""
    mode, inner = b"100644", blob(origin, b"")
    for _ in range(levels):
        inner = tree_object(origin, [(mode, b"%d" % number, inner) for number in range(10)])
        mode = b"40000"
    rest = [line.replace("\t", " ").split(" ") for line in origin.git("ls-tree", "HEAD").splitlines()]
    entries = [(mode.encode().lstrip(b"0"), name.encode(), oid) for mode, _, oid, name in rest]
    root = tree_object(origin, sorted([*entries, (b"40000", folder.encode(), inner)], key=lambda entry: entry[1]))
    origin.git("update-ref", "refs/heads/main", origin.git("commit-tree", "-p", "HEAD", "-m", "x", root))


@pytest.mark.system
async def test_a_commit_of_a_billion_files_is_refused_at_once(home: Path, origin: Origin) -> None:
    """Git keeps a tree that is used many times once, so that a small fetch may hold any number of files."""
    bomb(origin, "bomb", 9)
    one = checkout(home, origin.url, ref="main", timeout=60)
    with pytest.raises(SourceError, match="git ls-tree printed more than 64 MiB"):  # waiting for all of it takes hours
        await one.fetch()
    one.close()


async def test_a_commit_that_cannot_be_listed_is_not_listed_again(
    home: Path, origin: Origin, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each fetch says so, and only the first pays for it; the next commit is looked at, and used."""
    asked: list[str] = []
    members = Clone.members

    async def counted(self: Clone, commit: str) -> list[Member] | None:
        asked.append(commit)
        return await members(self, commit)

    monkeypatch.setattr(Clone, "members", counted)
    monkeypatch.setattr(command, "_MOST_OUTPUT", 10_000)
    good = origin.git("rev-parse", "HEAD")
    bomb(origin, "bomb", 4)
    one = checkout(home, origin.url, ref="main")
    for _ in range(2):
        with pytest.raises(SourceError, match="git ls-tree printed more than"):
            await one.fetch()
    assert len(asked) == 1
    origin.git("update-ref", "refs/heads/main", good)
    assert (await one.fetch()).commit == good
    one.close()


@pytest.mark.parametrize(
    ("levels", "said"),
    [
        (201, "its folders are nested deeper than 200 levels"),
        (12, "its path has more than 2,000 bytes"),
    ],
)
async def test_a_commit_with_deep_or_long_paths_is_refused(home: Path, origin: Origin, levels: int, said: str) -> None:
    """Before its files are written, so that nothing is left that nobody can remove; the last good commit stays."""
    one = checkout(home, origin.url, ref="main")
    before = (await one.fetch()).commit
    name = b"d" * (200 if levels == 12 else 1)
    inner = tree_object(origin, [(b"100644", b"f", blob(origin, b""))])
    for _ in range(levels):
        inner = tree_object(origin, [(b"40000", name, inner)])
    origin.git("update-ref", "refs/heads/main", origin.git("commit-tree", "-p", "HEAD", "-m", "x", inner))
    fetched = await one.fetch()
    assert fetched.commit == before
    assert said in str(fetched.refused)
    assert len(str(fetched.refused)) < 500
    one.close()


async def test_what_lies_outside_of_the_path_costs_nothing(home: Path, origin: Origin) -> None:
    """However many files there are: of folders above the path, only their attributes are read."""
    attributes = {".gitattributes": "*.yaml text eol=crlf\n", "a/.gitattributes": "b.txt text eol=crlf\n"}
    origin.commit({"a/b/web.yaml": WEB, "a/b/b.txt": "x\n", "a/b/c.txt": "x\n", **attributes})
    bomb(origin, "bomb", 9)
    one = checkout(home, origin.url, ref="main", path="a/b", timeout=60)
    await one.fetch()
    assert one.root is not None
    found = {file.name: file.read_bytes() for file in one.root.iterdir()}
    assert found == {"web.yaml": WEB.replace("\n", "\r\n").encode(), "b.txt": b"x\r\n", "c.txt": b"x\n"}
    one.close()
