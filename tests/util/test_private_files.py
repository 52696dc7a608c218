"""Whatever may hold values is for its owner alone, whatever the umask."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from kvsync.util.private_files import write_private
from tests.support.command import Repository


@pytest.fixture(autouse=True)
def open_umask() -> Iterator[None]:
    """A umask that lets everybody read and write."""
    before = os.umask(0)
    yield
    os.umask(before)


def modes(folder: Path) -> dict[str, str]:
    """The modes of all files and folders beneath a folder, by path."""
    return {
        path.relative_to(folder).as_posix(): oct(stat.S_IMODE(path.stat().st_mode))
        for path in sorted(folder.rglob("*"))
    }


def test_stores_plans_dumps_and_reports(tmp_path: Path) -> None:
    """The store in a file, a saved plan, plans and reports into files, and dumps."""
    repository = Repository(tmp_path)
    repository.want("  a: hush\n  s: {value: hush, sensitive: true}\n")
    repository.run("plan", "--out", "plan.json", "--json-into", "p.json", "--markdown-into", "p.md", code=0)
    repository.run("apply", "plan.json", "--json-into", "r.json", code=0)
    repository.run("dump", "main/web", "--to", "dumped", "--include-sensitive", code=0)
    repository.run("dump", "main/web", "--to", "dumped", "--force", code=0)
    made = modes(tmp_path)
    for name in (
        "plan.json",
        "p.json",
        "p.md",
        "r.json",
        "store.db",
        ".kvsync/state.db",
        ".kvsync/cache.db",
        ".kvsync/key",
    ):
        assert made[name] == "0o600", name
    dumped = {name: mode for name, mode in made.items() if name.startswith("dumped/") and name.endswith(".yaml")}
    assert set(dumped.values()) == {"0o600"}


def test_what_takes_the_place_of_an_open_file_is_closed(tmp_path: Path) -> None:
    """A file that everybody could read is replaced, not written into."""
    file = tmp_path / "plan.json"
    file.write_text("old")
    file.chmod(0o666)
    with file.open() as reading:
        write_private(file, b"hush")
        assert reading.read() == "old"
    assert (file.read_bytes(), modes(tmp_path)) == (b"hush", {"plan.json": "0o600"})


def test_a_draft_of_another_is_not_written_into(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file or a link with the name of the draft leads nothing elsewhere, and one that cannot be finished is removed."""
    monkeypatch.setattr("kvsync.util.private_files.os.urandom", bytes)
    draft = tmp_path / ".plan.json.00000000"
    draft.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(FileExistsError):
        write_private(tmp_path / "plan.json", b"hush")
    draft.unlink()
    (tmp_path / "folder").mkdir()
    with pytest.raises(IsADirectoryError):
        write_private(tmp_path / "folder", b"hush")
    assert modes(tmp_path) == {"folder": "0o777"}


def test_a_store_that_exists_keeps_its_mode(tmp_path: Path) -> None:
    """Another program may read it, where the operator said so."""
    repository = Repository(tmp_path)
    repository.want("  a: 1\n")
    repository.run("apply", "--yes", code=0)
    (tmp_path / "store.db").chmod(0o640)
    repository.want("  a: 2\n")
    repository.run("apply", "--yes", code=0)
    assert modes(tmp_path)["store.db"] == "0o640"
