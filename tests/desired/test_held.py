"""What happens to targets when files are broken, missing, cut off, or gone: they keep their state."""

from __future__ import annotations

import os
import shutil
from typing import Any

import pytest

from kvsync.desired.compile import compile_document
from kvsync.desired.document import Document
from kvsync.errors import ErrorCode
from kvsync.model.entry import Target
from kvsync.model.place import Place
from kvsync.stores.memory.store import MemoryStore
from tests.desired.conftest import CONFIG, WEB, Repo

API = Target("edge", "api")
GOOD = """\
store: edge
namespace: web
defaults: {ttl: 7d, tags: {team: web}}
policy: {drift: report}
keys:
  greeting: Hello
  limits: {json: {rps: 10, list: [1, 2]}}
  quoted: "a: b"
  blob: {base64: "AAEC"}
  theme:
    value: light
    labels: {prod: dark, dev: {value: neon, ttl: 1h}}
  text: |
    two
    lines
absent: [old_key]
moved:
  - {from: greet, to: greeting}
"""


@pytest.fixture
def two(repo: Repo) -> Repo:
    """Two files with a target each."""
    repo.web("keys: {a: 1}\n")
    repo.write("state/api.yaml", "store: edge\nnamespace: api\nkeys: {a: 1}\n")
    return repo


@pytest.mark.parametrize(
    "broken",
    [
        "store: edge\nnamespace: web\nkeys:\n  a: [\n",
        "store: edge\nnamespace: web\nkeys: {a: }\n",
        "store: edge\nnamespace: web\nkeys: {a: {env: NOT_SET}}\n",
        "store: edge\nnamespace: web\nkeys: {a: {file: missing}}\n",
        "store: edge\nnamespace: web\nkeys:\n\ta: 1\n",
        "store: edge\nnamespace: web\nkeys: {a: 1, a: 2}\n",
    ],
)
def test_a_broken_file_holds_the_target_that_it_names(two: Repo, broken: str) -> None:
    """The other target is usable, and the problem says file:line:column."""
    two.write("state/web.yaml", broken)
    loaded = two.load()
    assert list(loaded.held) == [WEB]
    assert loaded.hold_all == ()
    assert loaded.targets[WEB].problems
    assert len(loaded.targets[API].entries) == 1
    assert loaded.targets[API].problems == ()
    assert str(loaded.problems[0]).startswith("state/web.yaml:")


@pytest.mark.parametrize(
    "broken",
    [
        "store: edge\nkeys: [\n",
        "\0",
        "",
        "store: nowhere\nnamespace: web\nkeys: {}\n",
        "store: edge\nnamespace: [web]\nkeys: {}\n",
        "store: edge\nnamespace: web\nkeys: [\n---\nstore: edge\nnamespace: api\nkeys: {b: 1}\n",
        "store: edge\nnamespace: web\n\tkeys: {}\n",
        "just text\n",
    ],
)
def test_a_file_that_does_not_tell_its_targets_holds_all(two: Repo, broken: str) -> None:
    """What may concern any target keeps every target as it is."""
    two.write("state/web.yaml", broken)
    loaded = two.load()
    assert loaded.hold_all
    assert all(desired.problems for desired in loaded.targets.values())


def test_every_prefix_of_a_file_is_an_error_or_asks_for_less(repo: Repo) -> None:
    """A half-saved file never crashes, never invents an entry, and says what is wrong with it."""
    repo.write("state/web.yaml", GOOD)
    whole = set(repo.entries())
    for end in range(len(GOOD)):
        repo.write("state/web.yaml", GOOD[:end].encode())
        loaded = repo.load()
        desired = loaded.targets.get(WEB)
        if not loaded.problems:
            assert len(loaded.targets) == 1
            names = {identity.key for identity in (set() if desired is None else set(desired.entries))}
            assert all(any(full.key.startswith(name) for full in whole) for name in names), end
        else:
            assert loaded.hold_all or loaded.held
            assert all(problem.origin is not None and problem.message for problem in loaded.problems)


def test_a_missing_folder_holds_all(repo: Repo) -> None:
    """No folder is not a folder without files."""
    loaded = repo.load()
    assert [str(problem) for problem in loaded.hold_all] == ['state: cannot read the folder "state": it does not exist']
    assert str(repo.root) in loaded.watch.directories


def test_an_empty_folder_holds_all(repo: Repo) -> None:
    """An empty checkout is not a request to delete everything."""
    (repo.root / "state").mkdir()
    problem = repo.load().hold_all[0]
    assert "no state file matches state/**/*.yaml" in str(problem)
    assert problem.code is ErrorCode.UNREADABLE


@pytest.mark.parametrize(
    "document",
    ["keys: {a: {file: missing.txt}}", "files: [{path: missing}]", "files: [{path: '.', glob: '*.html'}]"],
)
def test_a_missing_value_file_has_the_code_of_unreadable_files(repo: Repo, document: str) -> None:
    """`kvsync explain` then says that a file is missing, and not that a line breaks a rule."""
    repo.web(document + "\n")
    assert [problem.code for problem in repo.load().problems] == [ErrorCode.UNREADABLE]


def test_one_of_several_folders_may_be_without_files(repo: Repo) -> None:
    """A pattern that matches nothing is fine next to one that does, as long as its folder is there."""
    repo.write("kvsync.yaml", CONFIG.replace('"state/**/*.yaml"', '"state/**/*.yaml", "state/**/*.yml", "more/*.yaml"'))
    repo.web("keys: {}\n")
    (repo.root / "more").mkdir()
    assert repo.problems() == []
    (repo.root / "more").rmdir()
    assert repo.load().hold_all


def test_a_file_that_cannot_be_read_holds_all(two: Repo) -> None:
    """Neither a link to nowhere nor a pipe is a file, and what it would say is not known."""
    (two.root / "state" / "gone.yaml").symlink_to("nowhere.yaml")
    assert [str(problem) for problem in two.load().hold_all] == [
        "state/gone.yaml:1:1: cannot read the file: it does not exist"
    ]
    (two.root / "state" / "gone.yaml").unlink()
    os.mkfifo(two.root / "state" / "pipe.yaml")
    assert [str(problem) for problem in two.load().hold_all] == [
        "state/pipe.yaml:1:1: cannot read the file: it is not a file"
    ]


def test_a_target_without_files_is_not_managed(two: Repo) -> None:
    """Removing the last file of a target ends its management, and deletes nothing."""
    (two.root / "state" / "web.yaml").unlink()
    assert list(two.load().targets) == [API]


def test_the_result_recovers(two: Repo) -> None:
    """One source goes from good to broken to good again, in memory and on disk."""
    source = two.source()
    before = source.load()
    good = (two.root / "state" / "web.yaml").read_bytes()
    two.write("state/web.yaml", "store: edge\nnamespace: web\nkeys: [\n")
    assert list(source.load().held) == [WEB]
    two.write("state/web.yaml", good)
    after = source.load()
    assert after.problems == ()
    assert after.digest == before.digest
    shutil.rmtree(two.root / "state")
    assert source.load().hold_all


def test_a_name_that_is_not_text_is_reported(two: Repo) -> None:
    """A state file whose name is not UTF-8 cannot be referred to: it is a problem like any other, and holds everything."""
    (two.root / os.fsdecode(b"state/b\xff.yaml")).write_text("store: edge\nnamespace: b\nkeys: {}\n")
    loaded = two.load()
    assert [problem.message for problem in loaded.hold_all] == [
        r'state: the file name "state/b\udcff.yaml" is not UTF-8'
    ]
    assert set(loaded.targets) == {WEB, API}


@pytest.mark.parametrize("name", [b"web/b\xff.yaml", b"web/f\xff/b.yaml"], ids=["file", "folder"])
def test_a_name_that_is_not_text_holds_its_own_team(repo: Repo, name: bytes) -> None:
    """With `authors.targets`, only what a file of that name may name is held."""
    grants = '[{path: "state/web/**", stores: [edge]}, {path: "state/core/**", stores: [core]}]'
    repo.write("kvsync.yaml", CONFIG.replace('authors: {env: ["*"]}', f"authors: {{targets: {grants}}}"))
    repo.web("keys: {a: 1}\n", "state/web/web.yaml")
    repo.write("state/core/other.yaml", "store: core\nnamespace: other\nkeys: {a: 1}\n")
    repo.write(f"state/{os.fsdecode(name)}", "store: edge\nnamespace: b\nkeys: {}\n")
    loaded = repo.load()
    assert loaded.hold_all == ()
    assert list(loaded.held) == [WEB]
    assert set(loaded.targets) == {WEB, Target("core", "other")}


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (RecursionError, "unexpected "),
        (ValueError("secret"), "unexpected "),
        (MemoryError, "the file cannot be read: out of memory; raise the limit"),
    ],
)
def test_a_failure_of_kvsync_is_a_problem_of_one_file(
    two: Repo, monkeypatch: pytest.MonkeyPatch, error: Exception, said: str
) -> None:
    """What nobody expected while a file is compiled is said of that file, without its words, and holds its targets; the
    others are loaded."""

    def failing(document: Document, *rest: Any) -> Any:
        if document.namespace == "web":
            raise error
        return compile_document(document, *rest)

    monkeypatch.setattr("kvsync.desired.compiled_file.compile_document", failing)
    loaded = two.load()
    assert loaded.hold_all == ()
    assert list(loaded.held) == [WEB]
    (problem,) = loaded.problems
    assert str(problem).startswith(f"state/web.yaml:1:1: {said}")
    assert ("this is a bug in kvsync" in str(problem)) == (said == "unexpected ")
    assert "secret" not in str(problem)
    assert loaded.targets[API].entries


class BuggyStore(MemoryStore):
    """A store with a mistake in it."""

    def place(self, namespace: str) -> Place:
        """Fail for one namespace."""
        if namespace == "web":
            raise KeyError("nowhere")
        return super().place(namespace)


def test_a_store_type_that_fails_to_tell_a_place_holds_that_target_alone(repo: Repo) -> None:
    """The mistake of a store's author is a problem of one target, and names the store type and the line of the store."""
    repo.web("keys: {a: 1}\n")
    repo.write("state/other.yaml", "store: core\nnamespace: other\nkeys: {a: 1}\n")
    repo.kind = BuggyStore
    loaded = repo.load()
    assert (loaded.hold_all, list(loaded.held)) == ((), [WEB])
    assert "kvsync.yaml:6:9: the store type memory cannot tell where edge/web leads: unexpected KeyError" in str(
        loaded.problems[0]
    )
