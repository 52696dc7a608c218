"""A state file that does more than it may is a problem at its line; its targets keep their state, others are not concerned."""

from __future__ import annotations

import pytest

from kvsync.errors import Kind
from kvsync.model.entry import Target
from kvsync.model.policy import Prune
from tests.desired.conftest import CONFIG, WEB, Repo

API, CORE = Target("edge", "api"), Target("core", "web")
STRICT = CONFIG.replace(
    "edge: {type: memory}",
    "edge: {type: memory, policy: {prune: off, adopt: never, drift: report, guard: {max_deletes: 1, min_existing: 1,"
    " grace: 1m}, ignore: [vault/*]}}",
)
LOOSE_LINES = {
    "prune: owned": "3:17: policy.prune: would delete entries that are no longer in the files",
    "adopt: always": "3:17: policy.adopt: would overwrite entries that have no owner",
    "drift: heal": "3:17: policy.drift: would overwrite drifted and missing and conflict entries without an approval",
    "drift: {missing: gate}": "3:27: policy.drift.missing: would overwrite missing entries once the plan is approved",
    "guard: {max_deletes: 2}": "3:31: policy.guard.max_deletes: would delete up to 2 entries without an approval",
    "guard: {min_existing: 5}": "3:32: policy.guard.min_existing: would lift the percentages for targets of fewer than 5",
    "guard: {grace: 1s}": "3:25: policy.guard.grace: would delete entries 1s after they left the files",
    "ignore: []": "3:18: policy.ignore: would stop ignoring keys",
}


def granted(lines: str) -> str:
    """The configuration with this `authors:`."""
    return CONFIG.replace('authors: {env: ["*"]}', f"authors: {{{lines}}}")


@pytest.mark.parametrize("line", LOOSE_LINES)
def test_a_looser_line_is_an_error(repo: Repo, line: str) -> None:
    """Each line of a policy that allows more than the store's names its place, its effect and the operator's line."""
    repo.write("kvsync.yaml", STRICT)
    repo.web(f"policy: {{{line}}}\nkeys: {{a: 1}}\n")
    loaded = repo.load()
    (problem,) = loaded.problems
    assert f"state/web.yaml:{LOOSE_LINES[line]}" in str(problem)
    assert "stores.edge.policy." in str(problem.hint)
    assert problem.kind is Kind.NOT_ALLOWED
    assert set(loaded.held) == {WEB}
    repo.write("kvsync.yaml", STRICT.replace('authors: {env: ["*"]}', "authors: {policy: any}"))
    assert repo.problems() == []


def test_a_tighter_policy_is_used(repo: Repo) -> None:
    """What tightens holds, and patterns to ignore are added to those of the store."""
    repo.write("kvsync.yaml", CONFIG.replace("{prune: owned}", "{prune: owned, ignore: [vault/*]}"))
    repo.web("policy: {prune: off, drift: gate, guard: {max_deletes: 1, grace: 1h}, ignore: [tmp/*]}\nkeys: {a: 1}\n")
    assert repo.problems() == []
    policy = repo.load().targets[WEB].policy
    assert (policy.prune, policy.guard.max_deletes, policy.guard.grace) == (Prune.OFF, 1, 3600)
    assert policy.ignore == ("vault/*", "tmp/*")


@pytest.mark.parametrize("environment", [None, "prod"])
def test_a_file_is_not_excused_by_its_overlay(repo: Repo, environment: str | None) -> None:
    """A line that loosens is an error although an overlay tightens it again, and the other way round."""
    repo.web("policy: {prune: scope}\nkeys: {a: 1}\n")
    repo.write("state/web.prod.yaml", "policy: {prune: off}\n")
    assert [text.split(": would")[0] for text in repo.problems(environment)] == ["state/web.yaml:3:17: policy.prune"]


def test_an_overlay_must_not_loosen(repo: Repo) -> None:
    """An overlay is judged by the policy of the store, at its own line."""
    repo.web("policy: {adopt: never}\nkeys: {a: 1}\n")
    repo.write("state/web.prod.yaml", "policy: {adopt: always}\n")
    assert repo.problems() == []
    assert [text.split(": would")[0] for text in repo.problems("prod")] == ["state/web.prod.yaml:1:17: policy.adopt"]


def test_an_overlay_that_changes_the_store_is_judged_by_that(repo: Repo) -> None:
    """What tightens for one store and loosens for the one that the overlay puts in its place is an error."""
    repo.write("kvsync.yaml", CONFIG.replace("core: {type: memory}", "core: {type: memory, policy: {prune: off}}"))
    repo.web("policy: {prune: owned}\nkeys: {a: 1}\n")
    repo.write("state/web.prod.yaml", "store: core\n")
    assert repo.problems() == []
    (text,) = repo.problems("prod")
    assert text.startswith("state/web.yaml:3:17: policy.prune: would delete entries that are no longer in the files; ")
    assert 'the policy of the store "core" says off' in text


def test_each_of_several_stores_has_its_ceiling(repo: Repo) -> None:
    """A document for two stores must tighten the policy of both."""
    repo.write("kvsync.yaml", CONFIG.replace("core: {type: memory}", "core: {type: memory, policy: {prune: off}}"))
    repo.write("state/a.yaml", "stores: [edge, core]\nnamespace: web\npolicy: {prune: owned}\nkeys: {a: 1}\n")
    (text,) = repo.problems()
    assert 'store "core"' in text
    assert set(repo.load().held) == {WEB, CORE}


def test_a_merge_key_is_not_a_way_round(repo: Repo) -> None:
    """Lines that come by an anchor or a merge key are judged like those that are written out."""
    repo.web("x: 1\n", "state/none.yaml")
    (repo.root / "state/none.yaml").unlink()
    repo.web("policy:\n  <<: &loose {prune: scope}\n  adopt: never\nkeys: {a: 1}\n")
    (text,) = repo.problems()
    assert "policy.prune: would delete every entry of the target" in text


def test_a_variable_needs_the_operator(repo: Repo) -> None:
    """A variable that is not granted is not even looked at: whether it is set does not show."""
    repo.environ = {"PATH": "/bin", "APP_TOKEN": "s3cret"}
    repo.write("kvsync.yaml", granted("env: ['APP_*']"))
    repo.web("keys: {a: {env: APP_TOKEN}, b: {env: PATH}, c: {env: UNSET}, d: {value: x, labels: {l: {env: PATH}}}}\n")
    texts = repo.problems()
    assert [text.split(";")[0] for text in texts] == [
        "state/web.yaml:3:38: keys.b.env: would write the variable PATH of the kvsync process to a store",
        "state/web.yaml:3:54: keys.c.env: would write the variable UNSET of the kvsync process to a store",
        "state/web.yaml:3:94: keys.d.labels.l.env: would write the variable PATH of the kvsync process to a store",
    ]
    assert 'authors: {env: ["APP_*", "PATH"]}' in texts[0]


def test_files_need_the_operator(repo: Repo) -> None:
    """`file` and `files` read only below the listed folders, by whatever path, and by no pattern."""
    repo.write("kvsync.yaml", granted("files: [state/assets]"))
    repo.write("state/assets/a.txt", "a")
    repo.write("state/other/b.txt", "b")
    repo.web("keys: {a: {file: assets/a.txt}}\nfiles: [{path: assets}]\n")
    assert repo.problems() == []
    repo.web(
        "keys: {a: {file: other/b.txt}, b: {file: assets/../other/b.txt}, c: {file: other/none.txt}}\n"
        "files: [{path: other}, {path: assets, glob: '../other/none*'}, {path: '.', glob: '**/*.txt'}]\n"
    )
    texts = repo.problems()
    assert len(texts) == 6
    assert all("which is outside the folders in authors.files" in text for text in texts)
    assert 'would read "state/other/b.txt"' in texts[0]
    assert 'authors: {files: ["state/assets", "state/other"]}' in texts[0]


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("../.kvsync/key", "it belongs to the state directory"),
        ("../.KVSYNC/none/at/all", "it belongs to the state directory"),
        ("../.git/config", "it belongs to Git"),
        ("other/.git", "it belongs to Git"),
        ("../kvsync.yaml", "it is the configuration"),
        ("../../etc/passwd", None),
        ("../..", None),
    ],
)
def test_no_line_is_offered_that_would_not_help(repo: Repo, path: str, why: str | None) -> None:
    """For what is never read, there or not, the error says so, and offers no wider right."""
    repo.write("kvsync.yaml", granted("files: [state/assets]"))
    repo.web(f"keys: {{a: {{file: {path}}}}}\nfiles: [{{path: {path}}}]\n")
    texts = repo.problems()
    assert len(texts) == 2
    for text in texts:
        assert "authors: {files" not in text
        assert (f"kvsync never reads it: {why}" if why else "kvsync.yaml cannot allow this") in text


def test_a_file_names_only_what_it_may(repo: Repo) -> None:
    """A target that a file may not name is an error at the word, and is not held for it: its own files go on."""
    repo.write(
        "kvsync.yaml",
        granted("targets: [{path: 'state/web*', stores: [edge], namespaces: [web]}, {path: state/ops.yaml}]"),
    )
    repo.web("keys: {a: 1}\n")
    repo.write("state/ops.yaml", "store: core\nnamespace: web\nkeys: {a: 1}\n")
    assert repo.problems() == []
    repo.write("state/webster.yaml", "stores: [edge, core]\nnamespace: web\nkeys: {b: 1}\n")
    loaded = repo.load()
    assert [str(one).split(";")[0] for one in loaded.problems] == ['state/webster.yaml:1:16: would manage "core/web"']
    assert set(loaded.held) == {WEB}
    assert set(loaded.targets) == {WEB, CORE}
    repo.write("state/webster.yaml", "store: core\nnamespace: web\nkeys: {b: 1}\n")
    loaded = repo.load()
    assert len(loaded.problems) == 1
    assert (loaded.held, loaded.hold_all) == ({}, ())
    assert len(loaded.targets[CORE].entries) == 1


def test_an_overlay_needs_its_own_grant(repo: Repo) -> None:
    """What an overlay lays over a target is named by the overlay too."""
    repo.write(
        "kvsync.yaml", granted("targets: [{path: 'state/web.yaml'}, {path: 'state/*.prod.yaml', stores: [core]}]")
    )
    repo.web("keys: {a: 1}\n")
    repo.write("state/web.prod.yaml", "keys: {a: 2}\n")
    assert repo.problems() == []
    (text,) = repo.problems("prod")
    assert text.startswith('state/web.prod.yaml:1:1: would manage "edge/web"')


@pytest.mark.parametrize("broken", ["keys: {a: [\n", None])
def test_a_broken_file_holds_only_what_it_may_name(repo: Repo, broken: str | None) -> None:
    """Where it cannot be known what a file names, those targets keep their state that it may name."""
    repo.write("kvsync.yaml", granted("targets: [{path: 'state/web.yaml', namespaces: [web]}, {path: state/api.yaml}]"))
    repo.web("keys: {a: 1}\n")
    repo.write("state/api.yaml", "store: edge\nnamespace: api\nkeys: {a: 1}\n")
    source = repo.source()
    assert source.load().problems == ()
    if broken is None:
        (repo.root / "state/web.yaml").unlink()
        (repo.root / "state/web.yaml").symlink_to("nowhere")
    else:
        repo.write("state/web.yaml", broken)
    loaded = source.load()
    assert len(loaded.problems) >= 1
    assert (loaded.hold_all, set(loaded.held), set(loaded.kept)) == ((), {WEB}, {WEB})
    assert API in loaded.targets


@pytest.mark.parametrize(
    ("link", "leads_to"),
    [
        ("state/api/a.yaml", "../web/p.yaml"),
        ("state/api/a", "../web"),
        ("state/api/a.yaml", "../../shared/q.yaml"),
        ("state/api/a", "../../shared"),
    ],
)
def test_a_link_takes_no_file_from_those_who_may_name_its_target(repo: Repo, link: str, leads_to: str) -> None:
    """A link to a file of others, whose name comes before theirs, is refused for itself: their entries are still wanted."""
    repo.write("kvsync.yaml", granted("targets: [{path: 'state/api/**', namespaces: [api]}, {path: 'state/web/**'}]"))
    repo.web("keys: {a: 1}\n", "state/web/p.yaml")
    repo.web("keys: {b: 1}\n", "shared/q.yaml")
    (repo.root / "state/web/shared").symlink_to("../../shared")
    (repo.root / "state/web/z.yaml").symlink_to("../../shared/q.yaml")
    assert len(repo.entries()) == 2
    (repo.root / "state/api").mkdir()
    (repo.root / link).symlink_to(leads_to)
    loaded = repo.load()
    assert {one.kind for one in loaded.problems} == {Kind.NOT_ALLOWED}
    assert all(str(one).startswith(link) for one in loaded.problems)
    assert (loaded.held, loaded.hold_all) == ({}, ())
    assert len(loaded.targets[WEB].entries) == 2


def test_without_grants_a_broken_file_holds_all(repo: Repo) -> None:
    """Where every file may name every target, one that cannot be read holds them all."""
    repo.write("state/web.yaml", "keys: {a: [\n")
    assert repo.load().hold_all


def test_what_was_compiled_under_other_rights_is_not_used(repo: Repo) -> None:
    """A right that the operator takes back counts for files that a cache knows."""
    repo.cache = repo.root / "cache.db"
    repo.write("state/assets/a.txt", "a")
    repo.web("policy: {prune: scope}\nkeys: {a: {file: assets/a.txt}}\n")
    repo.write("kvsync.yaml", granted("policy: any"))
    assert repo.problems() == []
    repo.write("kvsync.yaml", granted("files: [state/img]"))
    assert len(repo.problems()) == 2


def test_last_good_state_is_kept(repo: Repo) -> None:
    """A file that begins to ask for more than it may keeps its targets at what it asked before."""
    repo.web("keys: {a: 1}\n")
    source = repo.source()
    before = source.load().targets[WEB]
    repo.web("policy: {prune: scope}\nkeys: {}\n")
    loaded = source.load()
    assert loaded.kept[WEB].entries == before.entries
    assert set(loaded.held) == {WEB}


def test_no_message_quotes_a_file_that_authors_may_not_read(repo: Repo) -> None:
    """A link in place of a state file is followed to state files and to granted folders only."""
    repo.write("kvsync.yaml", granted("files: [assets]"))
    for path in ("ops/notes.txt", "assets/notes.txt"):
        repo.write(path, "canary: [of the operator\n")
    (repo.root / "state").mkdir()
    (repo.root / "state/web.yaml").symlink_to("../ops/notes.txt")
    (problem,) = repo.problems()
    assert (
        "state/web.yaml:1:1: cannot read the file: it is outside the folders that state files may read (assets)"
        in problem
    )
    assert "canary" not in problem
    (repo.root / "state/web.yaml").unlink()
    (repo.root / "state/web.yaml").symlink_to("../assets/notes.txt")
    assert "outside the folders" not in "".join(repo.problems())
    (repo.root / "state/web.yaml").unlink()
    repo.web("keys: {a: 1}\n", "state/a.yaml")
    (repo.root / "state/b").symlink_to(".")
    assert repo.problems() == []
