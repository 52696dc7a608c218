"""Configuration loading with the installed store types."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from kvsync.config.load import declared_environments, load_config
from kvsync.config.model import Config
from kvsync.config.revision import ConfigDraft, ConfigRevision
from kvsync.errors import InvalidInput, Origin, Problem
from kvsync.stores.registry import InstalledStoreTypes


def read_config(
    path: Path,
    *,
    environment: str | None = None,
    environ: Mapping[str, str],
    revision: ConfigRevision | ConfigDraft | None = None,
    links: bool = True,
) -> Config:
    """Read the configuration as `load_config` does. Raises InvalidInput with every problem."""
    types = InstalledStoreTypes()
    return load_config(
        path, environment=environment, environ=environ, store_types=types, revision=revision, links=links
    )


def config_problems(
    path: Path, environment: str | None, *, environ: Mapping[str, str], revision: ConfigRevision | None = None
) -> frozenset[Problem]:
    """What is wrong with the configuration in an environment, and in every environment that it declares if None is given."""
    found: set[Problem] = set()
    declared: tuple[str, ...] = ()
    with suppress(InvalidInput):  # it is reported below
        declared = declared_environments(path, store_types=InstalledStoreTypes(), revision=revision)
    for name in (environment, *(declared if environment is None else ())):
        try:
            read_config(path, environment=name, environ=environ, revision=revision)
        except InvalidInput as error:
            found.update(error.problems)
    return frozenset(found)


def check_reloadable(old: Config, new: Config, state_dir: Path) -> None:
    """Check that a running daemon can go over to another configuration; `state_dir` is the directory that is open. Raises
    InvalidInput."""
    what = None
    if (new.state_dir, new.owner, new.environment) != (state_dir, old.owner, old.environment):
        what = "owner, state_dir and environment cannot change while the daemon runs"
    elif new.run.lease != old.run.lease:
        what = "run.lease cannot change while the daemon runs"
    if what is not None:
        raise InvalidInput([Problem(what, Origin(old.file.name, 1, 1), "restart the daemon, or take the change back")])
