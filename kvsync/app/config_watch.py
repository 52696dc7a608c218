"""Detects that `kvsync.yaml`, the overlay of the environment in force, or an included file has changed on disk."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from kvsync.config.layers import joined_digest, overlay_paths, text_digest
from kvsync.config.model import Config
from kvsync.desired.file_stability import FileStability, FileState
from kvsync.util.clock import Clock
from kvsync.util.values import dataclass

LONGEST_HOLD = 10.0
"""Seconds that a changed configuration waits for state files that are still being written."""


@dataclass(frozen=True, slots=True)
class ConfigCheck:
    """Result of one check: `is_new` if another configuration is to be loaded, `is_broken` if it was tried already and cannot be
    used. `stable_in` is not None while the file may still be being written: check again after so many seconds."""

    is_new: bool = False
    is_broken: bool = False
    stable_in: float | None = None


class ConfigWatch:
    """Checks the configuration, its overlay and its included files on disk. A file that changed or was deleted counts
    only once it is stable."""

    def __init__(self, config: Config, clock: Clock) -> None:
        self._clock = clock
        self._stability = FileStability(config.run.debounce, clock)
        self._last = ConfigCheck()
        self._new_since: float | None = None
        self._refused: bytes | None = None
        self.use(config)
        with suppress(OSError):
            self._read_digest()

    def use(self, config: Config) -> None:
        """Compare with this configuration from now on: it is in force."""
        self._files = (config.file, *overlay_paths(config.file, config.environment), *config.included)
        self._in_force = config.digest
        self._stability.seconds = config.run.debounce
        self._refused = self._new_since = None

    def refuse(self) -> None:
        """Note that what is on disk cannot be used, so that it is not tried again."""
        with suppress(OSError):
            self._refused, self._new_since = self._read_digest()[0], None

    def check(self) -> ConfigCheck:
        """Check the files. While this machine cannot read them, the last result stays valid."""
        with suppress(OSError):
            self._last = self._found()
        return self._last

    def _found(self) -> ConfigCheck:
        digest, left = self._read_digest()
        if digest == self._in_force:
            self._refused = self._new_since = None
            return ConfigCheck()
        if left is not None:
            return ConfigCheck(stable_in=left)
        if digest == self._refused:
            return ConfigCheck(is_broken=True)
        self._new_since = self._clock.monotonic() if self._new_since is None else self._new_since
        return ConfigCheck(is_new=True)

    @property
    def is_overdue(self) -> bool:
        """True when a new configuration has waited long enough for the state files."""
        return self._new_since is not None and self._clock.monotonic() - self._new_since >= LONGEST_HOLD

    def _read_digest(self) -> tuple[bytes, float | None]:
        """The digest of the files, empty when there is no configuration, and the seconds until they are stable."""
        states = [(str(file), _state_of(file)) for file in self._files]
        there = {name: state for name, state in states if state is not None}
        left = self._stability.unstable(there)
        is_whole = str(self._files[0]) in there
        digest = joined_digest([state.contents[0] for state in there.values()]) if is_whole else b""
        return digest, max(left.values(), default=None)


def _state_of(file: Path) -> FileState | None:
    """The file as it is; None when it is not there, or may not be read. Raises OSError for what is wrong with this machine,
    such as too many open files."""
    try:
        data, status = (file.parent.resolve() / file.name).read_bytes(), file.stat()
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError, PermissionError, RuntimeError):
        return None
    stamp = status.st_ino, status.st_size, status.st_mtime_ns
    return FileState((text_digest(data),), ((file.name, stamp),), max(status.st_mtime, status.st_ctime))
