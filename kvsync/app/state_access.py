"""Opens the state of a configuration: its directory, or the database that keeps it for all replicas."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from kvsync.app.configuration import read_config
from kvsync.config.credentials import resolve
from kvsync.config.model import Config, Credential, CredentialKind, StoreConfig
from kvsync.errors import StateDirError, UsageError
from kvsync.logs import get_logger
from kvsync.state import StateDir
from kvsync.state.folder import real_directory
from kvsync.util.clock import Clock
from kvsync.util.redaction import REDACTOR, Redactor
from kvsync.util.values import dataclass

if TYPE_CHECKING:
    from kvsync.state.postgres_address import PostgresAddress

_log = get_logger()

DEFAULT_FILE: Final = Path("kvsync.yaml")
DSN: Final = "KVSYNC_DSN"
"""The variable with the connection string, where there is no configuration."""

_DSN_CREDENTIAL: Final = Credential(CredentialKind.ENV, DSN)
_LOST: Final = "history, pauses, approvals, local ledgers"

_EXTRA: Final = "the package psycopg is missing; install kvsync[postgresql]"


@dataclass(frozen=True, slots=True)
class StateAccess:
    """Parameters to open the state of a configuration."""

    config: Config
    redactor: Redactor = REDACTOR
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ)

    def open(self, *, writable: bool, needed: bool = True, clock: Clock | None = None) -> StateDir:
        """The state, wherever it is kept. One that replicas share is only read, and one that was lost is not made again, where
        writing is not `needed`. Raises StateDirError, AuthError."""
        if self.config.database is None:
            return self.open_directory(writable=writable, needed=needed, clock=clock)
        opened = StateDir.open_postgres(
            self.config.state_dir,
            replace(self.address(), is_read_only=not needed),
            writable=writable,
            config_root=self.config.root,
            clock=clock,
            redact=self.redactor.redact,
        )
        opened.environment = self.config.environment or ""
        try:
            self._check_environment(opened)
        except BaseException:
            opened.close()
            raise
        return opened

    def _check_environment(self, opened: StateDir) -> None:
        """Raise StateDirError if a database keeps the state of another environment."""
        config, kept = self.config, opened.runs.last_environment()
        if kept != config.environment and kept in config.environments:
            reason = f"it keeps the state of the environment {kept!r}, and environments do not share a state"
            hint = f"set another database in the overlay of {config.environment!r} (state.postgresql.dsn)"
            raise StateDirError(opened.name, f"{reason}; {hint}")

    def open_directory(self, *, writable: bool, needed: bool = True, clock: Clock | None = None) -> StateDir:
        """The state directory of the environment in force, even where a database keeps the state. Raises LockHeld,
        StateDirError."""
        config = self.config

        def opened(path: Path, may_write: bool) -> StateDir:
            return StateDir.open(
                path,
                writable=writable and may_write,
                config_root=config.root,
                clock=clock,
                redact=self.redactor.redact,
                replaces_lost=needed,
            )

        if config.environment is None:
            found = opened(config.state_dir, True)
        else:
            from kvsync.state.environments import open_environment  # most configurations have none

            root = real_directory(config.state_dir, config.root, writable=writable)
            found = open_environment(root, config.environment, opened, needed=needed)
            found.asked = config.state_dir
        if found.is_lost:
            _log.warning("state.lost", path=str(found.path), lost=_LOST)
        if found.missing:
            _log.warning("state.older", path=str(found.path), missing=found.missing, lost=_LOST)
        found.environment = config.environment or ""
        return found

    def address(self) -> PostgresAddress:
        """Address of the database. Raises UsageError if none is configured, StateDirError, AuthError."""
        if self.config.database is None:
            raise UsageError(f"{self.config.file}: no database is configured; set state.postgresql.dsn")
        try:
            from kvsync.state.postgres_address import PostgresAddress
        except ModuleNotFoundError:
            raise StateDirError("postgresql", _EXTRA) from None
        dsn = resolve(self.config.database, self.config.root, self.environ, self.redactor)
        return PostgresAddress.of(dsn, self.redactor.register)


def has_file(file: Path) -> bool:
    """False on a machine that has no configuration, only the address of the database in its environment."""
    return file != DEFAULT_FILE or file.exists() or not os.environ.get(DSN)


@contextmanager
def open_state(file: Path, environment: str | None, *, writable: bool) -> Iterator[tuple[Config, StateDir]]:
    """The configuration and its state, without stores and files. Raises InvalidInput, StateDirError, AuthError."""
    if not has_file(file):
        with open_without_file(environment, writable=writable) as found:
            yield found
        return
    config = read_config(file, environment=environment, environ=os.environ)
    with StateAccess(config).open(writable=writable) as opened:
        yield replace(config, state_dir=opened.path), opened


@contextmanager
def open_without_file(environment: str | None, *, writable: bool) -> Iterator[tuple[Config, StateDir]]:
    """The state in the database that the variable names, on a machine that has no configuration. The stores are those that had
    a pass, the environment is that of the last run. Nothing is kept on this machine. Raises StateDirError, also for another
    environment."""
    from tempfile import TemporaryDirectory  # other commands do not pay for it

    root = Path.cwd()
    with TemporaryDirectory(prefix="kvsync-") as folder:
        config = Config(DEFAULT_FILE, root, "", (), Path(folder) / "state", {}, database=_DSN_CREDENTIAL)
        with StateAccess(config).open(writable=writable) as opened:
            kept = opened.runs.last_environment()
            if environment not in (None, kept):
                reason = f"it keeps the state of {f'the environment {kept!r}' if kept else 'no environment'}"
                raise StateDirError(
                    opened.name, f"{reason}, not of {environment!r}; set {DSN} to the database of {environment!r}"
                )
            names = {record.target.store for record in opened.passes.all()} | {one.store for one in opened.places.all()}
            stores = {name: StoreConfig(name, "", {}) for name in sorted(names)}
            yield replace(config, stores=stores, environment=kept), opened


@dataclass(frozen=True, slots=True)
class SchemaChange:
    """What the database is called, and the versions of its schema: `before` is None where there were no tables."""

    name: str
    before: int | None
    now: int


def init_database(file: Path, environment: str | None) -> SchemaChange:
    """Make the tables where there are none. Raises InvalidInput, UsageError, StateDirError, AuthError."""
    return _brought_up_to_date(file, environment, create=True)


def upgrade_database(file: Path, environment: str | None) -> SchemaChange:
    """Bring the schema up to date, as `init_database`."""
    return _brought_up_to_date(file, environment, create=False)


def _brought_up_to_date(file: Path, environment: str | None, *, create: bool) -> SchemaChange:
    address = StateAccess(read_config(file, environment=environment, environ=os.environ)).address()
    from kvsync.state.postgres_database import upgrade
    from kvsync.state.postgres_schema import VERSION

    return SchemaChange(address.name, upgrade(address, create=create), VERSION)


@dataclass(frozen=True, slots=True)
class CopyReport:
    """Result of copying a state, or of a dry run: source, destination, and the number of rows by table."""

    source: str
    target: str
    rows: Mapping[str, int]


def copy_state(file: Path, environment: str | None, *, to_database: bool, dry_run: bool) -> CopyReport:
    """Copy everything but caches between the state directory and the database. The side that is written must be empty, and no
    process may write to either meanwhile. Raises InvalidInput, UsageError, LockHeld, StateDirError, AuthError."""
    from kvsync.state.copying import copy

    access = StateAccess(read_config(file, environment=environment, environ=os.environ))
    access.address()
    with access.open_directory(writable=True) as directory, access.open(writable=True) as database:
        source, target = (directory, database) if to_database else (database, directory)
        with directory.lock("kvsync state copy"):
            return CopyReport(source.name, target.name, copy(source, target, dry_run=dry_run))
