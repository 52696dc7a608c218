"""Loads `kvsync.yaml` into a `Config`, strictly, and reports all problems at once."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Final

from kvsync.config.authority import Authority, credential_variables
from kvsync.config.authors import configured_authors
from kvsync.config.fields import config_fields
from kvsync.config.git import git_source
from kvsync.config.included import IncludedFiles
from kvsync.config.layers import LayeredProblems, joined_digest, merge, text_digest
from kvsync.config.lease import configured_lease
from kvsync.config.limits import answer_limits, journal_limits, pass_limits, read_limits
from kvsync.config.model import ChannelConfig, Config, Credential, HookConfig, RunConfig, Window
from kvsync.config.policy import override
from kvsync.config.revision import ConfigDraft, ConfigRevision
from kvsync.config.schemas import schema_rule
from kvsync.config.sops import sops_config
from kvsync.config.stores import StoreTypes
from kvsync.config.texts import ConfigTexts
from kvsync.config.waves import check_waves, configured_waves
from kvsync.errors import InvalidInput
from kvsync.model.policy import Policy
from kvsync.yaml import nodes
from kvsync.yaml.fields import Field, Problems, decode, found, name_hint, quoted
from kvsync.yaml.parse import parse_all

HEAD: Final = frozenset({"environments", "environment", "vars"})
"""Fields that say how the rest is read; variables are not expanded in them."""


def load_config(
    path: Path,
    *,
    environment: str | None = None,
    environ: Mapping[str, str],
    store_types: StoreTypes,
    revision: ConfigRevision | ConfigDraft | None = None,
    links: bool = True,
) -> Config:
    """Read the configuration at `path` with the overlay of its environment, or what `revision` has of them: then only the texts
    are others, paths stay where they are. A draft has the configuration only.

    `environment` takes the place of the one in the file; `store_types` are those that it may name; of `environ`, only
    $STATE_DIRECTORY is read. Without `links`, a file that is a symbolic link is refused. Nothing is resolved or connected.
    Raises InvalidInput with every problem.
    """
    file = Path(os.path.abspath(path))  # noqa: PTH100  # links stay: the loader looks for their flips
    texts = ConfigTexts(file, path, revision, links=links)
    problems = LayeredProblems(texts.name(file))
    fields = config_fields(store_types)
    data = [texts.main()]
    base = _document(data[0], problems)
    head = decode(_only(base, HEAD), [field for field in fields if field.name in HEAD], problems)
    in_force = environment or head["environment"]
    _check_environments(head, environment, base, problems)
    overlay = texts.overlay(in_force if in_force in head["environments"] else None)
    root = base
    if overlay is not None:
        data.append(overlay[1])
        root = _with_overlay(base, overlay[1], texts.name(overlay[0]), problems)
        head["vars"] = _variables(root, fields, problems)
    problems.variables = head["vars"]
    values = decode(_without(root, HEAD), fields, problems) | head
    _check_grants(values, root, problems)
    _check_state(values, root, problems)
    included = _included(file, revision, values, problems)
    stores = included.complete(values["stores"] or {})
    check_waves(values, _field_node(root, "waves"), problems)
    problems.raise_if_any()
    policy = override(Policy(), values["policy"])
    return Config(
        file=file,
        root=file.parent,
        owner=values["owner"],
        state=_state_files(values["state"]),
        database=_database(values["state"]),
        state_dir=_state_dir(file.parent, values["state_dir"], environ),
        stores={name: store.configured(name, policy) for name, store in stores.items()},
        environments=values["environments"],
        environment=in_force,
        variables=values["vars"],
        sops=sops_config(values["sops"]),
        schemas=tuple(schema_rule(rule) for rule in values["schemas"]),
        waves=configured_waves(values["waves"], _field_node(root, "waves"), problems),
        overlay=None if overlay is None else overlay[0],
        policy=policy,
        run=_run(values.get("run")),
        source=git_source(values["source"]),
        owner_keys=_owner_keys(values["owner_key"]),
        limits=read_limits(values["limits"]),
        answer_limits=answer_limits(values["limits"]),
        pass_limits=pass_limits(values["limits"]),
        journal=journal_limits(values["journal"]),
        authority=Authority(configured_authors(values["authors"]), credential_variables(values)),
        included=tuple(included.files),
        digest=joined_digest([text_digest(text) for text in (*data, *included.files.values())]),
    )


def declared_environments(
    path: Path, *, store_types: StoreTypes, revision: ConfigRevision | None = None, links: bool = True
) -> tuple[str, ...]:
    """The environments that a configuration declares, as far as a broken one shows them. Raises InvalidInput if it cannot be
    read at all."""
    texts = ConfigTexts(Path(os.path.abspath(path)), path, revision, links=links)  # noqa: PTH100  # as above
    problems = LayeredProblems(path.name)
    fields = [field for field in config_fields(store_types) if field.name in HEAD]
    return tuple(decode(_only(_document(texts.main(), problems), HEAD), fields, problems)["environments"])


def _included(
    file: Path, instead: ConfigRevision | ConfigDraft | None, values: Mapping[str, Any], problems: Problems
) -> IncludedFiles:
    """The reader of included files. Authors can change those in the folder of the configuration unless the state files come
    from another repository."""
    is_restricted = (values["authors"] or {}).get("targets") is not None and values["source"] is None
    revision = instead if isinstance(instead, ConfigRevision) else None
    return IncludedFiles(file.parent, revision, problems, is_restricted=is_restricted)


def _check_state(values: Mapping[str, Any], root: nodes.Node, problems: LayeredProblems) -> None:
    """Note a lease next to a shared state: claims of single targets replace it."""
    if _database(values["state"]) is not None and (values.get("run") or {}).get("lease") is not None:
        message = "run.lease and state.postgresql cannot be combined: with a shared state, each replica claims its own targets"
        problems.add(message, _field_node(root, "run"), "remove run.lease")


def _state_files(written: str | tuple[str, ...] | Mapping[str, Any]) -> tuple[str, ...]:
    files = written["files"] if isinstance(written, Mapping) else written
    return (files,) if isinstance(files, str) else files


def _database(written: str | tuple[str, ...] | Mapping[str, Any]) -> Credential | None:
    postgresql = written["postgresql"] if isinstance(written, Mapping) else None
    return None if postgresql is None else postgresql["dsn"]


def _owner_keys(written: Credential | tuple[Credential, ...] | None) -> tuple[Credential, ...]:
    if written is None:
        return ()
    return written if isinstance(written, tuple) else (written,)


def _document(data: bytes, problems: LayeredProblems) -> nodes.Node:
    found = _single_document(data, problems.file, problems)
    if found is None:
        problems.add("the file is empty", None, "create one with kvsync init")
        raise InvalidInput(problems.all())
    return found


def _single_document(data: bytes, name: str, problems: LayeredProblems) -> nodes.Node | None:
    """The document of a file; None when the file has none. Raises InvalidInput when it is not known what the file says."""
    parsed = parse_all(data, name)
    problems.extend(parsed.problems)
    if not parsed.complete:
        problems.raise_if_any()  # what the rest of the file would say is not known
    documents = parsed.documents
    for document in documents:
        problems.assign(document, name)
    for extra in documents[1:]:
        problems.add("the configuration must be a single YAML document", extra)
    if not documents or (isinstance(documents[0], nodes.Scalar) and documents[0].is_null):
        return None
    return documents[0]


def _with_overlay(base: nodes.Node, data: bytes, name: str, problems: LayeredProblems) -> nodes.Node:
    """The tree of the configuration with the overlay merged over it."""
    over = _single_document(data, name, problems)
    if over is None or not isinstance(base, nodes.Mapping):
        return base
    if not isinstance(over, nodes.Mapping):
        problems.add(f"expected a mapping, found {found(over)}", over, "write the fields of kvsync.yaml to replace")
        return base
    for field in ("environments", "environment"):
        if field in over.items:
            problems.add(f"{field} is not allowed in an overlay", over.items[field][0], "set it in kvsync.yaml")
    return merge(base, over, problems)


def _variables(root: nodes.Node, fields: Sequence[Field], problems: Problems) -> Mapping[str, str]:
    """The variables of the configuration with its overlay."""
    values = decode(_only(root, frozenset({"vars"})), [field for field in fields if field.name == "vars"], problems)
    variables: Mapping[str, str] = values["vars"]
    return variables


def _only(root: nodes.Node, names: frozenset[str]) -> nodes.Node:
    return _filtered(root, lambda name: name in names)


def _without(root: nodes.Node, names: frozenset[str]) -> nodes.Node:
    return _filtered(root, lambda name: name not in names)


def _filtered(root: nodes.Node, is_wanted: Callable[[str], bool]) -> nodes.Node:
    """The same mapping with some of its fields; anything else as it is."""
    if not isinstance(root, nodes.Mapping):
        return root
    return nodes.Mapping({name: item for name, item in root.items.items() if is_wanted(name)}, root.line, root.column)


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
    """Note globs of stores that match no store: a misspelt one would not do what it was written for."""
    for field, rules in (
        ("authors.targets", (values["authors"] or {}).get("targets") or ()),
        ("schemas", values["schemas"]),
    ):
        for index, rule in enumerate(rules):
            _check_stores(f"{field}[{index}].stores", rule["stores"] or (), values["stores"] or {}, root, problems)


def _check_stores(
    what: str, globs: Sequence[str], stores: Mapping[str, Any], root: nodes.Node, problems: Problems
) -> None:
    for pattern in globs:
        if not any(fnmatchcase(name, pattern) for name in stores):
            message = f"{what}: no store matches {quoted(pattern)}"
            problems.add(
                message, _field_node(root, what.partition(".")[0].partition("[")[0]), name_hint(pattern, stores)
            )


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
