"""Environments on the command line: another account with `--env`, and checks of all overlays."""

from __future__ import annotations

import fcntl

import pytest

from tests.cli.conftest import CONFIGURATION, Repo

DECLARED = f"{CONFIGURATION}environments: [dev, prod, test]\nenvironment: dev\n"


def test_one_command_serves_two_accounts(repo: Repo) -> None:
    """The overlay leads to another account, whatever files have no overlay of their own, and dev is left alone."""
    repo.write("kvsync.yaml", DECLARED)
    repo.write("kvsync.prod.yaml", "stores: {local: {path: .kvsync/prod.db}}\n")
    repo.run("apply", "--yes")
    repo.write("state/new.yaml", "store: local\nnamespace: new\nkeys: {a: 1}\n")
    plan = repo.json("--env", "prod", "plan")
    assert plan["summary"]["create"] == 4
    repo.run("apply", "--yes", env={"KVSYNC_ENV": "prod"})
    assert repo.json("--env", "prod", "plan")["summary"]["create"] == 0
    assert repo.json("plan")["summary"]["create"] == 1


@pytest.mark.parametrize("words", [("plan",), ("drift",), ("adopt", "--dry-run")], ids=lambda words: str(words[0]))
def test_every_plan_names_its_environment(repo: Repo, words: tuple[str, ...]) -> None:
    """A plan, and every part of one, says which environment it is of, in JSON and for people."""
    repo.write("kvsync.yaml", DECLARED)
    assert repo.json("--env", "prod", *words, code=None)["environment"] == "prod"
    assert "(prod)" in repo.run("--env", "prod", *words, code=None).stdout


def test_validate_checks_the_overlays_of_all_environments(repo: Repo) -> None:
    """A mistake in the overlay of any declared environment is found, and each environment uses its own stores."""
    repo.write("kvsync.yaml", DECLARED)
    repo.write("kvsync.prod.yaml", "stores: {extra: {type: memory}}\n")
    repo.write("state/web.prod.yaml", "stores: [local, extra]\n")
    repo.write("kvsync.test.yaml", "policy: {prune: all}\n")
    done = repo.run("validate", code=78)
    assert "kvsync.test.yaml:1:17: policy.prune: expected one of" in done.stderr
    assert "1 problem" in done.stderr
    repo.write("kvsync.test.yaml", "")
    assert [one["environment"] for one in repo.json("validate")["environments"]] == ["dev", "prod", "test"]


def test_a_broken_configuration_does_not_hide_broken_overlays(repo: Repo) -> None:
    """All are reported at once; with --env, only what concerns that environment."""
    repo.write("kvsync.yaml", DECLARED + "run: {every: soon}\n")
    repo.write("kvsync.prod.yaml", "policy: {prune: all}\n")
    repo.write("kvsync.test.yaml", "stores: {local: {path: 1, size: 2}}\n")
    files = [line.partition(":")[0] for line in repo.run("validate", code=78).stderr.splitlines()]
    assert files == ["kvsync.prod.yaml", "kvsync.test.yaml", "kvsync.yaml", "3 problems"]
    assert "2 problems" in repo.run("--env", "prod", "validate", code=78).stderr


def test_validate_names_overlays_that_no_environment_uses(repo: Repo) -> None:
    """A misspelled overlay is not silently left out: its environment would use the stores of another one."""
    repo.write("kvsync.yaml", DECLARED)
    repo.write("kvsync.prd.yaml", "stores: {local: {path: .kvsync/prod.db}}\n")
    repo.write("kvsync.qa-eu.yml", "vars: {a: b}\n")
    for name in ("kvsync.prod.yaml", "kvsync.yaml.orig", "kvsync.yaml.old.yaml", "kvsync-notes.yaml"):
        repo.write(name, "vars: {a: b}\n")
    found = [line for line in repo.run("validate").stderr.splitlines() if "overlay" in line]
    assert found == [
        'warning: kvsync.prd.yaml:1:1: it looks like an overlay, but the environment "prd" is not in environments'
        ' (did you mean "prod"? rename the file, or add "prd" to environments)',
        'warning: kvsync.qa-eu.yml:1:1: it looks like an overlay, but the environment "qa-eu" is not in environments'
        ' (rename the file, or add "qa-eu" to environments)',
    ]
    assert "kvsync.prd.yaml" in repo.run("--env", "prod", "validate").stderr


def test_validate_names_misspelled_overlays_of_state_files(repo: Repo) -> None:
    """An overlay of a state file whose environment is misspelled is named, as an overlay of the configuration is."""
    repo.write("kvsync.yaml", DECLARED)
    repo.write("state/web.prd.yaml", "keys: {greeting: Hello}\n")
    found = [line for line in repo.run("validate", code=78).stderr.splitlines() if "overlay" in line]
    assert found == [
        'warning: state/web.prd.yaml:1:1: it looks like an overlay of "state/web.yaml", but the environment "prd" is not in'
        ' environments (did you mean "prod"? rename the file, or add "prd" to environments)'
    ]


def test_state_files_cannot_read_overlays(repo: Repo) -> None:
    """An overlay belongs to the operator as the configuration does."""
    repo.write("kvsync.yaml", DECLARED)
    repo.write("kvsync.prod.yml", "vars: {a: b}\n")
    repo.write("state/web.yaml", "store: local\nnamespace: web\nkeys: {a: {file: ../kvsync.prod.yml}}\n")
    assert "it is the configuration" in repo.run("validate", code=78).stderr


def test_environments_do_not_share_pauses_approvals_and_history(repo: Repo) -> None:
    """With one state directory, each has its own; what is done in one is not seen in another."""
    repo.write("kvsync.yaml", DECLARED)
    repo.write("kvsync.prod.yaml", "stores: {local: {path: .kvsync/prod.db}}\n")
    for name in ("dev", "prod"):
        repo.run("--env", name, "apply", "--yes")
    repo.run("pause", "local/web", "--reason", "freeze")
    repo.write("state/web.yaml", "store: local\nnamespace: web\nkeys: {}\n")
    parked = repo.json("--env", "prod", "apply", "--yes", code=4)["targets"][0]["parked"]
    assert "files ask for none" in str(parked)
    digest = repo.json("--env", "prod", "status")["parked"][0]["digest"]
    assert "nothing is parked now" in repo.run("approve", digest, code=None).stderr
    repo.run("--env", "prod", "approve", digest)
    repo.run("--env", "prod", "apply", "--yes")
    assert [len(repo.json("--env", name, "history")["runs"]) for name in ("dev", "prod")] == [1, 2]
    assert repo.json("plan", code=4)["targets"][0]["moved_from"] is None


def test_an_environment_begins_with_the_state_of_an_earlier_version(repo: Repo) -> None:
    """Pauses and history that all environments had stay in force in each; approvals do not. The key is shared."""
    repo.run("apply", "--yes")
    repo.run("pause", "local/web")
    repo.write("kvsync.yaml", DECLARED)
    repo.write("state/web.yaml", "store: local\nnamespace: web\nkeys: {a: b}\n")
    assert "paused" in repo.run("apply", "--yes", code=4).stdout
    repo.run("resume", "local/web")
    assert "apply" in [one["command"] for one in repo.json("history")["runs"]]
    assert "paused" in repo.run("--env", "test", "apply", "--yes", code=4).stdout
    assert len(list((repo.root / ".kvsync").rglob("key"))) == 1
    lock = repo.root / ".kvsync" / "environments" / "prod"
    assert not lock.exists()
    with (repo.root / ".kvsync" / "lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)  # as a daemon of that version does
        repo.run("--env", "prod", "apply", "--yes", code=5)
        assert not lock.exists()


def test_state_files_cannot_read_the_state_of_another_environment(repo: Repo) -> None:
    """Neither by its path nor through a hard link."""
    repo.write("kvsync.yaml", DECLARED)
    repo.run("--env", "prod", "plan")
    database = repo.root / ".kvsync" / "environments" / "prod" / "state.db"
    (repo.root / "state" / "link.txt").hardlink_to(database)
    repo.write(
        "state/web.yaml",
        "store: local\nnamespace: web\nkeys:\n"
        "  a: {file: ../.kvsync/environments/prod/state.db}\n  b: {file: link.txt}\n",
    )
    assert repo.run("--env", "dev", "validate", code=78).stderr.count("it belongs to the state directory") == 2
