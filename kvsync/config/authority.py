"""Authorization of state files: decides what a state file may read, manage and override.

`kvsync.yaml` belongs to the operator, state files belong to authors. A state file may tighten the policy of its stores, and
may name the variables, files and targets that `authors:` grants. Everything else is denied, with the line of `kvsync.yaml`
that would allow it. Nothing here reads anything: callers ask before they read.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import field, replace
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Any, Final

from kvsync.config.path_globs import may_match_in, path_matches
from kvsync.config.policy import override
from kvsync.config.tightening import loosened
from kvsync.model.entry import Target
from kvsync.model.policy import Policy
from kvsync.util.values import dataclass
from kvsync.yaml.credential import CredentialKind, credentials_in
from kvsync.yaml.problems import quoted

AMBIENT_CREDENTIALS: Final = frozenset(
    {
        *("AZURE_CLIENT_SECRET", "IDENTITY_HEADER"),
        *("OTEL_EXPORTER_OTLP_HEADERS", "OTEL_EXPORTER_OTLP_TRACES_HEADERS"),
        *("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"),
    }
)
"""Variables that kvsync itself reads and that may hold a secret: identities, collectors, proxies with a password."""


class PolicyRight(StrEnum):
    """What `policy:` in a state file may do: only tighten the policy of the store, or replace any line of it."""

    TIGHTEN = "tighten"
    ANY = "any"


@dataclass(frozen=True, slots=True)
class TargetGrant:
    """State files whose path matches the glob `path` may name these stores and namespaces (globs; None: all)."""

    path: str
    stores: tuple[str, ...] | None = None
    namespaces: tuple[str, ...] | None = None

    def covers(self, target: Target, *, by_id: bool = False) -> bool:
        """True for a target that this line grants. One that is named by an id of the server (`by_id`) must be listed as it is:
        a wildcard that is meant for names would cover the namespaces of others."""
        if by_id and self.namespaces is not None:
            return _any_match(target.store, self.stores) and target.namespace in self.namespaces
        return _any_match(target.store, self.stores) and _any_match(target.namespace, self.namespaces)

    def __str__(self) -> str:
        stores = ", ".join(self.stores) if self.stores is not None else "any store"
        namespaces = ", ".join(self.namespaces) if self.namespaces is not None else "any namespace"
        return f"{namespaces} in {stores}"


FileGrants = tuple[tuple[TargetGrant, ...], ...] | None
"""The grants that hold for a state file and for its overlay; a target must be granted to both. None grants every target."""


@dataclass(frozen=True, slots=True)
class Authors:
    """`authors:` of the configuration. `env` are globs of variables, `files` folders relative to the root of the state files
    ("" is the root itself), `targets` the granted targets (None: all)."""

    policy: PolicyRight = PolicyRight.TIGHTEN
    env: tuple[str, ...] = ()
    files: tuple[str, ...] = ("",)
    targets: tuple[TargetGrant, ...] | None = None


@dataclass(frozen=True, slots=True)
class Denial:
    """A refused line of a state file: what it would do, and the line of `kvsync.yaml` that would allow it.

    `field` is the path of the refused line, below the node that was checked: `guard.max_deletes`, `namespace`.
    """

    message: str
    hint: str
    field: str = ""


@dataclass(frozen=True, slots=True)
class Authority:
    """Decides what state files may do. `credentials` are the variables that the configuration takes secrets from. `is_by_id`
    tells whether a target is named by an id that its server gives, which needs a grant of its own."""

    authors: Authors = field(default_factory=Authors)
    credentials: frozenset[str] = frozenset()
    is_by_id: Callable[[Target], bool] = field(default=lambda _target: False, repr=False, compare=False)

    def knowing_ids(self, is_by_id: Callable[[Target], bool]) -> Authority:
        """The same for stores of which it is known what their ids look like."""
        return replace(self, is_by_id=is_by_id)

    @property
    def reserved(self) -> frozenset[str]:
        """The variables that no state file may read, whatever `authors.env` lists."""
        return self.credentials | AMBIENT_CREDENTIALS

    def policy_of(self, ceiling: Policy, lines: Mapping[str, Any]) -> Policy:
        """The policy of a store with the lines of a state file over it. `ignore` adds to the store's patterns, unless the
        operator lets authors replace any line."""
        if "ignore" in lines and self.authors.policy is PolicyRight.TIGHTEN:
            lines = {**lines, "ignore": tuple(dict.fromkeys((*ceiling.ignore, *lines["ignore"])))}
        return override(ceiling, lines)

    def deny_policy(self, ceiling: Policy, lines: Mapping[str, Any], store: str) -> Iterator[Denial]:
        """Yield a denial for each line (as `decode` gives them for POLICY_FIELDS) that loosens the policy of `store`."""
        if self.authors.policy is PolicyRight.ANY:
            return
        for one in loosened(ceiling, lines):
            yield Denial(
                f"would {one.effect}; the policy of the store {quoted(store)} says {one.ceiling}, and a state file can only"
                " make it stricter",
                f"an operator can allow it in kvsync.yaml: stores.{store}.policy.{one.field}: {one.wanted}, or"
                " authors: {policy: any}",
                one.field,
            )

    def deny_variable(self, name: str) -> Denial | None:
        """Why `{env: NAME}` may not be read; None when it may."""
        if name in self.reserved:
            return Denial(
                f"would write the variable {name} to a store, and kvsync itself uses it as a credential",
                "put the value for the store in another variable; kvsync.yaml cannot allow this",
            )
        if any(fnmatchcase(name, glob) for glob in self.authors.env):
            return None
        allowed = ", ".join(quoted(one) for one in (*self.authors.env, name))
        return Denial(
            f"would write the variable {name} of the kvsync process to a store; authors.env does not list it",
            f"an operator can allow it in kvsync.yaml: authors: {{env: [{allowed}]}}",
        )

    def deny_file(self, path: str) -> Denial | None:
        """Why the file or folder at `path`, relative to the root of the state files, may not be read; None when it may.

        Only the path is judged: links are followed, and everything outside of the root is refused, by the reader of files."""
        place = posixpath.normpath(path)
        if any(_lies_in(place, folder) for folder in self.authors.files):
            return None
        if place.split("/", 1)[0] == "..":
            return Denial(
                f"would read {quoted(place)}, which is outside the folder of the state files",
                "move the file into that folder; kvsync.yaml cannot allow this",
            )
        allowed = ", ".join(quoted(one) for one in (*self.authors.files, posixpath.dirname(place) or "."))
        return Denial(
            f"would read {quoted(place)}, which is outside the folders in authors.files",
            f"an operator can allow it in kvsync.yaml: authors: {{files: [{allowed}]}}",
        )

    def grants_of(self, files: Iterable[str]) -> FileGrants:
        """The grants of each of these state files (a file, and its overlay), None when state files may name every target."""
        return None if self.authors.targets is None else tuple(self._grants(path) for path in files)

    def grants_at(self, path: str) -> tuple[TargetGrant, ...]:
        """The grants of a state file, or for a folder (`path` ends with a slash) those that files in it may have: two places
        with the same grants give a state file the same rights."""
        if not path.endswith("/"):
            return self._grants(path)
        return tuple(grant for grant in self.authors.targets or () if may_match_in(path.strip("/"), grant.path))

    def deny_target(self, path: str, target: Target) -> Denial | None:
        """Why the state file at `path` may not name `target`; None when it may."""
        if self.authors.targets is None:
            return None
        grants = self._grants(path)
        if self._covers(grants, target):
            return None
        allowed = f"may name only {', '.join(map(str, grants))}" if grants else "may not name any target"
        line = f"{{path: {quoted(path)}, stores: [{quoted(target.store)}], namespaces: [{quoted(target.namespace)}]}}"
        if self.is_by_id(target) and any(grant.covers(target) for grant in grants):
            return Denial(
                f"would manage {quoted(str(target))} by an id of the server; authors.targets must list it without a wildcard",
                f"use its name; or an operator can allow it in kvsync.yaml: authors: {{targets: [{line}, …]}}",
                "namespace",
            )
        return Denial(
            f"would manage {quoted(str(target))}; according to authors.targets, {quoted(path)} {allowed}",
            f"an operator can allow it in kvsync.yaml: authors: {{targets: [{line}, …]}}",
            "namespace" if any(_any_match(target.store, grant.stores) for grant in grants) else "store",
        )

    def may_name(self, grants: FileGrants, target: Target) -> bool:
        """True when files with these grants, which `grants_of` gives, may name `target`."""
        return grants is None or all(self._covers(of_file, target) for of_file in grants)

    def _covers(self, grants: Iterable[TargetGrant], target: Target) -> bool:
        by_id = self.is_by_id(target)
        return any(grant.covers(target, by_id=by_id) for grant in grants)

    def _grants(self, path: str) -> tuple[TargetGrant, ...]:
        return tuple(grant for grant in self.authors.targets or () if path_matches(path, grant.path))


def credential_variables(values: object) -> frozenset[str]:
    """The environment variables that a decoded configuration takes secrets from, wherever they stand in it."""
    return frozenset(one.name for one in credentials_in(values) if one.kind is CredentialKind.ENV)


def _any_match(name: str, globs: tuple[str, ...] | None) -> bool:
    return globs is None or any(fnmatchcase(name, glob) for glob in globs)


def _lies_in(place: str, folder: str) -> bool:
    """True for a normalised path in `folder` or below; with the root as the folder, for every path."""
    return not folder or place == folder or place.startswith(f"{folder}/")
