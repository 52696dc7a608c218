"""Decoder of the `source:` section: a Git repository as the source of the state files."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any, Final

from kvsync.config.model import GitCredentials, GitSource, GitVerify
from kvsync.config.values import is_plain_http
from kvsync.util.patterns import lazy_pattern
from kvsync.yaml import nodes
from kvsync.yaml.fields import (
    Decoder,
    Field,
    Problems,
    ScalarDecoder,
    at,
    boolean,
    checked,
    credential,
    duration,
    integer,
    path,
    record,
    size,
    text,
)

_HOST: Final = (
    r"(?:[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\])"  # what begins with - is an option to ssh
)
_USER: Final = r"[A-Za-z0-9_][A-Za-z0-9._-]*"
_REST: Final = r"[^\s\0-\x1f\x7f?#]+"
_HTTP: Final = rf"https?://{_HOST}(?::[0-9]{{1,5}})?/{_REST}"
_SSH: Final = rf"ssh://(?:{_USER}@)?{_HOST}(?::[0-9]{{1,5}})?/{_REST}"
_SCP: Final = rf"{_USER}@{_HOST}:(?!-){_REST}"
_FILE: Final = rf"file:///{_REST}"

_USER_FIRST: Final = lazy_pattern(r"(?i)https?://[^/]*@")
_BAD_IN_REF: Final = lazy_pattern(r"[\0-\x20\x7f~^:?*\[\\]|\.\.|@\{|//|(?:^|/)\.|\.lock(?:/|$)|[/.]$|^[/-]|^@$")
_OBJECT: Final = lazy_pattern(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")

_OFTEN: Final = 1.0
"""Seconds; whoever fetches more often than this hurts the server."""


def is_object(ref: str) -> bool:
    """True for a ref that names one commit by its full id."""
    return _OBJECT.fullmatch(ref) is not None


def is_ssh(address: str) -> bool:
    """True for the address of a repository that is reached over SSH."""
    return address.startswith("ssh://") or "://" not in address


def _address() -> Decoder:
    """The address of a repository; gives the text. Never repeated in messages: people paste tokens into addresses."""

    def read(written: str, _plain: bool) -> str:
        if _USER_FIRST.match(written):
            raise ValueError("must not contain a user or password; use credentials:")
        if not any(re.fullmatch(pattern, written) for pattern in (_HTTP, _SSH, _SCP, _FILE)):
            raise ValueError("https://HOST/PATH, ssh://USER@HOST/PATH, USER@HOST:PATH or file:///PATH")
        return written

    rules = {"type": "string", "pattern": r"^(?:https?://[^\s?#@]+|ssh://\S+|file:///\S+|[^\s:/@]+@[^\s:]+:\S+)$"}
    return ScalarDecoder("the address of a Git repository", read, rules, private=True)


def _ref() -> Decoder:
    """A branch, a tag, a full name such as `refs/tags/v1`, HEAD, or the full id of a commit; gives the text."""

    def read(written: str, _plain: bool) -> str:
        if not written or _BAD_IN_REF.search(written):
            raise ValueError("not a valid Git name")
        return written

    return ScalarDecoder("a branch, a tag, or the id of a commit", read, {"type": "string", "minLength": 1})


def _commit() -> Decoder:
    """The full id of a commit; gives the text."""

    def read(written: str, _plain: bool) -> str:
        if not is_object(written):
            raise ValueError("40 hex digits (64 in a SHA-256 repository), as git rev-parse prints them")
        return written

    rules = {"type": "string", "pattern": "^[0-9a-f]{40}([0-9a-f]{24})?$"}
    return ScalarDecoder("the full id of a commit", read, rules)


def _folder() -> Decoder:
    """A folder in the repository; gives its path without `.`, "" for the whole."""

    def read(written: str, _plain: bool) -> str:
        pure = PurePosixPath(written)
        if not written or pure.is_absolute() or {"..", ".git"} & set(pure.parts) or re.search(r"[\0-\x1f]", written):
            raise ValueError("a relative path without .., such as config/prod")
        return "" if pure == PurePosixPath() else str(pure)

    return ScalarDecoder("a folder in the repository", read, {"type": "string", "minLength": 1})


def _one_way_in(values: Mapping[str, Any], node: nodes.Node, problems: Problems, what: str) -> None:
    if values["token"] and values["password"]:
        problems.add(at(what, "set token or password, not both"), node)
    if values["password"] and not values["username"]:
        problems.add(at(what, 'a password needs a "username"'), node)


def _some_signers(values: Mapping[str, Any], node: nodes.Node, problems: Problems, what: str) -> None:
    if not any(values.values()):
        problems.add(
            at(what, "expected allowed_signers, keyring, or both"),
            node,
            "set at least one of them, so that signatures can be verified",
        )


def _fitting(values: Mapping[str, Any], node: nodes.Node, problems: Problems, what: str) -> None:
    """Look at what belongs together: no secret goes over an open line, and none is given that the address cannot use."""
    address, shown = values.get("url"), values["credentials"] or {}
    if not isinstance(address, str) or not isinstance(node, nodes.Mapping) or "url" not in node.items:
        return
    if is_plain_http(address) and not values["allow_insecure"]:
        message = "plain http:// sends secrets unencrypted over the network, and anyone on the way can change the files"
        problems.add(at(f"{what}.url", message), node.items["url"][1], "write https://, or set allow_insecure: true")
    used = {"ssh_key", "known_hosts"} if is_ssh(address) else {"username", "token", "password"}
    for name in sorted(name for name, value in shown.items() if value and name not in used):
        kind = "ssh" if name in ("ssh_key", "known_hosts") else "https"
        place = node.items["credentials"][1]
        problems.add(at(f"{what}.credentials", f'"{name}" is only valid for an address of {kind}'), place)


CREDENTIAL_FIELDS: Final = (
    Field(
        "username", text(r"[^\s:\0-\x1f]+", "a user name"), help="User name for https (with a token: x-access-token)."
    ),
    Field("token", credential(), help="An access token, by reference, for https."),
    Field("password", credential(), help="A password, by reference, for https."),
    Field("ssh_key", credential(), help="A private key without a passphrase, by reference, for ssh."),
    Field(
        "known_hosts",
        path(),
        help="File with the keys of the SSH servers (the known_hosts of the user that runs kvsync).",
    ),
)

VERIFY_FIELDS: Final = (
    Field(
        "allowed_signers",
        path(),
        help="File with the SSH keys whose signatures are trusted, in the format of ssh-keygen.",
    ),
    Field(
        "keyring",
        path(),
        help="File with the OpenPGP public keys whose signatures are trusted, in the format of gpg --export.",
    ),
)

GIT_FIELDS: Final = (
    Field("url", _address(), required=True, help="The repository: https://, ssh://, user@host:path, or file:///path."),
    Field(
        "ref",
        _ref(),
        default="HEAD",
        help="Branch, tag or full id of a commit (HEAD: the repository's default branch).",
    ),
    Field("path", _folder(), default="", help="Folder in the repository that state is relative to (the root)."),
    Field("every", duration(minimum=_OFTEN), default=60.0, help="Time between two fetches (1m)."),
    Field("timeout", duration(minimum=1), default=120.0, help="Timeout of one fetch (2m)."),
    Field("credentials", checked(record(CREDENTIAL_FIELDS), _one_way_in), help="Credentials for the Git server."),
    Field(
        "verify",
        checked(record(VERIFY_FIELDS), _some_signers),
        help="Use only commits that are signed with these keys.",
    ),
    Field(
        "min_commit",
        _commit(),
        help="Full id of the oldest acceptable commit: only its descendants are used.",
    ),
    Field("depth", integer(1), help="Number of commits of history to fetch (all)."),
    Field("max_size", size(), default=2**30, help="Maximum size of a fetch, and of the files in a commit (1GiB)."),
    Field("allow_rewrites", boolean(), default=False, help="Also follow a rewritten history (false)."),
    Field(
        "symlinks",
        boolean(),
        default=False,
        help="Follow symbolic links that stay within the repository (false).",
    ),
    Field("allow_insecure", boolean(), default=False, help="Allow plain http:// to other machines (false)."),
)

SOURCE_FIELDS: Final = (
    Field("git", checked(record(GIT_FIELDS), _fitting), required=True, help="A Git repository, fetched by kvsync."),
)


def git_source(values: Mapping[str, Any] | None) -> GitSource | None:
    """The source from the decoded fields, None without them."""
    if values is None:
        return None
    lines = {name: value for name, value in values["git"].items() if name != "allow_insecure"}
    shown = lines["credentials"] or {}
    credentials = GitCredentials(
        username=shown.get("username") or ("x-access-token" if shown.get("token") else None),
        password=shown.get("token") or shown.get("password"),
        ssh_key=shown.get("ssh_key"),
        known_hosts=shown.get("known_hosts"),
    )
    verify = GitVerify(**lines["verify"]) if lines["verify"] else None
    return GitSource(**lines | {"credentials": credentials, "verify": verify})
