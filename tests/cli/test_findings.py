"""What `validate` finds, for the programs that show it next to the lines of a change."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from sarif_pydantic import Sarif  # type: ignore[import-untyped]  # it ships no types

from kvsync import __version__
from kvsync.app.ci_findings import findings
from kvsync.errors import Kind, Problem
from kvsync.rendering.findings import CiFinding, fingerprints, github, gitlab, sarif
from tests.cli.conftest import Repo
from tests.cli.runner import Runner

BROKEN = """\
store: local
namespace: web
keys:
  a: null
  b: {valu: x}
"""
PLACES = [("state/a b.yaml", 4, 6), ("state/a b.yaml", 5, 6)]


@pytest.fixture
def broken(repo: Repo) -> Repo:
    """A repository with two mistakes in a file whose name has a blank."""
    repo.write("state/a b.yaml", BROKEN)
    return repo


def places(log: Any) -> list[tuple[str, int, int]]:
    """The places in a SARIF log."""
    found = []
    for result in log["runs"][0]["results"]:
        (location,) = result["locations"]
        place = location["physicalLocation"]
        region = place["region"]
        found.append((unquote(place["artifactLocation"]["uri"]), region["startLine"], region["startColumn"]))
    return found


def test_sarif_names_every_place(broken: Repo) -> None:
    """The SARIF log is sound, has a result for each problem with its place and a rule that it declares, and the exit code
    is that of the problems."""
    log = json.loads(broken.run("validate", "-o", "sarif", code=78).stdout)
    Sarif.model_validate(log)
    (run,) = log["runs"]
    assert places(log) == PLACES
    assert run["tool"]["driver"]["version"] == __version__
    assert all(run["tool"]["driver"]["rules"][one["ruleIndex"]]["id"] == one["ruleId"] for one in run["results"])
    assert " " not in run["results"][0]["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]


def test_annotations_name_every_place(broken: Repo) -> None:
    """GitHub gets one command a problem on stdout, people the same on stderr."""
    done = broken.run("validate", "-o", "github", code=78)
    lines = done.stdout.splitlines()
    starts = [
        f"::error file={file},line={line},col={column},title=kvsync%3A invalid::" for file, line, column in PLACES
    ]
    assert [line.startswith(start) for line, start in zip(lines, starts, strict=True)] == [True, True]
    assert "state/a b.yaml:4:6: keys.a: " in done.stderr


def test_one_run_writes_all_forms(broken: Repo) -> None:
    """Files get SARIF and Code Quality while stdout has annotations; once mended, both are there and empty."""
    into = ("--sarif-into", "k.sarif", "--gitlab-into", "k.json", "-o", "github")
    broken.run("validate", *into, code=78)
    assert places(json.loads((broken.root / "k.sarif").read_text())) == PLACES
    report = json.loads((broken.root / "k.json").read_text())
    assert [(one["location"]["path"], one["location"]["lines"]["begin"]) for one in report] == [
        place[:2] for place in PLACES
    ]
    assert len({one["fingerprint"] for one in report}) == 2
    (broken.root / "state/a b.yaml").unlink()
    assert "::" not in broken.run("validate", *into).stdout
    assert places(json.loads((broken.root / "k.sarif").read_text())) == []
    assert json.loads((broken.root / "k.json").read_text()) == []


def test_a_file_that_cannot_be_written_hides_nothing(broken: Repo) -> None:
    """The findings are on stdout and stderr all the same, and the exit code is theirs; with none it says that it failed."""
    done = broken.run("validate", "-o", "sarif", "--sarif-into", "nowhere/k.sarif", code=78)
    assert places(json.loads(done.stdout)) == PLACES
    assert "nowhere/k.sarif: cannot write the file" in done.stderr
    assert "state/a b.yaml:4:6: keys.a: " in done.stderr
    (broken.root / "state/a b.yaml").unlink()
    broken.run("validate", "--sarif-into", "nowhere/k.sarif", code=1)


@pytest.mark.parametrize("form", ["sarif", "gitlab"])
def test_the_answer_is_one_document_also_when_all_is_well(repo: Repo, form: str) -> None:
    """With nothing wrong the answer is a document without findings."""
    document = json.loads(repo.run("validate", "-o", form).stdout)
    assert document == [] if form == "gitlab" else places(document) == []


def test_paths_begin_at_the_root_of_the_checkout(tmp_path: Path, runner: Runner) -> None:
    """In a folder of a checkout the files are named from its root, and the configuration too."""
    subprocess.run(["git", "init", "--quiet", tmp_path], check=True, timeout=60)
    repo = Repo(tmp_path / "deploy", runner)
    repo.write("state/a b.yaml", BROKEN)
    found = json.loads(repo.run("validate", "-o", "sarif", code=78).stdout)
    assert places(found) == [(f"deploy/{file}", line, column) for file, line, column in PLACES]
    repo.write("kvsync.yaml", "version: 1\nowner: 5\nstoers: {}\n")
    found = json.loads(repo.run("validate", "-o", "sarif", code=78).stdout)
    assert {file for file, _, _ in places(found)} == {"deploy/kvsync.yaml"}


def test_what_has_no_place_is_the_configurations(repo: Repo) -> None:
    """A problem of no line, as a missing configuration, is shown at the head of the configuration: nothing is dropped."""
    (repo.root / "kvsync.yaml").unlink()
    document = json.loads(repo.run("validate", "-o", "gitlab", code=78).stdout)
    assert [(one["check_name"], one["location"]["path"]) for one in document] == [("kvsync/unreadable", "kvsync.yaml")]


def test_kinds(repo: Repo) -> None:
    """Problems are distinguished by what is to be mended."""
    repo.write("state/two.yaml", "store: local\nnamespace: web\nkeys: {greeting: again}\n")
    repo.write("state/long.yaml", 'store: local\nnamespace: long\nkeys: {".": x}\n')
    repo.write("state/odd.yaml", "store: local\nnamespace: odd\nkeys: {a: null}\n")
    document = json.loads(repo.run("validate", "-o", "gitlab", code=78).stdout)
    kinds = {one["location"]["path"]: one["check_name"].removeprefix("kvsync/") for one in document}
    assert kinds == {"state/long.yaml": "store-limit", "state/odd.yaml": "invalid", "state/web.yaml": "contradiction"}


def test_fingerprints_survive_lines_that_move() -> None:
    """A finding is known again when lines are added above it, and two equal ones in a file are two."""
    one = CiFinding("f", 4, 2, Kind.INVALID, "x is written twice, first at f:3:2")
    moved = CiFinding("f", 9, 2, Kind.INVALID, "x is written twice, first at f:8:2")
    assert fingerprints([one]) == fingerprints([moved])
    assert len(set(fingerprints([one, moved]))) == 2
    assert fingerprints([one]) != fingerprints([CiFinding("g", 4, 2, Kind.INVALID, one.message)])


def test_annotations_cannot_be_forged() -> None:
    """No file name and no message ends its command or begins another one."""
    evil = "a%,b:c\r\n::error::mine"
    (line,) = github([CiFinding(evil, 1, 1, Kind.INVALID, evil)]).splitlines()
    assert line.startswith("::error file=a%25%2Cb%3Ac\\r\\n%3A%3Aerror%3A%3Amine,line=1,col=1,title=")
    assert line.count("::error::mine") == 1  # in the message, where it means nothing


def test_hostile_names_in_documents(repo: Repo) -> None:
    """Paths in SARIF are URIs, whatever is in a file's name."""
    found = findings([Problem("m")], repo.root / "kv#?%.yaml")
    log = sarif(found, __version__)
    assert (
        log["runs"][0]["results"][0]["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]
        == "kv%23%3F%25.yaml"
    )
    assert gitlab(found)[0]["location"]["path"] == "kv#?%.yaml"


def test_no_secret_in_any_form(repo: Repo) -> None:
    """A sensitive value that a store cannot hold is in no report."""
    secret = "s3cr3t-" + "x" * 40
    repo.write("state/k.yaml", "store: local\nnamespace: k\nkeys:\n  k: {env: TOKEN}\n  n: null\n")
    for form in ("sarif", "github", "gitlab"):
        done = repo.run("validate", "-o", form, env={"TOKEN": secret}, code=78)
        assert secret not in done.stdout + done.stderr


def test_warnings_are_reported_in_every_form_and_end_nothing(repo: Repo) -> None:
    """A hidden file that a wildcard passes over, and a state file that no pattern matches: exit 0, each with its place."""
    repo.write("state/pages/.well-known/security.txt", "x")
    repo.write("state/pages/index.html", "x")
    repo.write("state/pages.yaml", "store: local\nnamespace: pages\nfiles:\n  - {path: pages, glob: '**/*.*'}\n")
    repo.write("state/.lost.yaml", "store: local\nnamespace: lost\nkeys: {a: b}\n")
    found = [("state/.lost.yaml", 1, 1), ("state/pages.yaml", 4, 5)]
    log = json.loads(repo.run("validate", "-o", "sarif").stdout)
    assert places(log) == found
    assert {one["level"] for one in log["runs"][0]["results"]} == {"warning"}
    assert [(one["file"], one["line"], one["column"]) for one in repo.json("validate")["warnings"]] == found
    said = repo.run("validate").stderr.splitlines()
    assert [line.split(": ")[:2] for line in said] == [
        ["warning", "state/.lost.yaml:1:1"], ["warning", "state/pages.yaml:4:5"],
    ]  # fmt: skip


def test_the_configuration_may_be_called_yml(repo: Repo) -> None:
    """`.yml` and `.yaml` are the same thing for the configuration too."""
    (repo.root / "kvsync.yaml").rename(repo.root / "kvsync.yml")
    (repo.root / "state/web.yaml").rename(repo.root / "state/web.yml")
    assert repo.run("validate").stdout == "valid: 3 entries, 1 target, 1 file\n"
