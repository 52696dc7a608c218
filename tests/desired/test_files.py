"""Files as values: which of them are taken, which are left out, and what is said of that."""

from __future__ import annotations

import pytest

from kvsync.errors import Kind
from tests.desired.conftest import Repo

SITE = (
    "index.html",
    "a/b.html",
    "a/drafts/c.html",
    "drafts/d.html",
    "x.md",
    ".htaccess",
    ".well-known/security.txt",
    "a/.well-known/x",
)
BY_PRODUCTS = (
    "index.html~",
    "#index.html#",
    ".index.html.swp",
    "a/b.html___jb_tmp___",
    "b.html.orig",
    "c.rej",
    "a/4913",
    ".htaccess~",
)


def keys(repo: Repo, options: str) -> list[str]:
    """The keys that an item with these options makes."""
    repo.web(f"keys: {{}}\nfiles:\n  - {{path: pages, {options}}}\n")
    return [identity.key for identity in repo.entries()]


@pytest.fixture
def site(repo: Repo) -> Repo:
    """A folder as sites have it, while people edit it."""
    for name in (*SITE, *BY_PRODUCTS):
        repo.write(f"state/pages/{name}", name)
    return repo


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ("glob: '**/*'", ["a/b.html", "a/drafts/c.html", "drafts/d.html", "index.html", "x.md"]),
        ("glob: '**/*.html', exclude: [drafts]", ["a/b.html", "index.html"]),
        ("glob: '**/*.html', exclude: [drafts/]", ["a/b.html", "index.html"]),
        ("glob: '**/*.html', exclude: [/drafts]", ["a/b.html", "a/drafts/c.html", "index.html"]),
        ("glob: '**/*.html', exclude: ['a/**']", ["drafts/d.html", "index.html"]),
        ("exclude: ['*.html']", ["x.md"]),
        ("exclude: ['**/drafts/*.html', x.md]", ["a/b.html", "index.html"]),
        ("glob: '.*'", [".htaccess"]),
        ("glob: '**/.well-known/*'", [".well-known/security.txt", "a/.well-known/x"]),
        ("glob: '**/.well-known/*', exclude: [a]", [".well-known/security.txt"]),
        ("glob: c.rej", ["c.rej"]),
    ],
)
def test_which_files_become_keys(site: Repo, options: str, expected: list[str]) -> None:
    """Globs and exclusions decide; by-products of editors and merges never become keys, unless a glob spells their name."""
    assert keys(site, options) == expected


def test_state_files_are_not_by_products(site: Repo) -> None:
    """A wildcard of `state:` does not mean them either."""
    site.write("kvsync.yaml", (site.root / "kvsync.yaml").read_text().replace("state/**/*.yaml", "state/*"))
    site.web("keys: {a: b}\n")
    for name in ("web.yaml~", "#web.yaml#", "web.yaml.orig"):
        site.web("keys: {c: d}\n", f"state/{name}")
    assert site.values() == {"a": "b"}


def test_what_wildcards_pass_over_is_a_warning(site: Repo) -> None:
    """Hidden names are left out as in a shell, and said; excluding them is an answer. The cache keeps the warning."""
    site.cache = site.root / "cache.db"
    site.web("files:\n  - {path: pages, glob: '**/*'}\n")
    for _ in range(2):
        [warning] = site.load().warnings
        assert str(warning) == (
            "state/web.yaml:4:5: files[0]: wildcards do not match a name that begins with a dot, so these are left out: "
            '".htaccess", ".well-known/", "a/.well-known/" (add an item whose glob has the dot, or list them under exclude)'
        )
        assert warning.kind is Kind.LEFT_OUT
    site.web("files:\n  - {path: pages, glob: '**/*', exclude: [.htaccess, .well-known]}\n")
    assert site.load().warnings == ()


def test_an_exception_in_exclude_is_an_error(site: Repo) -> None:
    """Taken literally it would bring nothing back, and kvsync would delete what it leaves out."""
    site.web("files: [{path: pages, exclude: ['*.html', '!index.html']}]\n")
    (problem,) = site.problems()
    assert problem.startswith('state/web.yaml:3:43: files[0].exclude[1]: "!index.html": exceptions with ! are not')


POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"4d" * 32 + b"\nsize 12345\n"


@pytest.mark.parametrize("host", [b"git-lfs", b"hawser"])
def test_a_pointer_of_git_lfs_is_an_error(repo: Repo, host: bytes) -> None:
    """A checkout without Git LFS has pointers in place of files: they are neither values nor state files. Hawser was its first
    name."""
    repo.write("state/pages/logo.png", POINTER.replace(b"git-lfs", host))
    repo.web(
        "keys: {a: {file: pages/logo.png}, b: {value: '"
        + POINTER.decode().replace("\n", " ")
        + "'}}\nfiles: [{path: pages}]\n"
    )
    how = "is a Git LFS pointer, not the file itself; run git lfs pull"
    assert repo.problems() == [
        f'state/web.yaml:3:18: keys.a.file: "pages/logo.png": it {how}',
        f'state/web.yaml:4:9: files[0]: "pages": "state/pages/logo.png": it {how}',
    ]
    repo.write("state/web.yaml", POINTER)
    loaded = repo.load()
    assert [str(problem) for problem in loaded.hold_all] == [f"state/web.yaml:1:1: cannot read the file: it {how}"]


def test_both_suffixes_of_yaml_are_one(repo: Repo) -> None:
    """A pattern with one suffix means the other, and an overlay lies over its file whichever suffix each has."""
    repo.web("keys: {a: '1', b: '1'}\n", "state/web.yml")
    repo.write("state/web.prod.yaml", "keys: {b: '2'}\n")
    repo.web("keys: {c: '1'}\n", "state/more.yaml")
    repo.write("state/more.prod.yml", "keys: {c: '2'}\n")
    assert repo.values() == {"a": "1", "b": "1", "c": "1"}
    assert repo.values(environment="prod") == {"a": "1", "b": "2", "c": "2"}
    repo.write("state/more.prod.yaml", "keys: {c: '3'}\n")
    assert repo.problems("prod") == [
        "state/more.prod.yml:1:1: a second overlay of state/more.yaml, next to state/more.prod.yaml (remove one)"
    ]


def test_files_that_nothing_matches_are_warnings(repo: Repo) -> None:
    """What looks like a state file below the folders of `state:` and is neither one nor a value is named, nothing else."""
    repo.web("keys: {a: b, c: {file: value.json}}\n")
    repo.web("keys: {a: '2'}\n", "state/web.prod.yaml")
    repo.web("keys: {x: y}\n", "state/.old/web.yaml")
    repo.web("keys: {x: y}\n", "state/.web.yaml")
    repo.web("keys: {x: y}\n", "state/Other.YAML")
    repo.write("state/value.json", '{"store": 1,\n "namespace": 2}')
    repo.write("state/third.json", '{\n  "store": "edge",\n  "namespace": "web", "keys": {}}')
    repo.write("state/manifest.YML", "apiVersion: v1\nmetadata: {namespace: web}\n")
    source = repo.source()
    assert source.load().problems == ()
    assert [str(warning.origin) for warning in source.unmatched()] == [
        "state/.web.yaml:1:1", "state/Other.YAML:1:1", "state/third.json:1:1",
    ]  # fmt: skip
    assert "rename it, or add it to state; patterns: state/**/*.yaml" in str(source.unmatched()[0])


def test_misspelled_overlays_of_state_files_are_warnings(repo: Repo) -> None:
    """A file named for an environment that is not declared would be applied in all of them. It is reported if the name is close
    to a declared one, or if the file does not name a store and a namespace itself; other files are not."""
    repo.web("keys: {a: '1'}\n")
    repo.web("keys: {b: '1'}\n", "state/web.prd.yaml")
    repo.web("keys: {c: '1'}\n", "state/web.flags.yaml")
    repo.web("keys: {d: '1'}\n", "state/other.prd.yaml")
    repo.web("keys: {a: '2'}\n", "state/web.prod.yaml")
    repo.write("state/web.qa.yml", "keys: {a: '3'}\n")
    source = repo.source()
    source.load()
    assert [str(warning) for warning in source.unmatched()] == [
        'state/web.prd.yaml:1:1: it looks like an overlay of "state/web.yaml", but the environment "prd" is not in environments'
        ' (did you mean "prod"? rename the file, or add "prd" to environments)',
        'state/web.qa.yml:1:1: it looks like an overlay of "state/web.yaml", but the environment "qa" is not in environments'
        ' (rename the file, or add "qa" to environments)',
    ]
    configuration = repo.root / "kvsync.yaml"
    configuration.write_text(configuration.read_text().replace("environments: [dev, prod]\n", ""))
    assert repo.source().unmatched() == ()
