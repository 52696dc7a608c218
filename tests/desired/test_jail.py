"""Nothing is read but what lies beneath the root and may be read: by the kernel's rules, by walking, and while it changes."""

from __future__ import annotations

import os
import random
import socket
import subprocess
import threading
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath

import pytest

from kvsync.config.authority import Authority
from kvsync.config.model import ReadLimits
from kvsync.config.protected import ProtectedPath
from kvsync.desired.discovery import matches
from kvsync.desired.read_rules import OutsideError, ProtectedError, ReadRules, TooMuchError, UnreadableError
from kvsync.desired.reading_budget import ReadingBudget
from kvsync.desired.tree import Tree
from kvsync.desired.values import ValueContext
from kvsync.util import beneath
from kvsync.util.beneath import FOLDER, Opener, open_by_kernel, open_by_walking

SECRET = b"outside of the repository"
LIMIT = 1_000


@pytest.fixture(params=["kernel", "walk"])
def opener(request: pytest.FixtureRequest) -> Opener:
    """Both ways to open a path beneath a folder."""
    if request.param == "walk":
        return open_by_walking
    with descriptor(Path("/")) as root:
        try:
            os.close(open_by_kernel(root, "", FOLDER))
        except OSError:
            pytest.skip("this kernel has no openat2, or does not let us call it")
    return open_by_kernel


@contextmanager
def descriptor(folder: Path) -> Iterator[int]:
    opened = os.open(folder, FOLDER)
    try:
        yield opened
    finally:
        os.close(opened)


def descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A repository with a file in it, next to a folder with a secret."""
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret").write_bytes(SECRET)
    (tmp_path / "repo" / "a" / "b").mkdir(parents=True)
    (tmp_path / "repo" / "a" / "b" / "x").write_text("inside")
    return tmp_path / "repo"


@pytest.mark.parametrize(
    "path",
    [
        "link",
        "link/secret",
        "a/link/secret",
        "a/stay/x",
        "a/stay",
        "a/b/file",
        "a/b/x/y",
        "magic/fd",
        "..",
        "a/..",
        "/etc",
        "a\0",
    ],
)
def test_nothing_is_opened_through_a_link(root: Path, opener: Opener, path: str) -> None:
    """Neither a link on the way, one at the end, the kernel's own ones, dots, nor an absolute path is followed."""
    (root / "link").symlink_to("../outside")
    (root / "a" / "link").symlink_to(root.parent / "outside")
    (root / "a" / "stay").symlink_to("b")
    (root / "a" / "b" / "file").symlink_to("../../../outside/secret")
    (root / "magic").symlink_to("/proc/self")
    with descriptor(root) as handle, pytest.raises((OSError, ValueError)):
        os.close(opener(handle, path, os.O_RDONLY))


def test_files_and_folders_beneath_are_opened(root: Path, opener: Opener) -> None:
    """Everything else is, the folder itself too, and nothing stays open."""
    before = descriptors()
    with descriptor(root) as handle:
        for path, flags in (("", FOLDER), ("a", FOLDER), ("a/b", os.O_RDONLY | os.O_DIRECTORY), ("a/b/x", os.O_RDONLY)):
            found = opener(handle, path, flags)
            assert os.fstat(found).st_ino == (root / path).stat().st_ino
            os.close(found)
        with pytest.raises(FileNotFoundError):
            opener(handle, "a/none/x", os.O_RDONLY)
    assert descriptors() == before


def test_another_file_system_is_not_entered_where_mounts_are_not_followed(opener: Opener) -> None:
    """As in a repository that kvsync fetched itself."""
    with descriptor(Path("/")) as handle:
        os.close(opener(handle, "proc", FOLDER))
        with pytest.raises(OSError, match="cross-device"):
            opener(handle, "proc/self", FOLDER, mounts=False)


def test_a_kernel_that_forbids_the_call_causes_no_trouble(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Old container runtimes answer every call they do not know with EPERM; then the path is walked."""

    def forbidden(*_: object, **__: object) -> int:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(beneath, "open_by_kernel", forbidden)
    beneath._opener.cache_clear()
    try:
        with Tree(root) as tree:
            assert tree.read("a/b/x", LIMIT) == b"inside"
        assert beneath._opener() is open_by_walking
    finally:
        beneath._opener.cache_clear()


@pytest.mark.parametrize("target", ["evil", "evil2", "..evil", "../outside", "..", ".", "", "..data", "sub/../evil"])
def test_a_data_link_that_is_not_a_mount_leads_nowhere(root: Path, opener: Opener, target: str) -> None:
    """Only a real folder next to it is what a ConfigMap's `..data` names; another link is not, wherever it leads."""
    folder = root / "a"
    for name in ("evil", "..evil"):
        (folder / name).symlink_to(root.parent / "outside")
    (folder / "evil2").symlink_to("evil")
    if target:
        (folder / "..data").symlink_to(target)
    with Tree(root, opener=opener) as tree:
        assert tree.read("a/b/x", LIMIT) == b"inside"
        for path in ("a/secret", "a/..data/secret", "a/evil/secret", "a/..evil/secret", "a/..data/..data/secret"):
            with pytest.raises(UnreadableError):
                tree.read(path, LIMIT)


def test_a_mounted_configmap_is_read_from_its_version(root: Path, opener: Opener) -> None:
    """A folder whose name begins with two dots, which `..data` names, is what Kubernetes lays out."""
    mount = root / "mount"
    (mount / "..2024_01_01" / "sub").mkdir(parents=True)
    (mount / "..2024_01_01" / "sub" / "x").write_text("one")
    (mount / "..data").symlink_to("..2024_01_01")
    (mount / "sub").symlink_to("..data/sub")
    with Tree(root, opener=opener) as tree:
        assert dict(tree.items("mount")) == {"sub": True}
        assert tree.read("mount/sub/x", LIMIT) == b"one"


def test_kinds_of_files(root: Path, opener: Opener) -> None:
    """A pipe without a writer, a socket and a device hold nothing up, and are not files."""
    os.mkfifo(root / "pipe")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(root / "socket"))
        names = ["pipe", "socket", "a"]
        with suppress(PermissionError):
            os.mknod(root / "null", 0o666 | 0o020000, os.makedev(1, 3))
            names.append("null")
        (root / "to-pipe").symlink_to("pipe")
        with Tree(root, opener=opener) as tree:
            for name in (*names, "to-pipe"):
                with pytest.raises(UnreadableError, match="it is not a file"):
                    tree.read(name, LIMIT)


def test_a_file_that_is_not_what_its_size_says(opener: Opener) -> None:
    """Files that the kernel makes up hold secrets of processes, and their sizes are wrong; so is that of a file that grows."""
    for path in ("self/environ", "self/status", "sys/kernel/hostname"):
        folder, _, name = path.partition("/")
        tree = Tree(Path("/proc", folder).resolve(), opener=opener)
        with tree, pytest.raises(UnreadableError, match="changed while kvsync read it"):
            tree.read(name, LIMIT * 100)


def test_a_file_that_grows_while_it_is_read(root: Path, opener: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not a value before it rests."""
    file = root / "a" / "b" / "x"
    read = os.read

    def reading(handle: int, size: int) -> bytes:
        data = read(handle, size)
        with file.open("ab") as stream:
            stream.write(b"more")
        return data

    monkeypatch.setattr(os, "read", reading)
    with Tree(root, opener=opener) as tree, pytest.raises(UnreadableError, match="changed while kvsync read it"):
        tree.read("a/b/x", LIMIT)


# -- what is never read -----------------------------------------------------------------------------------------------


@pytest.fixture
def rules(root: Path) -> ReadRules:
    """A state directory, a configuration, a credential and one that is not there yet."""
    (root / "var" / "kvsync").mkdir(parents=True)
    (root / "var" / "kvsync" / "key").write_bytes(SECRET)
    (root / ".git" / "sub").mkdir(parents=True)
    (root / ".git" / "config").write_bytes(SECRET)
    (root / "a" / ".git").write_bytes(SECRET)
    (root / "kvsync.yaml").write_bytes(SECRET)
    (root / "vox.json").write_bytes(SECRET)
    names = {
        "var/kvsync": "state",
        "kvsync.yaml": "configuration",
        "vox.json": "credential",
        "later.json": "credential",
    }
    return ReadRules(protected=tuple(ProtectedPath(root / name, reason) for name, reason in names.items()))


NEVER = ["var/kvsync/key", ".git/config", ".git/sub/none", "a/.git", "kvsync.yaml", "vox.json", "a/b/../../vox.json"]


@pytest.mark.parametrize("path", NEVER)
def test_what_is_never_read(root: Path, rules: ReadRules, opener: Opener, path: str) -> None:
    """By its own path, through links inside the root, and by a hard link."""
    (root / "link").symlink_to(path)
    (root / "a" / "up").symlink_to(".." if path.startswith("a/") else "../a/..")
    (root / "b").mkdir()
    if (root / path).is_file():
        os.link(root / path, root / "b" / "hard")
    with Tree(root, rules, opener=opener) as tree:
        for written in (path, "link", f"a/up/{path}"):
            with pytest.raises(ProtectedError, match="kvsync never reads it: "):
                tree.read(written, LIMIT)
            with pytest.raises(ProtectedError):
                tree.size(written)
        if (root / "b" / "hard").exists() and ".git" not in path:  # Git has no file that holds only secrets
            with pytest.raises(ProtectedError):
                tree.read("b/hard", LIMIT)


SPELLINGS = [
    "LATER.json",
    "Later.JSON",
    "la\u200dter.json",
    "\uff4cater.json",
    ".GIT/config",
    ".g\u200cit/config",
    ".git. /x",
    "git~1/config",
]


@pytest.mark.parametrize("path", SPELLINGS)
def test_other_spellings_of_what_is_never_read(root: Path, rules: ReadRules, opener: Opener, path: str) -> None:
    """Upper case, invisible characters, wide letters and what Windows takes for a name: some file system takes each for it."""
    with suppress(FileExistsError):
        (root / path).parent.mkdir(parents=True)
    (root / path).write_bytes(SECRET)
    with Tree(root, rules, opener=opener) as tree, pytest.raises(ProtectedError):
        tree.read(path, LIMIT)


def test_composed_and_decomposed_letters_are_one_name(root: Path, opener: Opener) -> None:
    """A credential whose name is written in the other form of Unicode is the same file on some systems."""
    composed, decomposed = unicodedata.normalize("NFC", "clé.json"), unicodedata.normalize("NFD", "clé.json")
    for here, there in ((composed, decomposed), (decomposed, composed)):
        rules = ReadRules(protected=(ProtectedPath(root / here, "it holds a credential"),))
        (root / there).write_bytes(SECRET)
        with Tree(root, rules, opener=opener) as tree, pytest.raises(ProtectedError):
            tree.read(there, LIMIT)
        (root / there).unlink()


def test_wildcards_pass_over_what_is_never_read(root: Path, rules: ReadRules, opener: Opener) -> None:
    """A pattern over everything finds nothing in it, and one that names it is refused."""
    steps = ReadingBudget(ReadLimits()).take_steps_for
    with Tree(root, rules, opener=opener) as tree:
        assert matches(tree, "", "**/*", steps) == ["a/b/x", "kvsync.yaml", "vox.json"]
        assert matches(tree, "", "**/k*", steps) == ["kvsync.yaml"]
        for pattern in (".git/*", "**/.git/*", "var/kvsync/*", "*/kvsync/*"):
            with pytest.raises(ProtectedError):
                matches(tree, "", pattern, steps)


def test_a_credential_that_is_rotated_while_files_are_read(root: Path, rules: ReadRules, opener: Opener) -> None:
    """What was read meanwhile may be the new secret under another name, so it is read again."""
    with Tree(root, rules, opener=opener) as tree:
        assert not tree.changed()
        (root / "fresh").write_bytes(SECRET)
        (root / "fresh").replace(root / "vox.json")
        assert tree.changed()


def test_values_come_from_the_folders_that_are_allowed(root: Path, opener: Opener) -> None:
    """A narrower jail, for values alone; links count by where they lead."""
    (root / "assets").mkdir()
    (root / "assets" / "logo").write_text("logo")
    (root / "assets-not").mkdir()
    (root / "assets" / "link").symlink_to("../a/b/x")
    (root / "a" / "link").symlink_to("../assets")
    with Tree(root, ReadRules(folders=(PurePosixPath("assets"), PurePosixPath("none"))), opener=opener) as tree:
        for path in ("assets", "assets/logo", "a/link/logo", "a/../assets/logo"):
            tree.check_allowed(path)
        for path in ("a/b/x", "assets-not", "assets/link", "assets/../a/b/x", ""):
            with pytest.raises(OutsideError):
                tree.check_allowed(path)
        assert tree.read("a/b/x", LIMIT) == b"inside"


def test_an_allowed_folder_is_not_replaced_by_a_link(root: Path, opener: Opener) -> None:
    """A link in place of the folder would let its author choose what is read; links on the way to it are followed."""
    (root / "private").mkdir()
    (root / "private" / "x").write_text("secret")
    (root / "assets").symlink_to("private")
    (root / "current").symlink_to("a")
    rules = ReadRules(folders=(PurePosixPath("assets"), PurePosixPath("current/b")))
    with Tree(root, rules, opener=opener) as tree:
        for path in ("assets/x", "private/x"):
            with pytest.raises(OutsideError, match=r"\(assets, current/b\); assets is a symbolic link: use the folder"):
                tree.check_allowed(path)
        tree.check_allowed("current/b/x")


def test_references_keep_to_the_folders_that_are_allowed(root: Path, opener: Opener) -> None:
    """Both `file:` and each file of `files:`, before anything is read."""
    (root / "assets").mkdir()
    (root / "assets" / "link").symlink_to("../a/b/x")
    rules = ReadRules(folders=(PurePosixPath("assets"),))
    with Tree(root, rules, opener=opener) as tree:
        pass_context = ValueContext(tree, "state/web.yaml", {}, ReadingBudget(ReadLimits()), Authority())
        for read in (
            lambda: pass_context.file("../a/b/x"),
            lambda: pass_context.file("../assets/link"),
            lambda: pass_context.files("../a", "**/*"),
            lambda: pass_context.files("../assets", "*"),
        ):
            with pytest.raises(UnreadableError, match=r"outside the folders that state files may read \(assets\)"):
                read()
        assert all(kind == "glob" for kind, *_ in pass_context.references)


def test_links_are_off_where_the_rules_say_so(root: Path, opener: Opener) -> None:
    """As in a repository that kvsync fetches: the error names the link and the option, also for a folder met by a wildcard."""
    (root / "a" / "link").symlink_to("b")
    (root / "a" / "unused.txt").symlink_to("b/x")
    (root / "a" / "..data").symlink_to("..v1")
    (root / "a" / "..v1").mkdir()
    with Tree(root, ReadRules(links=False), opener=opener) as tree:
        assert tree.read("a/b/x", LIMIT) == b"inside"
        for path in ("a/link/x", "a/unused.txt"):
            with pytest.raises(UnreadableError, match=r"is a symbolic link, .* set source\.git\.symlinks: true"):
                tree.read(path, LIMIT)
        steps = ReadingBudget(ReadLimits()).take_steps_for
        with pytest.raises(UnreadableError, match='"a/link" is a symbolic link'):
            matches(tree, "", "a/**/x", steps)
        assert matches(tree, "", "a/b/*", steps) == ["a/b/x"]


# -- patterns cost no more than they must -----------------------------------------------------------------------------


def steps_of(root: Path, pattern: str) -> tuple[list[str], int]:
    """What a pattern finds, and the comparisons that it takes."""
    taken: list[int] = []
    with Tree(root) as tree:
        return matches(tree, "", pattern, lambda _group, steps: taken.append(steps)), sum(taken)


def test_any_number_of_depths_costs_the_same(root: Path) -> None:
    """`**/**/**` is `**`, and parts between them add up instead of multiplying."""
    deep = root.joinpath("d", *["x"] * 24)
    deep.mkdir(parents=True)
    (deep / "f").touch()
    found, once = steps_of(root, "d/**/f")
    assert steps_of(root, f"d/{'**/' * 8}f") == (found, once)
    found, steps = steps_of(root, f"d/{'**/x/' * 8}**/f")
    assert len(found) == 1
    assert steps <= once * 20


def test_links_that_lead_to_the_same_folder_are_gone_through_once(root: Path) -> None:
    """Thirty folders with two links each to the next are thirty folders, not a billion."""
    for number in range(30):
        (root / f"l{number}").mkdir()
        for name in ("p", "q"):
            (root / f"l{number}" / name).symlink_to(f"../l{number + 1}")
    (root / "l30").mkdir()
    (root / "l30" / "f").touch()
    found, steps = steps_of(root, "l0/**/f")
    assert found == ["l0/" + "p/" * 30 + "f"]
    assert steps < 500


def test_folders_that_lie_in_one_another_have_a_limit(root: Path) -> None:
    """A chain of them costs no recursion, and no more than its length."""
    here = root / "c"
    for _ in range(150):
        here = here / "d"
    here.mkdir(parents=True)
    for pattern in ("**/f", f"c/{'d/' * 150}f"):
        with pytest.raises(
            TooMuchError, match=r"the folders are nested deeper than 100 levels; raise limits\.folder_depth"
        ):
            steps_of(root, pattern)
    with Tree(root) as tree, pytest.raises(TooMuchError):
        tree.read("d/" * 100_000 + "f", LIMIT)


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("*", ["x"]),
        (".*", [".x"]),
        ("**/*", ["a/x", "x"]),
        ("**/.*", [".x", "a/.x"]),
        (".a/*", [".a/x"]),
        (".a/.*", [".a/.x"]),
        (".*/x", [".a/x"]),
        ("**/.a/x", [".a/x", "a/.a/x"]),
        ("[.]x", []),
        ("?x", []),
    ],
)
def test_names_that_begin_with_a_dot_are_matched_by_what_does(tmp_path: Path, pattern: str, found: list[str]) -> None:
    """As in a shell, at any depth."""
    for path in ("x", ".x", "a/x", "a/.x", ".a/x", ".a/.x", "a/.a/x"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).touch()
    assert steps_of(tmp_path, pattern)[0] == found


@pytest.mark.parametrize("pattern", ["x/" * 200 + "*", "*" * 300])
def test_patterns_that_no_path_could_match(root: Path, pattern: str) -> None:
    """Too many parts, or one longer than any name, cost nothing."""
    with pytest.raises(TooMuchError):
        steps_of(root, "*/" + pattern)


def test_limits_of_folders_and_patterns(root: Path) -> None:
    """Both are reported before the work is done, with the line that sets them."""
    for number in range(50):
        (root / "a" / str(number)).touch()
    with Tree(root, ReadRules(folder_names=50)) as tree, pytest.raises(TooMuchError, match=r"limits\.folder_names"):
        tree.items("a")
    with Tree(root) as tree, pytest.raises(TooMuchError, match=r"limits\.pattern_steps"):
        matches(tree, "", "a/*", ReadingBudget(ReadLimits(pattern_steps=50)).take_steps_for)


# -- while the tree changes -------------------------------------------------------------------------------------------


def swap_folder(root: Path) -> None:
    """A folder becomes a link to the outside, and a folder again."""
    (root / "a").rename(root / "kept")
    (root / "a").symlink_to("../outside")
    (root / "a").unlink()
    (root / "kept").rename(root / "a")


def swap_inner(root: Path) -> None:
    """The same further down, where the path above stays."""
    (root / "a" / "b").rename(root / "a" / "kept")
    (root / "a" / "b").symlink_to(root.parent / "outside")
    (root / "a" / "b").unlink()
    (root / "a" / "kept").rename(root / "a" / "b")


def swap_link(root: Path) -> None:
    """A link inside leads outside for an instant."""
    for target in ("../outside", "a/b", "/", "a"):
        with suppress(FileNotFoundError):
            (root / "new").unlink()
        (root / "new").symlink_to(target)
        (root / "new").replace(root / "way")


def swap_file(root: Path) -> None:
    """A file becomes a link to the secret, and to a pipe."""
    for target in ("../../../outside/secret", "pipe", None):
        fresh = root / "a" / "b" / "fresh"
        if target is None:
            (root.parent / "whole").write_text("inside")
            (root.parent / "whole").rename(fresh)
        else:
            fresh.symlink_to(target)
        fresh.replace(root / "a" / "b" / "x")


def swap_mount(root: Path) -> None:
    """A `..data` link names a version, a link to the outside, and the version again."""
    for target in ("..evil", "..v1"):
        (root / "a" / "fresh").symlink_to(target)
        (root / "a" / "fresh").replace(root / "a" / "..data")


def swap_state(root: Path) -> None:
    """The state directory is moved to where a value is taken from."""
    (root / "a" / "b").rename(root / "kept")
    (root / "var").rename(root / "a" / "b")
    (root / "a" / "b").rename(root / "var")
    (root / "kept").rename(root / "a" / "b")


@pytest.mark.parametrize("swap", [swap_folder, swap_inner, swap_link, swap_file, swap_mount, swap_state])
def test_nothing_outside_is_read_while_the_tree_changes(
    root: Path, opener: Opener, swap: Callable[[Path], None]
) -> None:
    """Thousands of swaps later, all that was ever read is what lies inside. A busy machine may do them all before anything is
    read."""
    (root / "a" / "..v1" / "b").mkdir(parents=True)
    (root / "a" / "..v1" / "b" / "x").write_text("inside")
    (root / "a" / "..evil").symlink_to(root.parent / "outside")
    (root / "way").symlink_to("a/b")
    (root / "var").mkdir()
    for name in ("secret", "x"):
        (root / "var" / name).write_bytes(SECRET)
        (root.parent / "outside" / name).write_bytes(SECRET)
    os.mkfifo(root / "a" / "b" / "pipe")
    status = (root / "var").stat()
    state = ProtectedPath(root / "var", "it belongs to the state directory", (status.st_dev, status.st_ino))
    rules = ReadRules(protected=(state,))
    paths = ["a/b/x", "a/secret", "way/x", "way/secret", "a/b/secret", "way/b/x", f"way{root.parent}/outside/secret"]
    swaps, stop = 0, threading.Event()

    def swapping() -> None:
        nonlocal swaps
        while not stop.is_set():
            swap(root)
            swaps += 1

    thread = threading.Thread(target=swapping)
    thread.start()
    read: set[bytes] = set()
    rng = random.Random(1)
    try:
        while swaps < 2_000 or not read:
            with suppress(UnreadableError), Tree(root, rules, opener=opener) as tree:
                for path in rng.sample(paths, len(paths)):
                    with suppress(UnreadableError):
                        read.add(tree.read(path, LIMIT))
                with suppress(UnreadableError):
                    for path in matches(tree, "", "**/*", lambda _group, _steps: None):
                        with suppress(UnreadableError):
                            read.add(tree.read(path, LIMIT))
    finally:
        stop.set()
        thread.join()
    assert read == {b"inside"}


def test_a_mount_is_followed_but_never_into_what_is_protected(root: Path, tmp_path: Path) -> None:
    """Whoever runs the machine may mount folders into the repository; the state directory is one under every name."""
    (root / "var").mkdir()
    (root / "var" / "key").write_bytes(SECRET)
    (root / "m").mkdir()
    (tmp_path / "volume").mkdir()
    (tmp_path / "volume" / "f").write_text("mounted")
    (root / "v").mkdir()
    program = (
        "import sys\nfrom pathlib import Path\n"
        "from kvsync.config.protected import ProtectedPath\n"
        "from kvsync.desired.read_rules import ReadRules, UnreadableError\nfrom kvsync.desired.tree import Tree\n"
        "root = Path(sys.argv[1])\n"
        "with Tree(root, ReadRules(protected=(ProtectedPath(root / 'var', 'state'),))) as tree:\n"
        "    print(tree.read('v/f', 99))\n"
        "    try: print(tree.read('m/key', 99))\n"
        "    except UnreadableError as error: print(error)\n"
    )
    mounts = 'mount --bind "$1/var" "$1/m" && mount --bind "$2" "$1/v" && exec "$3" -c "$4" "$1"'
    import sys

    command = [
        "unshare",
        "--mount",
        "sh",
        "-c",
        mounts,
        "sh",
        str(root),
        str(tmp_path / "volume"),
        sys.executable,
        program,
    ]
    if subprocess.run(["unshare", "--mount", "true"], capture_output=True, check=False).returncode:
        pytest.skip("mounting needs root and mount namespaces")
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["b'mounted'", "kvsync never reads it: state"]
