"""`source:` in the configuration: what is taken, and that nothing in it can become an option, a command or a leak."""

from __future__ import annotations

from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from kvsync.app.configuration import read_config
from kvsync.app.json_schema import config_schema
from kvsync.config.model import GitSource
from kvsync.errors import InvalidInput

HEAD = "version: 1\nowner: a\npolicy: {prune: owned}\nstores: {main: {type: memory}}\n"


def load(folder: Path, git: str) -> GitSource:
    (folder / "kvsync.yaml").write_text(f"{HEAD}source: {{git: {{{git}}}}}\n")
    source = read_config(folder / "kvsync.yaml", environ={}).source
    assert source is not None
    return source


def refused(folder: Path, git: str) -> str:
    with pytest.raises(InvalidInput) as caught:
        load(folder, git)
    return "\n".join(map(str, caught.value.problems))


GOOD = [
    "https://github.com/example/config.git",
    "https://git.example.com:8443/a/b%20c",
    "http://127.0.0.1:3000/a.git",
    "http://localhost/a.git",
    "ssh://git@git.example.com:2222/a/b.git",
    "ssh://git.example.com/a",
    "git@github.com:example/config.git",
    "file:///srv/git/config.git",
]


@pytest.mark.parametrize("url", GOOD)
def test_addresses(tmp_path: Path, url: str) -> None:
    """The usual forms of addresses are taken as they are written, and the schema takes them too."""
    assert load(tmp_path, f'url: "{url}"').url == url
    document = {"version": 1, "owner": "a", "policy": {"prune": "owned"}, "stores": {"m": {"type": "memory"}}}
    assert Draft202012Validator(config_schema()).is_valid(document | {"source": {"git": {"url": url}}})


@pytest.mark.parametrize(
    "url",
    [
        "ext::sh -c touch% /tmp/pwned",
        "fd::17",
        "--upload-pack=touch /tmp/pwned",
        "-oProxyCommand=x",
        "ssh://-oProxyCommand=touch/x",
        "ssh://git@-oProxyCommand=touch/x",
        "git@-oProxyCommand:x",
        "git@host:-x",
        "file://relative/path",
        "../config.git",
        "/srv/git/config.git",
        "git://example.com/a.git",
        "ftp://example.com/a.git",
        "https://example.com",
        "https://example.com/a b",
        "https://example.com/a?x=y",
        "",
    ],
)
def test_what_is_not_an_address(tmp_path: Path, url: str) -> None:
    """Options, helpers, other protocols and relative paths are refused, with the forms that are taken."""
    assert "https://HOST/PATH" in refused(tmp_path, f'url: "{url}"')


@pytest.mark.parametrize(
    "url",
    ["https://ann:s3cr3t-t0ken@example.com/a", "https://s3cr3t-t0ken@example.com/a", "ssh://ann:s3cr3t-t0ken@h/a"],
)
def test_a_secret_in_an_address_is_not_repeated(tmp_path: Path, url: str) -> None:
    """A password in the address is an error that does not show it."""
    said = refused(tmp_path, f'url: "{url}"')
    assert "s3cr3t" not in said
    assert "kvsync.yaml:5:21: source.git.url" in said


def test_plain_http_stays_on_this_machine(tmp_path: Path) -> None:
    """Plain http:// towards anything else needs allow_insecure."""
    assert "plain http:// sends secrets" in refused(tmp_path, "url: http://git.example.com/a.git")
    assert load(tmp_path, "url: http://git.example.com/a.git, allow_insecure: true").url


@pytest.mark.parametrize(
    "ref",
    [
        "-x",
        "--upload-pack=x",
        "a..b",
        "a b",
        "a:b",
        "a~1",
        "a^",
        "a*",
        "@{u}",
        "a.lock",
        "/a",
        "a/",
        "a//b",
        ".a",
        "a\\\\b",
    ],
)
def test_what_is_not_a_ref(tmp_path: Path, ref: str) -> None:
    """What Git does not allow as a name, or what would mean something else to it, is refused."""
    assert "source.git.ref" in refused(tmp_path, f'url: file:///a, ref: "{ref}"')


@pytest.mark.parametrize("commit", ["abc123", "main", "0" * 39, "A" * 40])
def test_the_oldest_commit_is_a_full_id(tmp_path: Path, commit: str) -> None:
    """A short id or a name may come to mean another commit, so only a full id is accepted."""
    assert "source.git.min_commit" in refused(tmp_path, f'url: file:///a, min_commit: "{commit}"')
    assert load(tmp_path, f"url: file:///a, min_commit: {'a' * 40}").min_commit == "a" * 40


@pytest.mark.parametrize("ref", ["main", "release/1.2", "refs/tags/v1.0", "HEAD", "feature_x-1", "0" * 40])
def test_refs(tmp_path: Path, ref: str) -> None:
    """Branches, tags, full names and ids are taken as they are written."""
    assert load(tmp_path, f'url: file:///a, ref: "{ref}"').ref == ref


@pytest.mark.parametrize("path", ["/etc", "..", "a/../../b", ".git", "a/.git/hooks", ""])
def test_paths_stay_inside(tmp_path: Path, path: str) -> None:
    """A path that leaves the repository, or leads into Git's own files, is refused."""
    assert "source.git.path" in refused(tmp_path, f'url: file:///a, path: "{path}"')


@pytest.mark.parametrize(("written", "path"), [(".", ""), ("config/prod/", "config/prod"), ("./a", "a")])
def test_paths(tmp_path: Path, written: str, path: str) -> None:
    """Several ways to write a folder are one folder."""
    assert load(tmp_path, f'url: file:///a, path: "{written}"').path == path


def test_credentials(tmp_path: Path) -> None:
    """A token is a password, with a user name that the usual servers take."""
    shown = load(tmp_path, "url: https://h/a, credentials: {token: {env: T}}").credentials
    assert (shown.username, shown.password and shown.password.name) == ("x-access-token", "T")
    shown = load(tmp_path, "url: https://h/a, credentials: {username: ann, password: {file: p}}").credentials
    assert (shown.username, shown.password and shown.password.name) == ("ann", "p")


@pytest.mark.parametrize(
    ("git", "said"),
    [
        ("url: https://h/a, credentials: {token: t0ps3cret}", "secrets are not allowed in this file"),
        ("url: https://h/a, credentials: {password: {env: P}}", 'a password needs a "username"'),
        ("url: https://h/a, credentials: {token: {env: T}, password: {env: P}}", "set token or password, not both"),
        ("url: https://h/a, credentials: {ssh_key: {env: K}}", '"ssh_key" is only valid for an address of ssh'),
        ("url: git@h:a, credentials: {token: {env: T}}", '"token" is only valid for an address of https'),
        ("url: https://h/a, verify: {}", "expected allowed_signers, keyring, or both"),
        ("url: https://h/a, every: 10ms", "source.git.every"),
        ("url: https://h/a, branch: main", 'unknown field "branch"'),
        ("ref: main", 'missing field "url"'),
    ],
)
def test_what_does_not_go_together(tmp_path: Path, git: str, said: str) -> None:
    """What cannot be meant is an error before anything is fetched."""
    found = refused(tmp_path, git)
    assert said in found
    assert "t0ps3cret" not in found
