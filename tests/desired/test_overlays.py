"""Overlays: `web.prod.yaml` over `web.yaml`, when prod is in force."""

from __future__ import annotations

import pytest

from kvsync.errors import Origin
from kvsync.model.entry import Identity, Target
from kvsync.model.policy import Prune
from tests.desired.conftest import CONFIG, WEB, Repo

BASE = """
defaults: {ttl: 7d, tags: {team: web}}
keys:
  a: {value: base, protected: true}
  b: base
  c: base
absent: [gone]
"""


def test_an_overlay_is_merged_key_by_key(repo: Repo) -> None:
    """A whole entry replaces an entry, `remove` drops one, new ones come in, and each knows the file it is from."""
    repo.web(BASE)
    repo.write("state/web.prod.yaml", "keys:\n  a: prod\n  b: {remove: true}\n  d: new\n")
    assert repo.values() == {"a": "base", "b": "base", "c": "base"}
    assert repo.values(environment="dev") == {"a": "base", "b": "base", "c": "base"}
    entries = repo.entries(environment="prod")
    assert {str(key): entry.content.value for key, entry in entries.items()} == {
        "a": b"prod",
        "c": b"base",
        "d": b"new",
    }
    assert not entries[Identity("a")].protected
    assert entries[Identity("a")].origin == Origin("state/web.prod.yaml", 2, 3)
    assert entries[Identity("c")].origin == Origin("state/web.yaml", 8, 3)
    assert {entry.ttl for entry in entries.values()} == {7 * 86400}


def test_defaults_and_policy_override_and_lists_append(repo: Repo) -> None:
    """Line by line for what is said of all entries; `absent`, `moved` and `files` grow."""
    repo.web(BASE + "policy: {prune: off, guard: {max_deletes: 5}}\n")
    repo.write("state/web.prod.yaml", "defaults: {ttl: 1d}\npolicy: {guard: {max_update_pct: 9}}\nabsent: [more]\n")
    desired = repo.load("prod").targets[WEB]
    entry = desired.entries[Identity("b")]
    assert (entry.ttl, entry.content.tags) == (86400, (("team", "web"),))
    assert (desired.policy.prune, desired.policy.guard.max_deletes, desired.policy.guard.max_update_pct) == (
        Prune.OFF,
        5,
        9,
    )
    assert list(desired.absent) == ["gone", "more"]


def test_an_overlay_may_name_another_store(repo: Repo) -> None:
    """One document over one: its store takes the place of the other's."""
    repo.web(BASE)
    repo.write("state/web.prod.yaml", "store: core\n")
    assert set(repo.load("prod").targets) == {Target("core", "web")}


def test_documents_find_their_counterpart(repo: Repo) -> None:
    """With several documents, store and namespace identify the base; one without a base is a document of its own."""
    repo.write(
        "state/x.yaml", "store: edge\nnamespace: a\nkeys: {k: 1}\n---\nstore: edge\nnamespace: b\nkeys: {k: 2}\n"
    )
    repo.write(
        "state/x.prod.yaml", "store: edge\nnamespace: b\nkeys: {k: 3}\n---\nstore: edge\nnamespace: c\nkeys: {k: 4}\n"
    )
    values = {name: repo.values(Target("edge", name), "prod") for name in "abc"}
    assert values == {"a": {"k": "1"}, "b": {"k": "3"}, "c": {"k": "4"}}
    repo.write("state/x.prod.yaml", "keys: {k: 3}\n")
    assert repo.problems("prod") == [
        "state/x.prod.yaml:1:1: the overlay does not say which document it belongs to; state/x.yaml has edge/a (line 1), "
        "edge/b (line 5) (add its store and namespace)"
    ]


@pytest.mark.parametrize("names", ["", "store: edge\nnamespace: web\n"])
def test_documents_of_one_target_are_overlaid_key_by_key(repo: Repo, names: str) -> None:
    """Each key replaces the one of its document; a new key joins the first; defaults reach all of them."""
    repo.web("keys: {a: 1, c: 1}\n---\nstore: edge\nnamespace: web\ndefaults: {ttl: 1d}\nkeys: {b: 1, d: 1}\n")
    repo.write("state/web.prod.yaml", f"{names}defaults: {{ttl: 2d}}\nkeys: {{b: 2, new: 2, d: {{remove: true}}}}\n")
    assert repo.values(environment="prod") == {"a": "1", "b": "2", "c": "1", "new": "2"}
    entries = repo.load("prod").targets[WEB].entries
    assert {entries[Identity(key)].ttl for key in ("a", "b", "new")} == {2 * 86400}
    repo.write("state/web.prod.yaml", f"{names}defaults: {{ttle: 2d}}\nkeys: {{e: {{remove: true}}}}\n")
    assert [problem.partition(" (")[0].partition(": ")[2] for problem in repo.problems("prod")] == [
        'defaults: unknown field "ttle"',
        "keys.e: there is no such key to remove",
    ]


def test_removing_what_is_not_there_is_reported(repo: Repo) -> None:
    """With the nearest name."""
    repo.web("keys: {greeting: x}\n")
    repo.write("state/web.prod.yaml", "keys: {greetin: {remove: true}, greeting: {remove: yes}}\n")
    assert repo.problems("prod") == [
        'state/web.prod.yaml:1:8: keys.greetin: there is no such key to remove (did you mean "greeting"?)',
        'state/web.prod.yaml:1:52: keys.greeting: remove: expected true, found "yes"',
    ]
    assert repo.problems() == []


def test_an_overlay_without_a_base_is_a_document_of_its_own(repo: Repo) -> None:
    """Without a file to lie over it is a state file of that environment only."""
    repo.web("keys: {a: 1}\n")
    repo.write("state/extra.prod.yaml", "store: edge\nnamespace: extra\nkeys: {b: 2}\n")
    assert set(repo.load("dev").targets) == {WEB}
    assert repo.values(Target("edge", "extra"), "prod") == {"b": "2"}


def test_names_of_no_environment_are_plain_files(repo: Repo) -> None:
    """A dot in the name makes an overlay only for an environment that is declared."""
    repo.web("keys: {a: 1}\n")
    repo.web("keys: {b: 1}\n", "state/web.staging.yaml")
    assert repo.values() == {"a": "1", "b": "1"}


def test_an_overlay_is_found_next_to_its_file_whatever_the_globs_say(repo: Repo) -> None:
    """`state: [state/web.yaml]` means the file with its overlay."""
    repo.write("kvsync.yaml", CONFIG.replace("state/**/*.yaml", "state/web.yaml"))
    repo.web("keys: {a: 1}\n")
    repo.write("state/web.prod.yaml", "keys: {a: 2}\n")
    assert repo.values(environment="prod") == {"a": "2"}


@pytest.mark.parametrize("environment", [None, "dev"])
def test_a_broken_overlay_of_another_environment_disturbs_nobody(repo: Repo, environment: str | None) -> None:
    """It is not read unless its environment is asked for."""
    repo.web("keys: {a: 1}\n")
    repo.write("state/web.prod.yaml", "keys: [\n")
    assert repo.problems(environment) == []
    assert list(repo.load("prod").held) == [WEB]
