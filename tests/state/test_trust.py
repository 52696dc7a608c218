"""A state directory is trusted only when nobody else can have put anything into it."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from kvsync.errors import LockHeld, StateDirUntrusted
from kvsync.state import StateDir
from kvsync.state.environments import open_environment
from tests.state.examples import run

OTHER = 65532
"""The id of a user that is not root."""

OPEN = """
try:
    with StateDir.open(path, writable=%s, config_root=Path(sys.argv[2]) if sys.argv[2:] else None) as state:
        state.pauses.all()
        print("opened", state.path)
except StateDirError as error:
    print(type(error).__name__, error)
"""


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def opened(path: Path, *, writable: bool = True, config_root: Path | None = None) -> Path:
    """Open and close the directory; gives the one that is used."""
    with StateDir.open(path, writable=writable, config_root=config_root) as state:
        return state.path


def as_root() -> None:
    if os.geteuid() != 0 or shutil.which("setpriv") is None:
        pytest.skip("needs root, and setpriv to become another user")


def as_other(path: Path, *, writable: bool = True) -> str:
    """What a process of another user says when it opens the directory."""
    as_root()
    wrapper = ("setpriv", f"--reuid={OTHER}", f"--regid={OTHER}", "--clear-groups")
    return run(OPEN % writable, path, wrapper=wrapper).strip()


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder that other users can reach, unlike those of pytest."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


# -- links ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("writable", [True, False])
@pytest.mark.parametrize("link", ["var/kvsync", "var"])
def test_a_link_below_the_configuration_is_refused(tmp_path: Path, link: str, writable: bool) -> None:
    """Whoever writes state files may have committed it: neither the directory nor a folder on the way to it is a link."""
    elsewhere = tmp_path / "elsewhere"
    (elsewhere / "kvsync").mkdir(parents=True, mode=0o700)
    root = tmp_path / "repo"
    (root / link).parent.mkdir(parents=True)
    (root / link).symlink_to(elsewhere / "kvsync" if "/" in link else elsewhere)
    with pytest.raises(StateDirUntrusted, match=f"{root / link} is a symbolic link; replace it with a directory"):
        opened(root / "var" / "kvsync", writable=writable, config_root=root)
    assert not (elsewhere / "kvsync" / "state.db").exists()


def test_links_that_lead_to_the_configuration_are_followed(tmp_path: Path) -> None:
    """The folder of the configuration may be a link, as git-sync makes one."""
    (tmp_path / "v1").mkdir()
    (tmp_path / "current").symlink_to("v1")
    found = opened(tmp_path / "current" / ".kvsync", config_root=tmp_path / "current")
    assert found == tmp_path / "v1" / ".kvsync"


def test_the_link_of_systemd_is_followed(place: Path) -> None:
    """`/var/lib/kvsync` is a link of root's to `private/kvsync` with DynamicUser, and root may be the one who asks."""
    as_root()
    state = place / "lib" / "private" / "kvsync"
    state.mkdir(parents=True, mode=0o700)
    state.parent.chmod(0o700)
    os.chown(state, OTHER, OTHER)
    (place / "lib" / "kvsync").symlink_to("private/kvsync")
    assert opened(place / "lib" / "kvsync", config_root=place / "etc") == state
    shutil.rmtree(state)
    state.mkdir(mode=0o700)
    os.chown(state, OTHER, OTHER)
    state.parent.chmod(0o711)
    (place / "lib").chmod(0o755)
    assert as_other(place / "lib" / "kvsync") == f"opened {state}"


def test_a_link_of_another_user_is_refused(tmp_path: Path) -> None:
    """Outside of the configuration's folder it matters who made it."""
    as_root()
    (tmp_path / "real").mkdir(mode=0o700)
    (tmp_path / "link").symlink_to("real")
    os.chown(tmp_path / "link", OTHER, OTHER, follow_symlinks=False)
    with pytest.raises(StateDirUntrusted, match="is a symbolic link"):
        opened(tmp_path / "link")


@pytest.mark.parametrize("name", ["state.db", "state.db-wal", "key", "lock", "cache.db", "control", "source", "stores"])
def test_a_link_in_the_place_of_a_file_of_ours_is_refused(tmp_path: Path, name: str) -> None:
    """It would lead what kvsync writes, or believes, to another place."""
    path = opened(tmp_path / "state")
    if (path / name).is_dir():
        shutil.rmtree(path / name)
    (path / name).unlink(missing_ok=True)
    (path / name).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StateDirUntrusted, match=f"{name} in it is a symbolic link"):
        opened(path)
    assert not (tmp_path / "elsewhere").exists()


# -- owner and mode ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("writable", [True, False])
@pytest.mark.parametrize("before", [0o777, 0o770, 0o755, 0o2775, 0o1777, 0o701])
def test_an_open_directory_of_ours_is_closed(tmp_path: Path, before: int, writable: bool) -> None:
    """Git, or a person, made it with what the umask left."""
    path = opened(tmp_path / "state")
    path.chmod(before)
    opened(path, writable=writable)
    assert mode(path) == 0o700


def test_a_file_system_without_modes_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where closing it has no effect anybody could write to it."""
    path = opened(tmp_path / "state")
    path.chmod(0o777)
    monkeypatch.setattr(Path, "chmod", lambda *_: None)
    with pytest.raises(
        StateDirUntrusted, match="other users can write to it, and its mode cannot be changed; run chmod 700"
    ):
        opened(path)


def test_a_directory_that_is_open_on_a_read_only_file_system_can_be_read(tmp_path: Path) -> None:
    """Nobody can write there."""
    path = opened(tmp_path / "state")
    path.chmod(0o777)
    mount = 'mount --bind "$0" "$0" && mount -o remount,ro,bind "$0" && exec "$@"'
    wrapper = ("unshare", "--mount", "sh", "-c", mount, str(path))
    if subprocess.run([*wrapper, "true"], capture_output=True, check=False).returncode:
        pytest.skip("mounting read-only needs root and mount namespaces")
    assert run(OPEN % False, path, wrapper=wrapper).strip() == f"opened {path}"


def test_what_others_put_into_an_open_directory_is_not_believed(tmp_path: Path) -> None:
    """Closing it later does not make what lies in it ours."""
    as_root()
    path = opened(tmp_path / "state")
    path.chmod(0o777)
    os.chown(path / "state.db", OTHER, OTHER)
    for _ in range(2):
        with pytest.raises(
            StateDirUntrusted, match=f"'state.db' in it belongs to user id {OTHER}; delete files that do not"
        ):
            opened(path)
    assert mode(path) == 0o777


def test_the_directory_of_another_user_is_refused(place: Path) -> None:
    """Also to root, where the configuration lies next to it: another user decides there."""
    as_root()
    root = place / "repo"
    path = root / ".kvsync"
    path.mkdir(parents=True, mode=0o700)
    os.chown(path, OTHER, OTHER)
    said = f"its owner is user id {OTHER}, but kvsync runs as 0; run kvsync as that user"
    with pytest.raises(StateDirUntrusted, match=said):
        opened(path, config_root=root)
    os.chown(root, OTHER, OTHER)
    with pytest.raises(StateDirUntrusted, match=said):
        opened(path, config_root=place / "etc")
    os.chown(path, 12345, 12345)
    assert "StateDirUntrusted" in as_other(path)
    assert f"its owner is user id 12345, but kvsync runs as {OTHER}" in as_other(path)


def test_root_may_look_into_the_directory_of_a_service(place: Path) -> None:
    """`kvsync status` as root, on the state directory that systemd made for another user."""
    as_root()
    path = place / "lib" / "kvsync"
    path.mkdir(parents=True, mode=0o700)
    os.chown(path, OTHER, OTHER)
    assert opened(path, config_root=place / "etc") == path


def test_the_directory_of_an_environment_belongs_to_the_service(place: Path) -> None:
    """Also if a command that root runs is the first to need it: the daemon of the service has to use it."""
    as_root()
    path = place / "lib" / "kvsync"
    path.mkdir(parents=True, mode=0o700)
    os.chown(path, OTHER, OTHER)
    (place / "etc").mkdir()
    for _ in range(2):
        with open_environment(path, "prod", lambda own, _: StateDir.open(own, writable=True), needed=True) as state:
            state.pauses.pause("edge", None, None, 0.0)
    own = path / "environments" / "prod"
    assert {one.stat().st_uid for one in (own.parent, own, own / "state.db", own / "control")} == {OTHER}
    assert as_other(own) == f"opened {own}"


# -- volumes ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("volume_mode", [0o2777, 0o777, 0o2775])
def test_a_volume_that_others_may_write_to_holds_a_closed_directory(place: Path, volume_mode: int) -> None:
    """A volume of Kubernetes is root's and open to the group of the pod, or to all; what kvsync keeps in it is closed."""
    as_root()
    volume = place / "volume"
    volume.mkdir()
    os.chown(volume, 0, OTHER)
    volume.chmod(volume_mode)
    for _ in range(2):
        assert as_other(volume) == f"opened {volume / 'kvsync'}"
    assert as_other(volume, writable=False) == f"opened {volume / 'kvsync'}"
    assert (mode(volume / "kvsync") & 0o777, (volume / "kvsync").stat().st_uid) == (0o700, OTHER)
    assert {file.name for file in volume.iterdir()} == {"kvsync"}
    (volume / "kvsync").chmod(0o2770)  # as Kubernetes does to what it finds in a volume
    assert as_other(volume) == f"opened {volume / 'kvsync'}"
    assert mode(volume / "kvsync") == 0o700


def test_a_directory_that_another_made_in_a_volume_is_refused(place: Path) -> None:
    """The name can be taken by whoever writes there first."""
    as_root()
    volume = place / "volume"
    (volume / "kvsync").mkdir(parents=True)
    volume.chmod(0o777)
    os.chown(volume / "kvsync", 12345, 12345)
    assert "its owner is user id 12345" in as_other(volume)
    (volume / "kvsync").rmdir()
    (volume / "kvsync").symlink_to(place)
    os.chown(volume / "kvsync", 12345, 12345, follow_symlinks=False)
    assert "is a symbolic link" in as_other(volume)


def test_what_an_older_kvsync_kept_in_a_volume_is_moved(place: Path) -> None:
    """Pauses and approvals are not lost; what others put there stays where it is."""
    as_root()
    volume = place / "volume"
    volume.mkdir(mode=0o700)
    os.chown(volume, OTHER, OTHER)
    assert as_other(volume) == f"opened {volume}"
    pause = 'with StateDir.open(path, writable=True) as state: state.pauses.pause("edge", None, None, 0); state.key'
    wrapper = ("setpriv", f"--reuid={OTHER}", f"--regid={OTHER}", "--clear-groups")
    assert run(pause, volume, wrapper=wrapper) == ""
    key = (volume / "key").read_bytes()
    os.chown(volume, 0, OTHER)
    volume.chmod(0o2775)
    (volume / "cache.db").write_text("of another")
    shown = (
        "with StateDir.open(path, writable=True) as state: print([str(one) for one in state.pauses.all()], state.path)"
    )
    assert run(shown, volume, wrapper=wrapper) == f"['edge'] {volume / 'kvsync'}\n"
    assert (volume / "kvsync" / "key").read_bytes() == key
    assert {file.name for file in volume.iterdir()} == {"kvsync", "cache.db"}


def test_a_volume_in_use_by_an_older_kvsync_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is moved from under a process that writes."""
    from kvsync.state import volume as volumes

    path = opened(tmp_path / "state")
    with StateDir.open(path, writable=True) as state, state.lock("run"), pytest.raises(LockHeld):
        volumes.move_into(path)
    assert (path / "state.db").exists()
    volumes.move_into(path)
    assert (path / "kvsync" / "state.db").exists()


# -- Git --------------------------------------------------------------------------------------------------------------


def git(folder: Path, *arguments: str) -> None:
    identity = ("-c", "user.name=a", "-c", "user.email=a@b", "-c", "init.defaultBranch=main")
    subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A Git repository with a state directory that is not tracked."""
    root = tmp_path / "repo"
    root.mkdir()
    git(root, "init")
    opened(root / "sub" / ".kvsync")
    (root / "file").touch()
    git(root, "add", "file")
    git(root, "commit", "-m", "x")
    return root


@pytest.mark.parametrize("writable", [True, False])
@pytest.mark.parametrize("name", ["state.db", "key", "control/wake", "stores/edge/pages.db", "new\nline"])
def test_a_file_that_git_tracks_is_not_believed(repository: Path, name: str, writable: bool) -> None:
    """Whoever commits would decide about approvals, pauses and what is ours; also in the index only, and in a clone."""
    path = repository / "sub" / ".kvsync"
    opened(path)
    (path / name).parent.mkdir(parents=True, exist_ok=True)
    (path / name).touch()
    git(repository, "add", "-f", f"sub/.kvsync/{name}")
    for _ in range(2):
        with pytest.raises(StateDirUntrusted, match=r"Git tracks 'sub/\.kvsync/.*' in it.* run git rm -r --cached"):
            opened(path, writable=writable)
        git(repository, "commit", "--allow-empty", "-m", "x")
    git(repository, "clone", "-q", str(repository), str(repository.parent / "clone"))
    with pytest.raises(StateDirUntrusted, match="Git tracks"):
        opened(repository.parent / "clone" / "sub" / ".kvsync")
    git(repository, "rm", "-r", "-q", "--cached", "sub/.kvsync")
    assert opened(path) == path


@pytest.mark.parametrize("name", [".gitignore", ".gitkeep", "cache.db"])
def test_files_that_kvsync_does_not_believe_may_be_tracked(repository: Path, name: str) -> None:
    """A folder is kept in a repository by an empty file; the records of the cache are sealed."""
    path = repository / "sub" / ".kvsync"
    (path / name).touch()
    git(repository, "add", "-f", f"sub/.kvsync/{name}")
    assert opened(path) == path


def test_a_git_that_does_not_answer_is_not_proof(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While git cannot tell what it tracks, the state directory is not believed."""
    program = tmp_path / "bin" / "git"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\nexec sleep 60\n")
    program.chmod(0o755)
    monkeypatch.setattr("kvsync.state.tracked._SECONDS", 0.2)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    with pytest.raises(StateDirUntrusted, match=r"git did not list the files of .* so kvsync cannot tell"):
        opened(repository / "sub" / ".kvsync")


def test_a_folder_above_that_may_not_be_searched(place: Path) -> None:
    """Whether there is a repository in it cannot be seen, and is then no reason to refuse the directory, or to crash."""
    (place / "closed" / "open").mkdir(parents=True)
    (place / "closed").chmod(0o711)
    (place / "closed" / "open").chmod(0o777)
    state_dir = place / "closed" / "open" / ".kvsync"
    assert as_other(state_dir) == f"opened {state_dir}"
    (place / "closed").chmod(0o700)
    as_root()
    look = "from kvsync.state.tracked import tracked_files; print(tracked_files(path))"
    wrapper = ("setpriv", f"--reuid={OTHER}", f"--regid={OTHER}", "--clear-groups")
    assert run(look, state_dir, wrapper=wrapper) == "[]\n"


def test_the_settings_of_a_repository_run_nothing(repository: Path) -> None:
    """Looking into the index starts no program that its configuration names."""
    program = repository / "program"
    program.write_text(f"#!/bin/sh\ntouch {repository / 'ran'}\n")
    program.chmod(0o755)
    git(repository, "config", "core.fsmonitor", str(program))
    git(repository, "config", "core.pager", str(program))
    opened(repository / "sub" / ".kvsync")
    assert not (repository / "ran").exists()


def test_a_repository_of_another_user_is_looked_into(repository: Path) -> None:
    """In a container the files often belong to another user; git would not touch such a repository on its own."""
    as_root()
    subprocess.run(["chown", "-R", f"{OTHER}:{OTHER}", str(repository / ".git")], check=True)
    os.chown(repository, OTHER, OTHER)
    git_dir = ("-c", f"safe.directory={repository}")
    (repository / "sub" / ".kvsync" / "x").touch()
    git(repository, *git_dir, "add", "-f", "sub/.kvsync/x")
    with pytest.raises(StateDirUntrusted, match="Git tracks"):
        opened(repository / "sub" / ".kvsync")


def test_work_trees_and_submodules_have_an_index_of_their_own(repository: Path) -> None:
    """Their `.git` is a file."""
    tree = repository.parent / "tree"
    git(repository, "worktree", "add", "-q", str(tree))
    path = opened(tree / ".kvsync")
    git(tree, "add", "-f", ".kvsync/state.db")
    with pytest.raises(StateDirUntrusted, match=r"Git tracks '\.kvsync/state\.db'"):
        opened(path)


def test_without_git_or_without_a_repository_nothing_is_looked_into(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A container may lack the program; a `.git` that leads nowhere is a checkout whose repository is not there."""
    path = repository / "sub" / ".kvsync"
    git(repository, "add", "-f", "sub/.kvsync/state.db")
    monkeypatch.setenv("PATH", str(repository))
    assert opened(path) == path
    monkeypatch.undo()
    shutil.rmtree(repository / ".git")
    (repository / ".git").write_text("gitdir: /nowhere\n")
    assert opened(path) == path


def test_waking_writes_through_no_link(tmp_path: Path) -> None:
    """A link that lies where the daemon is woken is replaced."""
    path = opened(tmp_path / "state")
    (tmp_path / "victim").write_text("keep")
    (path / "control" / "wake").symlink_to(tmp_path / "victim")
    with StateDir.open(path, writable=True) as state:
        state.wake()
    assert (tmp_path / "victim").read_text() == "keep"
    assert not (path / "control" / "wake").is_symlink()
