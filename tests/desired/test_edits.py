"""An edit is known by the entries that it changed, and checks between files are repeated only if it may add a conflict."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from kvsync.desired import assemble, conflict_checks
from kvsync.model.entry import Identity
from tests.desired.conftest import WEB, Repo

HEAD = "store: edge\nnamespace: web\nkeys:\n"


@pytest.fixture
def checks(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows by one item for each check of all entries of a target."""
    made: list[int] = []
    check = assemble.conflicting_entries

    def counted(*arguments: object) -> object:
        made.append(1)
        return check(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(conflict_checks, "conflicting_entries", counted)
    return made


def write(repo: Repo, name: str, keys: str) -> Path:
    """Write a state file whose status differs from that of any earlier one."""
    file = repo.write(f"state/{name}.yaml", HEAD + keys)
    write.moment += 5_000_000_000  # type: ignore[attr-defined]
    os.utime(file, ns=(write.moment, write.moment))  # type: ignore[attr-defined]
    return file


write.moment = 1_000_000_000_000_000_000  # type: ignore[attr-defined]


def test_edit_of_values_repeats_no_check(repo: Repo, checks: list[int]) -> None:
    write(repo, "a", "  one: 1\n  two: 2\n")
    write(repo, "b", "  three: 3\n")
    source = repo.source()
    source.load()
    before = len(checks)

    write(repo, "a", "  one: 1\n  two: changed\n")
    loaded = source.load()

    assert (len(checks) - before, loaded.problems) == (0, ())
    (edit,) = loaded.targets[WEB].edits
    assert ({*edit.before}, {*edit.after}) == ({Identity("two")}, {Identity("two")})


def test_names_that_an_edit_adds_are_checked(repo: Repo) -> None:
    write(repo, "a", "  one: 1\n")
    write(repo, "b", "  two: 2\n")
    source = repo.source()
    source.load()

    write(repo, "a", "  one: 1\n  two: again\n")
    assert [str(problem) for problem in source.load().problems]

    write(repo, "a", "  one: 1\n")
    write(repo, "b", "  two: {value: 2, after: [absent]}\n")
    assert [str(problem) for problem in source.load().problems]


def test_edits_add_up_until_they_are_too_many(repo: Repo) -> None:
    write(repo, "a", "  one: 1\n  two: 2\n")
    source = repo.source()
    first = source.load().targets[WEB]
    write(repo, "a", "  one: 1\n  new: 3\n")
    second = source.load().targets[WEB]
    write(repo, "a", "  one: other\n  new: 4\n")
    third = source.load().targets[WEB]

    latest, earlier = third.edits
    assert (latest.digest, earlier.digest) == (second.digest, first.digest)
    assert ({*earlier.before}, {*earlier.after}) == (
        {Identity("one"), Identity("two")},
        {Identity("one"), Identity("new")},
    )
    assert third.entries.get(Identity("two")) is None
    assert Identity("two") not in third.entries
    assert third.entries[Identity("new")].content.value == b"4"

    write(repo, "a", f"  one: other\n  new: {'x' * 2_000_000}\n")
    assert source.load().targets[WEB].edits == ()

    write(repo, "a", "".join(f"  key{number}: 1\n" for number in range(300)))
    assert source.load().targets[WEB].edits == ()


def test_change_of_a_policy_is_not_an_edit_of_entries(repo: Repo) -> None:
    write(repo, "a", "  one: 1\n")
    source = repo.source()
    source.load()
    write(repo, "a", "  one: 2\npolicy: {prune: off}\n")
    assert source.load().targets[WEB].edits == ()
    write(repo, "a", "  one: 2\npolicy: {prune: off}\nabsent: [old]\n")
    assert source.load().targets[WEB].edits == ()
