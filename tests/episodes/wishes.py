"""What is wanted of one target, and what may be found there although it is not wanted."""

from __future__ import annotations

from collections.abc import Iterable, Mapping


class Wishes:
    """A model of one target. It knows the history, and none of kvsync's reasoning.

    Nothing is said of an entry in doubt: someone else wrote to it at a time when nothing proved that it is ours, so it may stay
    as it is, or become what is wanted.
    """

    def __init__(self) -> None:
        self.files: dict[str, dict[str, bytes]] = {}
        """What each file asks for."""
        self._sure: set[str] = set()
        self._altered: set[str] = set()
        self.doubtful: set[str] = set()

    @property
    def wanted(self) -> dict[str, bytes]:
        """What all files ask for."""
        return {key: value for file in self.files.values() for key, value in file.items()}

    def want(self, file: str, entries: Mapping[str, bytes] | None) -> None:
        """A file asks for something else, or is no more."""
        before = self.wanted
        if entries is None:
            self.files.pop(file, None)
        else:
            self.files[file] = dict(entries)
        gone = before.keys() - self.wanted.keys()
        self.doubtful |= self._altered & gone
        self._sure -= gone & self._altered

    def alter(self, key: str) -> None:
        """Someone else writes to an entry of ours, or deletes it."""
        if key in self._sure and key in self.wanted:
            self._altered.add(key)
        else:
            self.doubtful.add(key)

    def forget(self, *, is_marked: bool, pool: Iterable[str]) -> None:
        """The state directory is lost, or an older one: then only marks in the store say what is ours."""
        self.doubtful |= self._altered
        if not is_marked:
            self.doubtful |= set(pool)
        self._sure, self._altered = set(), set()

    def settled(self) -> None:
        """A run has put everything right, and is known to have read everything."""
        self._sure, self._altered = set(self.wanted), set()

    def is_in_doubt(self, held: Mapping[str, bytes]) -> bool:
        """Whether something is there that kvsync may refuse to touch."""
        return any(key in held or key in self.wanted for key in self.doubtful)

    def wrong(self, held: Mapping[str, bytes]) -> dict[str, tuple[bytes | None, bytes | None]]:
        """What is held and not wanted, by key: what is wanted, and what is held."""
        if not self.files:  # not managed: as it was
            return {}
        wanted, keys = self.wanted, (self.wanted.keys() | held.keys()) - self.doubtful
        return {key: (wanted.get(key), held.get(key)) for key in sorted(keys) if wanted.get(key) != held.get(key)}
