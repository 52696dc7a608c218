"""What a commit holds is looked at in its own folder, also where a hand-made one says otherwise."""

from __future__ import annotations

import os
from pathlib import Path

from kvsync.git.clone import Member
from kvsync.git.verification import drop_submodules, refuse_pointers

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:abc\nsize 1\n"


def test_nothing_is_removed_or_read_through_a_link(tmp_path: Path) -> None:
    """A name that is both a link to elsewhere and a folder with a submodule leads nowhere; a pipe holds nothing up."""
    outside, root = tmp_path / "outside", tmp_path / "root"
    (outside / "empty").mkdir(parents=True)
    (outside / "pointer").write_bytes(POINTER)
    os.mkfifo(outside / "pipe")
    (root / "sub").mkdir(parents=True)
    (root / "a").symlink_to(outside)
    (root / "pointer").write_bytes(POINTER)
    drop_submodules([Member("160000", "a/empty", 0), Member("160000", "sub", 0), Member("160000", "none/x", 0)], root)
    assert (outside / "empty").is_dir()
    assert not (root / "sub").exists()
    names = ["a/pointer", "a/pipe", "none/x"]
    members = [Member("100644", name, len(POINTER)) for name in names]
    assert refuse_pointers("c" * 40, members, root) is None
    refused = refuse_pointers("c" * 40, [*members, Member("100644", "pointer", len(POINTER))], root)
    assert refused is not None
    assert refused.reason.startswith("pointer: stored in Git LFS")
