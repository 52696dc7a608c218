"""The command line over a repository: it fetches first, says which commit it goes by, and does not go by an old one unasked."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from pathlib import Path

import pytest

from tests.git.repos import Origin
from tests.git.server import serving
from tests.support.command import Repository

TOKEN = "tok-0123456789abcdef"

CONFIG = """\
version: 1
owner: team-a
source: {{git: {{url: "{url}", ref: main, path: config{more}}}}}
state: ["state/*.yaml"]
environments: [prod]
policy: {{prune: owned, guard: {{max_delete_pct: 100, max_update_pct: 100}}}}
stores: {{main: {{type: sqlite, path: store.db}}}}
"""


def web(**keys: str) -> dict[str, str | bytes | None]:
    lines = "".join(f"  {key}: {value}\n" for key, value in keys.items())
    return {"config/state/web.yaml": f"store: main\nnamespace: web\nkeys:\n{lines}"}


@pytest.fixture
def origin(tmp_path: Path) -> Origin:
    made = Origin(tmp_path / "origin")
    made.commit(web(a="1", b="2"))
    return made


@pytest.fixture
def clone(tmp_path: Path, origin: Origin) -> Repository:
    made = Repository(tmp_path / "here", CONFIG.format(url=origin.url, more=""))
    (made.root / "state/other.yaml").write_text("nothing here counts")
    return made


def test_apply_goes_by_the_newest_commit(clone: Repository, origin: Origin) -> None:
    """apply fetches, applies the files of the commit, and the journal and the plan name it."""
    newest = origin.commit(web(a="2", c="3"))
    done = clone.run("apply", "--yes", "-o", "json", code=0)
    assert clone.values() == {"a": "2", "c": "3"}
    document = json.loads(done.stdout)
    assert document["source"] == newest
    assert document["targets"][0]["changes"][0]["origin"] == "state/web.yaml:4:3"
    assert f"commit {newest[:12]} of {origin.url} (main)" in done.stderr
    (run,) = json.loads(clone.run("history", "-o", "json", code=0).stdout)["runs"]
    assert run["source"] == newest
    assert "Nothing to do" in clone.run("plan", code=0).stdout


def test_a_commit_that_changes_nothing_writes_nothing(clone: Repository, origin: Origin) -> None:
    """A commit is not a change: entries that ask for the same are not written again."""
    clone.run("apply", "--yes", code=0)
    origin.commit({"config/README.md": "more"})
    document = json.loads(clone.run("plan", "--exit-code", "-o", "json", code=0).stdout)
    assert document["source"] == origin.git("rev-parse", "HEAD")
    assert document["targets"][0]["changes"] == []


@pytest.mark.parametrize("command", [("plan",), ("validate",), ("apply", "--yes")])
def test_an_old_commit_only_when_asked_for(clone: Repository, origin: Origin, command: tuple[str, ...]) -> None:
    """When the repository cannot be had a command ends with 1 and says why; --offline goes by the last good commit, and says
    which."""
    clone.run("apply", "--yes", code=0)
    origin.path.rename(origin.path.with_name("elsewhere"))
    failed = clone.run(*command, code=1)
    assert "no such repository" in failed.stderr
    done = clone.run("--offline", *command, code=0)
    assert "commit " in done.stderr


def test_offline_before_the_first_fetch(clone: Repository) -> None:
    """Without any commit --offline is an error that says what to do."""
    assert "run once without --offline" in clone.run("--offline", "plan", code=1).stderr
    assert "run once without --offline" in clone.run("plan", code=1, env={"KVSYNC_OFFLINE": "1"}).stderr


def test_a_refused_commit(clone: Repository, origin: Origin) -> None:
    """A rewritten history ends a command with 1 and the way out; nothing is written."""
    clone.run("apply", "--yes", code=0)
    before = clone.values()
    origin.write(web(a="evil"))
    origin.git("commit", "--all", "--amend", "--quiet", "--message=rewritten")
    failed = clone.run("apply", "--yes", code=1)
    assert "the history was rewritten" in failed.stderr
    assert "use --offline to continue with the last good one" in failed.stderr
    assert clone.values() == before
    assert "history was rewritten" in clone.run("status", code=0).stdout
    assert clone.run("--offline", "plan", "--exit-code", code=0)


def test_an_emptied_repository_deletes_nothing(clone: Repository, origin: Origin) -> None:
    """A commit that drops every state file is refused, by hand and by `run --once`: nothing is deleted."""
    clone.run("apply", "--yes", code=0)
    before = clone.values()
    origin.commit({"config/state/web.yaml": None, "config/README.md": "sorry"})
    assert "no file in it matches state/*.yaml" in clone.run("apply", "--yes", code=1).stderr
    clone.run("run", "--once", code=1)
    assert clone.values() == before


def test_a_pass_goes_on_with_the_last_good_commit(clone: Repository, origin: Origin) -> None:
    """`run --once` heals drift by the last good commit when the repository cannot be had, and does not end with 0."""
    clone.run("run", "--once", code=0)
    clone.by_hand("UPDATE entries SET value = X'64' WHERE key = 'a'")
    origin.path.rename(origin.path.with_name("elsewhere"))
    done = clone.run("run", "--once", code=1)
    assert "continuing with commit" in done.stderr
    assert clone.values() == {"a": "1", "b": "2"}
    clone.run("--offline", "run", "--once", code=0)


def test_a_broken_file_is_named_with_its_place(clone: Repository, origin: Origin) -> None:
    """What is wrong in a file of the repository is reported with its place in the folder."""
    origin.commit({"config/state/web.yaml": "store: main\nnamespace: web\nkeys: {a: 1, a: 2}\n"})
    assert "state/web.yaml:3:14" in clone.run("validate", code=78).stderr


def test_undo_needs_no_repository(clone: Repository, origin: Origin) -> None:
    """What takes back a run looks at no files, so that it works when the repository is gone."""
    clone.run("apply", "--yes", code=0)
    origin.path.rename(origin.path.with_name("elsewhere"))
    (run,) = json.loads(clone.run("history", "-o", "json", code=0).stdout)["runs"]
    clone.run("undo", run["run"], "--yes", code=0)
    assert clone.values() == {}


def test_doctor(clone: Repository, origin: Origin) -> None:
    """doctor tells git, server, newest commit and clone apart, and ends with 1 when one of them is wrong."""
    names = ["git", "reached", "newest commit", "clone"]
    assert findings(clone, 0) == dict.fromkeys(names, True)
    origin.git("commit", "--amend", "--quiet", "--message=rewritten")
    assert findings(clone, 1) == dict.fromkeys(names, True) | {"newest commit": False}
    origin.path.rename(origin.path.with_name("elsewhere"))
    assert findings(clone, 1) == {"git": True, "reached": False, "clone": True}
    assert findings(clone, 1, env={"PATH": "/nonexistent"}) == {"git": False}


def findings(clone: Repository, code: int, env: dict[str, str] | None = None) -> dict[str, bool]:
    document = json.loads(clone.run("doctor", "-o", "json", code=code, env=env).stdout)
    return {one["check"]: one["ok"] for one in document["findings"] if one["subject"] == "source"}


def test_status_names_the_commit(clone: Repository, origin: Origin) -> None:
    """status shows the commit in force, when it was fetched, and why it could not be since."""
    assert json.loads(clone.run("status", "-o", "json", code=0).stdout)["source"]["commit"] is None
    clone.run("plan", code=0)
    source = json.loads(clone.run("status", "-o", "json", code=0).stdout)["source"]
    assert source["commit"] == origin.git("rev-parse", "HEAD")
    assert source["error"] is None
    origin.path.rename(origin.path.with_name("elsewhere"))
    clone.run("plan", code=1)
    later = json.loads(clone.run("status", "-o", "json", code=0).stdout)["source"]
    assert (later["commit"], later["fetched_at"]) == (source["commit"], source["fetched_at"])
    assert "no such repository" in later["error"]


def test_a_token_shows_nowhere(tmp_path: Path, origin: Origin) -> None:
    """Neither an answer nor the log nor any file shows the token, whether it works or not."""
    with serving(tmp_path, TOKEN) as server:
        more = ", credentials: {token: {env: GIT_TOKEN}}"
        clone = Repository(tmp_path / "there", CONFIG.format(url=server.url("origin/.git"), more=more))
        good = clone.run("--log-level", "debug", "apply", "--yes", env={"GIT_TOKEN": TOKEN}, code=0)
        server.password = "tok-another-one-entirely"
        bad = clone.run("--log-level", "debug", "doctor", "-o", "json", env={"GIT_TOKEN": TOKEN}, code=1)
        assert "the credential was refused" in bad.stdout
    said = [good.stdout, good.stderr, bad.stdout, bad.stderr]
    kept = [path.read_bytes().decode("latin-1") for path in clone.root.rglob("*") if path.is_file()]
    assert not [text for text in said + kept if TOKEN in text]


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become a user who may not write")
def test_where_the_state_directory_may_not_be_written(clone: Repository, origin: Origin) -> None:
    """A reading command of another user, who may not write to the state directory, fetches for itself."""
    clone.run("apply", "--yes", code=0)
    newest = origin.commit(web(a="5"))
    through = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
    for folder in clone.root.parents:
        if folder.is_relative_to(tempfile.gettempdir()) and folder != Path(tempfile.gettempdir()):
            folder.chmod(0o755)
    subprocess.run(["chmod", "-R", "a+rX", clone.root], check=True)
    assert newest[:12] in clone.run("validate", through=through, code=0).stderr
