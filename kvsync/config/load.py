"""Loads `kvsync.yaml` into a `Config`, strictly, and reports all problems at once."""

from __future__ import annotations

import os
from collections.abc import Mapping
from fnmatch import fnmatchcase
from hashlib import blake2b
from pathlib import Path
from typing import Any

from kvsync.config.authority import Authority, credential_variables
from kvsync.config.authors import configured_authors
from kvsync.config.fields import config_fields
from kvsync.config.git import git_source
from kvsync.config.lease import configured_lease
from kvsync.config.limits import answer_limits, journal_limits, pass_limits, read_limits
from kvsync.config.model import ChannelConfig, Config, Credential, HookConfig, RunConfig, Window
from kvsync.config.policy import override
from kvsync.config.revision import ConfigRevision
from kvsync.config.stores import StoreTypes
from kvsync.errors import InvalidInput, Kind, Problem
from kvsync.model.policy import Policy
from kvsync.yaml import nodes
from kvsync.yaml.fields import Problems, decode, name_hint, quoted
from kvsync.yaml.parse import parse_all


def load_config(
    path: Path,
    *,
    environment: str | None = None,
    environ: Mapping[str, str],
    store_types: StoreTypes,
    revision: ConfigRevision | None = None,
) -> Config:
    """Read the configuration at `path`, or what `revision` has of it: then only its text is another, paths stay where they are.

    `environment` takes the place of the one in the file; `store_types` are those that it may name; of `environ`, only
    $STATE_DIRECTORY is read. Nothing is resolved or connected. Raises InvalidInput with every problem.
    """
    file = Path(os.path.abspath(path))  # noqa: PTH100  # links stay: the loader looks for their flips
    problems = Problems(file.name if revision is None else f"{revision.name}:{file.name}")
    data = _read(file, shown=path) if revision is None else _read_at(revision, file.name)
    root = _document(data, problems)
    values = decode(root, config_fields(store_types), problems)
    _check_environments(values, environment, root, problems)
    _check_grants(values, root, problems)
    problems.raise_if_any()
    policy = override(Policy(), values["policy"])
    return Config(
        file=file,
        root=file.parent,
        owner=values["owner"],
        state=(values["state"],) if isinstance(values["state"], str) else values["state"],
        state_dir=_state_dir(file.parent, values["state_dir"], environ),
        stores={name: store.configured(name, policy) for name, store in values["stores"].items()},
        environments=values["environments"],
        environment=environment or values["environment"],
        policy=policy,
        run=_run(values.get("run")),
        source=git_source(values["source"]),
        owner_keys=_owner_keys(values["owner_key"]),
        limits=read_limits(values["limits"]),
        answer_limits=answer_limits(values["limits"]),
        pass_limits=pass_limits(values["limits"]),
        journal=journal_limits(values["journal"]),
        authority=Authority(configured_authors(values["authors"]), credential_variables(values)),
        digest=text_digest(data),
    )


def text_digest(data: bytes) -> bytes:
    """What the text of a configuration is recognised by."""
    return blake2b(data, digest_size=16).digest()


def _owner_keys(written: Credential | tuple[Credential, ...] | None) -> tuple[Credential, ...]:
    if written is None:
        return ()
    return written if isinstance(written, tuple) else (written,)


def _read(file: Path, shown: Path) -> bytes:
    """The bytes of the file, through its folder with all links resolved, so that one version of the folder is read.
    Raises InvalidInput."""
    try:
        return (file.parent.resolve() / file.name).read_bytes()
    except FileNotFoundError:
        hint = "create one with kvsync init, or pass its path with -c"
        raise InvalidInput([Problem(f"{shown}: no such configuration file", hint=hint, kind=Kind.UNREADABLE)]) from None
    except (OSError, RuntimeError) as error:  # RuntimeError: links in a circle
        reason = error.strerror if isinstance(error, OSError) else "its symbolic links form a loop"
        raise InvalidInput(
            [Problem(f"{shown}: cannot read the configuration: {reason}", kind=Kind.UNREADABLE)]
        ) from None


def _read_at(revision: ConfigRevision, name: str) -> bytes:
    try:
        return revision.files[name]
    except KeyError:
        hint = "merge the configuration first, so that state files can be checked against it"
        raise InvalidInput(
            [Problem(f"{revision.name} does not contain {name}", hint=hint, kind=Kind.UNREADABLE)]
        ) from None


def _document(data: bytes, problems: Problems) -> nodes.Node:
    parsed = parse_all(data, problems.file)
    problems.extend(parsed.problems)
    if not parsed.complete:
        problems.raise_if_any()  # what the rest of the file would say is not known
    documents = parsed.documents
    if not documents or (isinstance(documents[0], nodes.Scalar) and documents[0].is_null):
        problems.add("the file is empty", None, "create one with kvsync init")
        raise InvalidInput(problems.all())
    for extra in documents[1:]:
        problems.add("the configuration must be a single YAML document", extra)
    return documents[0]


def _check_environments(values: Mapping[str, Any], chosen: str | None, root: nodes.Node, problems: Problems) -> None:
    declared = values["environments"]
    for name in sorted({name for name in declared if declared.count(name) > 1}):
        problems.add(f"environments: {quoted(name)} is listed twice", _field_node(root, "environments"))
    written = values["environment"]
    if written is not None and written not in declared:
        message = f"environment: {quoted(written)} is not in environments"
        problems.add(message, _field_node(root, "environment"), name_hint(written, declared))
    if chosen is not None and chosen not in declared:
        message = f"the environment {quoted(chosen)} is not in environments"
        problems.add(message, _field_node(root, "environments"), name_hint(chosen, declared))


def _check_grants(values: Mapping[str, Any], root: nodes.Node, problems: Problems) -> None:
    """Note globs of `authors.targets` that match no store: a misspelt grant would deny what it was written for."""
    stores = values["stores"] or {}
    for index, grant in enumerate((values["authors"] or {}).get("targets") or ()):
        for pattern in grant["stores"] or ():
            if not any(fnmatchcase(name, pattern) for name in stores):
                message = f"authors.targets[{index}].stores: no store matches {quoted(pattern)}"
                problems.add(message, _field_node(root, "authors"), name_hint(pattern, stores))


def _field_node(root: nodes.Node, name: str) -> nodes.Node:
    """Where the value of a field of the top level stands; the top itself when it is not written."""
    if isinstance(root, nodes.Mapping) and name in root.items:
        return root.items[name][1]
    return root


def _state_dir(root: Path, written: str, environ: Mapping[str, str]) -> Path:
    """The folder that systemd gives (the first, when it gives several), else the one that is written."""
    given = environ.get("STATE_DIRECTORY", "").partition(":")[0]
    return Path(os.path.abspath(root / (given or written)))  # noqa: PTH100  # as above


def _run(values: Mapping[str, Any] | None) -> RunConfig:
    if values is None:
        return RunConfig()
    lines = dict(values)
    if "cron" in lines:
        lines["every"] = None
    lines["windows"] = tuple(_window(window) for window in lines["windows"])
    lines["hook"] = HookConfig(**lines["hook"]) if lines["hook"] is not None else None
    lines["tracing"] = lines["tracing"]["endpoint"] if lines["tracing"] is not None else None
    lines["notify"] = tuple(ChannelConfig(**channel) for channel in lines["notify"])
    lines["lease"] = configured_lease(lines["lease"]) if lines["lease"] is not None else None
    return RunConfig(**lines)


def _window(values: Mapping[str, Any]) -> Window:
    deny = values["deny"] is not None
    return Window(values["deny"] if deny else values["allow"], values["for"], values["timezone"], deny)
