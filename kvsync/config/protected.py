"""Paths that no state file may read, whatever the configuration allows: secrets, and files that control kvsync."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from kvsync.config.model import Config, CredentialKind
from kvsync.util.values import dataclass
from kvsync.yaml.credential import credentials_in

ENVIRONMENTS: Final = "environments"
"""Name of the folder in the state directory that has a directory for each environment."""

_DATABASE_FILES: Final = ("", "-wal", "-shm", "-journal")
"""What SQLite adds to the name of a database for the files it keeps next to it."""


@dataclass(frozen=True, slots=True)
class ProtectedPath:
    """A file or a folder with everything in it. `path` is absolute, links in it are not resolved; `reason` says what it is.
    `identity` is its device and inode where it is known to stay the same: it is recognised by it even after it was moved."""

    path: Path
    reason: str
    identity: tuple[int, int] | None = None


def protected_paths(config: Config, environ: Mapping[str, str]) -> tuple[ProtectedPath, ...]:
    """The state directory, the configuration and its overlays, the files that credentials are taken from (of `environ`,
    $CREDENTIALS_DIRECTORY is read), and the files that stores keep for themselves."""
    return (
        *(
            ProtectedPath(path, "it belongs to the state directory", _identity(path))
            for path in (config.state_dir, *_environments(config.state_dir / ENVIRONMENTS))
        ),
        *(ProtectedPath(path, "it is the configuration") for path in _configuration(config)),
        *(ProtectedPath(path, "it holds a credential") for path in _credentials(config, environ)),
        *(ProtectedPath(path, "it is the database of a store") for path in _store_files(config)),
    )


def own_files(config: Config) -> tuple[Path, ...]:
    """The absolute paths that kvsync itself writes to: its state directory, and the databases of stores. Links are not
    resolved."""
    return (config.state_dir, *_store_files(config))


def is_configuration(config: Config, name: str) -> bool:
    """True for the name of the configuration file, of any overlay that it has or could have, and of a copy of one as editors
    and people make them: kvsync.prod.yml, kvsync.yaml.bak, .kvsync.yaml.swp."""
    shown, stem = name.casefold().lstrip(".#~"), config.file.stem.casefold()
    return shown == config.file.name.casefold() or (
        shown.startswith(f"{stem}.") and any(one in shown for one in (config.file.suffix.casefold(), ".yaml", ".yml"))
    )


def copies_of_configuration(config: Config, root: Path) -> Iterator[ProtectedPath]:
    """What lies in `root` now under a name that `is_configuration`."""
    with suppress(OSError), os.scandir(root) as entries:
        for entry in entries:
            if is_configuration(config, entry.name):
                yield ProtectedPath(root / entry.name, "it is the configuration, or a copy of it")


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _environments(folder: Path) -> list[Path]:
    """The directories of environments, also of those that the configuration no longer names."""
    with suppress(OSError):
        return sorted(folder.iterdir())
    return []


def _configuration(config: Config) -> Iterator[Path]:
    yield config.file
    stem, suffix = config.file.stem, config.file.suffix
    yield from (config.file.with_name(f"{stem}.{name}{suffix}") for name in config.environments)


def _credentials(config: Config, environ: Mapping[str, str]) -> Iterator[Path]:
    folder = environ.get("CREDENTIALS_DIRECTORY")
    if folder:
        yield config.root / folder
    for credential in credentials_in(config):
        if credential.kind is CredentialKind.FILE:
            yield config.root / credential.name


def _store_files(config: Config) -> Iterator[Path]:
    for store in config.stores.values():
        for written in store.private_files:
            file = config.root / Path(written).expanduser()
            yield from (file.with_name(f"{file.name}{suffix}") for suffix in _DATABASE_FILES)
