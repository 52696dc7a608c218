"""Documents: their names, policies, what leaves, and how files of one target get along."""

from __future__ import annotations

import pytest

from kvsync.errors import Origin
from kvsync.model.desired import Move
from kvsync.model.entry import Identity, Target
from kvsync.model.policy import DriftAction, Prune
from kvsync.stores.memory.store import MemoryStore
from tests.desired.conftest import CONFIG, WEB, Repo

API = Target("edge", "api")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("namespace: web\nkeys: {}\n", '1:1: missing field "store"'),
        ("store: edge\nkeys: {}\n", '1:1: missing field "namespace"'),
        ("store: edge\nnamespace: web\n", '1:1: missing field "keys" (to delete all entries, write keys: {})'),
        ("store: edge\nnamespace: web\nkeys:\n", "3:6: keys: expected a mapping of keys to values, found nothing"),
        (
            "store: edeg\nnamespace: web\nkeys: {}\n",
            '1:8: unknown store "edeg" (did you mean "edge"?)',
        ),
        ("store: edge\nstores: [core]\nnamespace: web\nkeys: {}\n", "2:1: store and stores cannot be combined"),
        ("stores: [edge, edge]\nnamespace: web\nkeys: {}\n", '1:9: stores: "edge" is listed twice'),
        ("stores: []\nnamespace: web\nkeys: {}\n", "1:9: stores: expected at least 1"),
        ("store: edge\nnamespace: ''\nkeys: {}\n", "2:12: namespace: expected text"),
        ("store: edge\nnamespace: web\nkeyz: {}\nkeys: {}\n", '3:1: unknown field "keyz" (did you mean "keys"?)'),
        ("- a\n", "1:1: expected a document with store, namespace and keys, found a list"),
        ("", "1:1: the file is empty"),
        ("\ufeff \n\n", "1:1: the file is empty"),
        ("# Source: chart/templates/x.yaml\n", "1:1: the file is empty"),
        ("---\n---\n# a licence\n---\n", "1:1: the file is empty"),
        ("---\nnull\n", "2:1: expected a document with store, namespace and keys, found null"),
    ],
)
def test_what_a_document_lacks_is_reported(repo: Repo, text: str, said: str) -> None:
    """Names, shapes and unknown fields, each at its place."""
    repo.write("state/web.yaml", text)
    assert repo.problems()[0].startswith(f"state/web.yaml:{said}"), repo.problems()


def test_a_byte_order_mark_within_a_file_is_reported(repo: Repo) -> None:
    """Files with a mark each that were joined: the key after it would not be the one that is seen."""
    document = "\ufeffstore: local\nnamespace: web\nkeys: {a: 1}\n"
    repo.write("state/web.yaml", f"{document}{document}")
    (problem,) = repo.problems()
    assert problem.startswith("state/web.yaml:4:1: a byte order mark within the file (remove it; ")


NOTHING = ("# Source: chart/templates/x.yaml\n", "---\n", "---\n---\n# a licence\n---\n")


@pytest.mark.parametrize("nothing", NOTHING)
def test_a_document_without_content_is_nothing(repo: Repo, nothing: str) -> None:
    """What templates leave behind before, between and after documents that have content."""
    repo.web(f"keys: {{a: b}}\n---\n{nothing}---\nstore: core\nnamespace: web\nkeys: {{c: d}}\n{nothing}")
    repo.write("state/before.yaml", f"{nothing}---\nstore: edge\nnamespace: other\nkeys: {{e: f}}\n")
    loaded = repo.load()
    assert (loaded.problems, loaded.held) == ((), {})
    assert sorted(map(str, loaded.targets)) == ["core/web", "edge/other", "edge/web"]


def test_fields_for_shared_anchors_are_ignored(repo: Repo) -> None:
    """A field that begins with `x-` may stand wherever fields may, and hold anything."""
    repo.web("""
        x-common: &common {ttl: 1h, x-why: [1, 2]}
        defaults: {x-note: null, tags: {x-team: web}}
        policy: {x-note: tighter}
        keys:
          x-key: {<<: *common, value: "1"}
          b: {x-note: 1, value: "2", labels: {x-label: {x-note: 2, value: "3"}}}
        """)
    assert repo.values() == {"x-key": "1", "b": "2", "b [x-label]": "3"}
    assert (repo.entry("x-key").ttl, repo.content("b").tags) == (3600, (("x-team", "web"),))
    repo.web("keys:\n  a: {x-note: 1}\n  b: {x: 1}\n")
    assert [problem.partition(" (")[0] for problem in repo.problems()] == [
        "state/web.yaml:4:6: keys.a: the entry has no value",
        'state/web.yaml:5:6: keys.b: unknown field "x"',
    ]


def test_none_wanted_is_a_request(repo: Repo) -> None:
    """`keys: {}` names the target and wants nothing there."""
    repo.web("keys: {}\n")
    assert repo.values() == {}


def test_absent_and_moved(repo: Repo) -> None:
    """Both arrive with their places."""
    repo.web("keys: {greeting: x}\nabsent: [old_key, 7]\nmoved: [{from: greet, to: greeting}]\n")
    desired = repo.load().targets[WEB]
    assert desired.absent == {"old_key": Origin("state/web.yaml", 4, 10), "7": Origin("state/web.yaml", 4, 19)}
    assert desired.moved == (Move("greet", "greeting", Origin("state/web.yaml", 5, 9)),)


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ("absent: [a]", '4:10: "a" is listed as absent here, but defined at state/web.yaml:3:8'),
        ("moved: [{from: x, to: y}]", '4:9: "x" is moved to "y", which is not among the keys'),
        ("moved: [{from: a, to: b}]", '4:9: "a" is moved away here, but defined at state/web.yaml:3:8'),
        ("moved: [{from: b, to: b}]", '4:9: moved[0]: "b" is moved to itself'),
        ("moved: [{from: x, to: b}, {from: x, to: a}]", '4:27: moved[1]: "x" is moved twice'),
        ("moved: [{from: x}]", '4:9: moved[0]: missing field "to"'),
        ("files: [{path: none}]", '4:9: files[0]: "none": it does not exist (paths are relative to'),
        ("files: [{path: ., glob: '*.png'}]", '4:9: files[0]: no file under "." matches "*.png"'),
        ("files: [{path: ../..}]", '4:9: files[0]: "../..": it is outside'),
        ("files: [{path: /etc}]", '4:9: files[0]: "/etc" is absolute'),
        ("files: [{glob: x}]", '4:9: files[0]: missing field "path"'),
    ],
)
def test_what_cannot_leave_or_come_is_reported(repo: Repo, lines: str, said: str) -> None:
    """Requests that contradict each other, and folders that are not there."""
    repo.web(f"keys: {{a: 1, b: 2}}\n{lines}\n")
    assert repo.problems()[0].startswith(f"state/web.yaml:{said}"), repo.problems()


def test_a_move_may_lead_into_another_file(repo: Repo) -> None:
    """What is desired is asked of the target, not of the file."""
    repo.web("keys: {}\nmoved: [{from: a, to: b}]\n", "state/a.yaml")
    repo.web("keys: {b: 1}\n", "state/b.yaml")
    assert repo.problems() == []


def test_one_identity_in_two_files(repo: Repo) -> None:
    """A duplicate names both places, and holds its target alone."""
    repo.web("keys: {a: 1}\n", "state/a.yaml")
    repo.web("keys: {a: {labels: {l: 1}}, b: 1}\n", "state/b.yaml")
    repo.web("keys:\n  a: 2\n", "state/c.yaml")
    repo.write("state/d.yaml", "store: edge\nnamespace: api\nkeys: {a: 1}\n")
    loaded = repo.load()
    assert [str(problem) for problem in loaded.problems] == [
        "state/c.yaml:4:3: a is defined twice for edge/web, first at state/a.yaml:3:8 (remove one of them)"
    ]
    assert list(loaded.held) == [WEB]
    assert loaded.targets[WEB].problems == loaded.held[WEB]
    assert loaded.targets[API].problems == ()


def test_one_identity_twice_in_one_file(repo: Repo) -> None:
    """An entry and a file of the same name are a duplicate as well."""
    repo.write("state/x/a", "1")
    repo.web("keys: {p/a: 1}\nfiles: [{path: x, prefix: p/}]\n")
    assert "p/a is defined twice for edge/web" in repo.problems()[0]


class CaseInsensitiveStore(MemoryStore):
    """A store whose keys know no case."""

    def remote_key(self, namespace: str, identity: Identity) -> str:
        """The key in small letters."""
        return super().remote_key(namespace, identity).lower()


def test_two_identities_in_one_remote_key(repo: Repo) -> None:
    """Two entries that would overwrite each other in the store are reported, with both places; another label is another
    entry."""
    repo.kind = CaseInsensitiveStore
    repo.web("keys:\n  a: {labels: {x: 1}}\n", "state/a.yaml")
    repo.web("keys:\n  A: {labels: {y: 1, x: 2}}\n", "state/b.yaml")
    assert repo.problems() == [
        'state/b.yaml:4:22: A [x] and a [x] (state/a.yaml:4:16) have the same remote key, "a"'
        " (rename one, or change key_format)"
    ]


def test_policies_override_line_by_line(repo: Repo) -> None:
    """The file's lines win over the store's, which win over the configuration's."""
    repo.write(
        "kvsync.yaml",
        CONFIG.replace("edge: {type: memory}", "edge: {type: memory, policy: {drift: {drifted: gate}, adopt: never}}"),
    )
    repo.web("policy: {drift: {missing: report}, guard: {max_deletes: 7}, ignore: [tmp/*]}\nkeys: {}\n")
    repo.write("state/api.yaml", "store: edge\nnamespace: api\nkeys: {}\n")
    policy = repo.load().targets[WEB].policy
    assert (policy.drift.drifted, policy.drift.missing) == (DriftAction.GATE, DriftAction.REPORT)
    assert (policy.guard.max_deletes, policy.guard.max_delete_pct, policy.ignore) == (7, 30, ("tmp/*",))
    assert policy.prune is Prune.OWNED
    assert repo.load().targets[API].policy.drift.missing is DriftAction.HEAL


def test_two_policies_for_one_target(repo: Repo) -> None:
    """Files that disagree about the policy of a target are reported; those that agree are fine."""
    repo.web("policy: {prune: off}\nkeys: {a: 1}\n", "state/a.yaml")
    repo.web("policy: {prune: off}\nkeys: {b: 1}\n", "state/b.yaml")
    assert repo.problems() == []
    repo.web("policy: {adopt: never}\nkeys: {b: 1}\n", "state/b.yaml")
    assert repo.problems() == [
        "state/b.yaml:3:1: the policy of edge/web differs from the one at state/a.yaml:3:1 "
        "(define the policy of a target only once)"
    ]
