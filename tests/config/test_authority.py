"""What state files may do is decided in one place: by the policy of the store, and by `authors:`."""

from __future__ import annotations

from dataclasses import astuple
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvsync.app.configuration import read_config
from kvsync.config.authority import AMBIENT_CREDENTIALS, Authority, Authors, PolicyRight, TargetGrant
from kvsync.config.path_globs import may_match_in, path_matches
from kvsync.config.tightening import lines_of, loosened
from kvsync.errors import InvalidInput
from kvsync.model.entry import Target
from kvsync.model.policy import Adopt, DriftAction, DriftPolicy, Guard, Policy, Prune

CONFIG = "version: 1\nowner: us\npolicy: {prune: owned}\nstores: {edge: {type: memory}}\n"
NO_RIGHTS = Authority()
DELETES = [Prune.OFF, Prune.OWNED, Prune.SCOPE]
TAKES = [Adopt.NEVER, Adopt.IF_EQUAL, Adopt.ALWAYS]

actions = st.sampled_from(DriftAction)
numbers = st.integers(0, 3)
policies = st.builds(
    Policy,
    prune=st.sampled_from(Prune),
    adopt=st.sampled_from(Adopt),
    drift=st.builds(DriftPolicy, actions, actions, actions),
    guard=st.builds(Guard, numbers, numbers, numbers, numbers, numbers),
    ignore=st.sampled_from([(), ("a",), ("a", "b")]),
)


def config(folder: Path, more: str) -> Authority:
    (folder / "kvsync.yaml").write_text(CONFIG + more)
    return read_config(folder / "kvsync.yaml", environ={}).authority


def test_nothing_is_granted_by_default(tmp_path: Path) -> None:
    """Without `authors:`, state files only tighten policies, read no variable, and read files below the root; all targets."""
    assert config(tmp_path, "").authors == Authors(PolicyRight.TIGHTEN, (), ("",), None)


def test_what_is_granted_is_read(tmp_path: Path) -> None:
    """Every line of `authors:` is read; folders come without `.` and a trailing slash."""
    granted = config(
        tmp_path,
        "authors:\n  policy: any\n  env: ['APP_*']\n  files: [./state/, '.']\n"
        "  targets: [{path: 'state/web/**', stores: [edge], namespaces: ['web*']}, {path: a.yaml}]\n",
    )
    grants = (TargetGrant("state/web/**", ("edge",), ("web*",)), TargetGrant("a.yaml"))
    assert granted.authors == Authors(PolicyRight.ANY, ("APP_*",), ("state", ""), grants)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("env: APP_*", "5:17: authors.env: expected a list"),
        ("files: [/etc]", "5:20: authors.files[0]: expected a folder"),
        ("files: [a/../..]", "5:20: authors.files[0]: expected a folder"),
        ("policy: loosen", "5:20: authors.policy: expected one of tighten, any"),
        ("targets: [{stores: [edge]}]", '5:22: authors.targets[0]: missing field "path"'),
        ("targets: [{path: a, stores: [egde]}]", 'authors.targets[0].stores: no store matches "egde"'),
        ("enf: [A]", 'did you mean "env"?'),
    ],
)
def test_a_wrong_line_is_an_error(tmp_path: Path, line: str, expected: str) -> None:
    """What `authors:` cannot mean is an error with its place: a right that was misspelt must not be silently missing."""
    with pytest.raises(InvalidInput) as caught:
        config(tmp_path, f"authors: {{ {line} }}\n")
    assert expected in str(caught.value)


@pytest.mark.parametrize(
    ("ceiling", "lines", "fields"),
    [
        (Policy(), {"prune": Prune.SCOPE}, ["prune"]),
        (Policy(prune=Prune.OFF), {"prune": Prune.OWNED}, ["prune"]),
        (Policy(), {"prune": Prune.OFF}, []),
        (Policy(), {"adopt": Adopt.ALWAYS}, ["adopt"]),
        (Policy(adopt=Adopt.NEVER), {"adopt": Adopt.IF_EQUAL}, ["adopt"]),
        (Policy(), {"adopt": Adopt.NEVER}, []),
        (Policy(), {"drift": DriftAction.GATE}, []),
        (Policy(), {"drift": {"missing": DriftAction.REPORT}}, []),
        (Policy(drift=DriftPolicy(missing=DriftAction.GATE)), {"drift": DriftAction.HEAL}, ["drift"]),
        (Policy(drift=DriftPolicy(missing=DriftAction.GATE)), {"drift": DriftAction.REPORT}, ["drift"]),
        (
            Policy(drift=DriftPolicy(missing=DriftAction.REPORT)),
            {"drift": {"missing": DriftAction.GATE, "conflict": DriftAction.GATE}},
            ["drift.missing"],
        ),
        (Policy(guard=Guard(max_deletes=5)), {"guard": {"max_deletes": 6}}, ["guard.max_deletes"]),
        (Policy(guard=Guard(max_deletes=5)), {"guard": {"max_deletes": 4}}, []),
        (Policy(), {"guard": {"max_delete_pct": 30.5}}, ["guard.max_delete_pct"]),
        (Policy(), {"guard": {"max_update_pct": 51}}, ["guard.max_update_pct"]),
        (Policy(), {"guard": {"min_existing": 11}}, ["guard.min_existing"]),
        (Policy(), {"guard": {"min_existing": 0}}, []),
        (Policy(guard=Guard(grace=60)), {"guard": {"grace": 59}}, ["guard.grace"]),
        (Policy(guard=Guard(grace=60)), {"guard": {"grace": 61}}, []),
        (Policy(ignore=("vault/*",)), {"ignore": ()}, ["ignore"]),
        (Policy(ignore=("vault/*",)), {"ignore": ("more",)}, []),
    ],
)
def test_each_line_has_a_tighter_end(ceiling: Policy, lines: dict[str, Any], fields: list[str]) -> None:
    """Each line may go towards less, never towards more; `policy: any` gives that up."""
    denials = list(NO_RIGHTS.deny_policy(ceiling, lines, "edge"))
    assert [denial.field for denial in denials] == fields
    assert all("stores.edge.policy." in denial.hint and "authors: {policy: any}" in denial.hint for denial in denials)
    assert list(Authority(Authors(PolicyRight.ANY)).deny_policy(ceiling, lines, "edge")) == []


@given(policies, policies)
def test_what_passes_loosens_nothing(ceiling: Policy, wanted: Policy) -> None:
    """Of any two policies: when no line of the second is denied, it allows nothing that the first does not, and still ignores
    all that the first ignores."""
    lines = lines_of(wanted)
    if list(NO_RIGHTS.deny_policy(ceiling, lines, "edge")):
        return
    policy = NO_RIGHTS.policy_of(ceiling, lines)
    assert DELETES.index(policy.prune) <= DELETES.index(ceiling.prune)
    assert TAKES.index(policy.adopt) <= TAKES.index(ceiling.adopt)
    assert set(ceiling.ignore) <= set(policy.ignore)
    assert policy.guard.max_deletes <= ceiling.guard.max_deletes
    assert policy.guard.max_delete_pct <= ceiling.guard.max_delete_pct
    assert policy.guard.max_update_pct <= ceiling.guard.max_update_pct
    assert policy.guard.min_existing <= ceiling.guard.min_existing
    assert policy.guard.grace >= ceiling.guard.grace
    for was, now in zip(astuple(ceiling.drift), astuple(policy.drift), strict=True):
        assert was in (now, DriftAction.HEAL)


@given(policies)
def test_a_policy_does_not_loosen_itself(policy: Policy) -> None:
    """Repeating the lines of the store is allowed."""
    assert not list(loosened(policy, lines_of(policy)))


def test_a_credential_is_never_given(tmp_path: Path) -> None:
    """The variables that kvsync.yaml takes secrets from, wherever they stand, are denied although a glob lists them."""
    text = CONFIG.replace("edge: {type: memory}", "edge: {type: apify, token: {env: STORE}}") + (
        "source: {git: {url: 'https://h/a', credentials: {token: {env: GIT}}}}\n"
        "run:\n  listen: 127.0.0.1:1\n  token: {env: PAGE}\n  hook: {secret: {env: HOOK}}\n"
        "  notify: [{url: {env: CHAT}, secret: {env: SIGN}}]\n"
        "  lease: {etcd: {endpoint: 'http://127.0.0.1:2379', key: k, username: u, password: {env: ETCD}}}\n"
        "authors: {env: ['*']}\n"
    )
    (tmp_path / "kvsync.yaml").write_text(text)
    authority = read_config(tmp_path / "kvsync.yaml", environ={}).authority
    assert authority.credentials == {"STORE", "GIT", "PAGE", "HOOK", "CHAT", "SIGN", "ETCD"}
    for name in authority.credentials | AMBIENT_CREDENTIALS:
        denial = authority.deny_variable(name)
        assert denial is not None
        assert "kvsync.yaml cannot allow this" in denial.hint
    assert authority.deny_variable("OTHER") is None


def test_a_variable_needs_a_line() -> None:
    """A variable that no glob names is denied, and the hint is the list with it added; names are compared with their case."""
    authority = Authority(Authors(env=("APP_*",)))
    assert authority.deny_variable("APP_TOKEN") is None
    for name in ("PATH", "app_token", "MY_APP_TOKEN"):
        denial = authority.deny_variable(name)
        assert denial is not None
        assert f'authors: {{env: ["APP_*", "{name}"]}}' in denial.hint


@pytest.mark.parametrize(
    ("folders", "path", "is_allowed"),
    [
        (("",), "state/logo.png", True),
        (("state",), "state/logo.png", True),
        (("state",), "state", True),
        (("state",), "state/../secret", False),
        (("state",), "stately/logo.png", False),
        (("state",), "", False),
        (("state", "assets/img"), "state/../assets/img/a", True),
        (("state",), "../state/a", False),
        ((), "state/a", False),
    ],
)
def test_files_lie_in_the_listed_folders(folders: tuple[str, ...], path: str, is_allowed: bool) -> None:
    """A path is judged after `..` is taken out, and by whole names of folders. What lies outside cannot be allowed, and no line
    is offered for it."""
    denial = Authority(Authors(files=folders)).deny_file(path)
    assert (denial is None) is is_allowed
    if denial is not None:
        assert ("authors: {files: [" in denial.hint) is not path.startswith("..")


GRANTS = Authority(Authors(targets=(TargetGrant("state/web/**", ("edge",), ("web*",)), TargetGrant("state/ops.yaml"))))


@pytest.mark.parametrize(
    ("path", "target", "field"),
    [
        ("state/web/a.yaml", Target("edge", "web"), None),
        ("state/web/deep/er/a.yaml", Target("edge", "web-2"), None),
        ("state/web/a.yaml", Target("edge", "pay"), "namespace"),
        ("state/web/a.yaml", Target("core", "web"), "store"),
        ("state/webby/a.yaml", Target("edge", "web"), "store"),
        ("state/ops.yaml", Target("core", "pay"), None),
        ("other/state/ops.yaml", Target("core", "pay"), "store"),
    ],
)
def test_files_name_only_granted_targets(path: str, target: Target, field: str | None) -> None:
    """A file may name what any line for its path grants; the denial says at which word, and the line that would allow it."""
    denial = GRANTS.deny_target(path, target)
    assert (denial and denial.field) == field
    assert denial is None or f'namespaces: ["{target.namespace}"]' in denial.hint


def test_an_empty_list_grants_nothing() -> None:
    """`targets: []` is not the same as no line."""
    assert Authority(Authors(targets=())).deny_target("a.yaml", Target("edge", "web")) is not None


@pytest.mark.parametrize(
    ("path", "pattern", "expected"),
    [
        ("a/b.yaml", "a/*.yaml", True),
        ("a/b/c.yaml", "a/*.yaml", False),
        ("a/b/c.yaml", "a/**/*.yaml", True),
        ("a/c.yaml", "a/**/*.yaml", True),
        ("a/b/c.yaml", "**", True),
        ("a", "a/**", False),
        ("a/.b/c.yaml", "a/**", False),
        ("a/.b.yaml", "a/*", False),
        ("a/.b.yaml", "a/.*", True),
        ("x/a/b/a/b", "**/a/b", True),
        ("a/b", "./a//b", True),
    ],
)
def test_globs_of_paths(path: str, pattern: str, expected: bool) -> None:
    """`**` is any number of folders, `*` ends at a slash, and neither matches a name that begins with a dot."""
    assert path_matches(path, pattern) is expected


@pytest.mark.parametrize(
    ("folder", "pattern", "expected"),
    [
        ("", "a.yaml", True),
        ("a", "a/*.yaml", True),
        ("a/b", "a/*.yaml", False),
        ("a", "a", False),
        ("b", "a/**", False),
        ("a/b/c", "a/**", True),
        ("a/.b", "a/**", False),
        ("a/b", "**/x/c.yaml", True),
    ],
)
def test_globs_in_folders(folder: str, pattern: str, expected: bool) -> None:
    """True where a pattern may name a file in the folder, or deeper."""
    assert may_match_in(folder, pattern) is expected
