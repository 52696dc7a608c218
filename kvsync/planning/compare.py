"""Fast comparison of desired and actual entries: an unchanged entry costs one dictionary lookup."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from fnmatch import translate
from functools import lru_cache

from kvsync.model.desired import Desired
from kvsync.model.entry import Identity, identity_order
from kvsync.model.policy import Prune
from kvsync.model.snapshot import Snapshot
from kvsync.planning.marks import MarkSigner


@dataclass(frozen=True, slots=True)
class Comparison:
    """What `compare` found: the identities to look at closely, in order, and counts of all the others.

    `owned` counts the entries in the store that bear a mark of ours, whether they differ or not.
    """

    differing: tuple[Identity, ...]
    unchanged: int
    foreign: int
    ignored: int
    owned: int


def compare(
    desired: Desired,
    snapshot: Snapshot,
    signer: MarkSigner,
    recorded: Callable[[], Collection[Identity]] = frozenset,
    ignored: Callable[[str], bool] | None = None,
) -> Comparison:
    """Compare the cheap views of both sides; see `kvsync.planning.classify` for what comes next.

    `recorded` gives the identities that the ledger knows; it is asked only where the store has entries that are neither
    desired nor marked. `ignored` tells the keys that the policy ignores, where that was found out before.
    """
    ignored = ignored or key_matcher(desired.policy.ignore)
    settled = snapshot.settled
    differing = [identity for identity, digest in desired.settled.items() if settled.get(identity) != digest]
    unchanged = len(desired.settled) - len(differing)
    if len(desired.entries) != len(desired.settled):
        differing += [identity for identity in desired.entries if identity not in desired.settled]
    if unchanged == len(snapshot.entries) and not differing:
        return Comparison((), unchanged, 0, 0, unchanged)
    wanted = [identity for identity in differing if not ignored(identity.key)]
    extra = _Extra(desired, snapshot, signer, recorded, ignored)
    candidates = wanted + list(extra.candidates())
    owned = unchanged + extra.owned + sum(1 for identity in differing if _is_ours(snapshot, identity, signer))
    return Comparison(
        tuple(sorted(candidates, key=identity_order)),
        unchanged,
        extra.foreign,
        extra.ignored + len(differing) - len(wanted),
        owned,
    )


def judged_keys(desired: Desired, snapshot: Snapshot) -> Iterator[str]:
    """The keys that `compare` looks up among those that the policy ignores."""
    settled = snapshot.settled
    yield from (
        identity.key for identity in desired.entries if settled.get(identity) != desired.settled.get(identity, b"")
    )
    yield from (identity[0] for identity in snapshot.entries.keys() - desired.entries.keys())


class _Extra:
    """Walks the entries of the store that are not desired, and counts them on the way."""

    def __init__(
        self,
        desired: Desired,
        snapshot: Snapshot,
        signer: MarkSigner,
        recorded: Callable[[], Collection[Identity]],
        ignored: Callable[[str], bool],
    ) -> None:
        self._desired, self._snapshot, self._signer, self._is_ignored = desired, snapshot, signer, ignored
        self._recorded = recorded
        self.owned = self.foreign = self.ignored = 0

    def candidates(self) -> Iterator[Identity]:
        """Yield what may have to be deleted: entries of ours, and what a policy or an `absent` line points at."""
        unmarked: list[Identity] = []
        for identity in self._snapshot.entries.keys() - self._desired.entries.keys():
            if self._is_ignored(identity[0]):
                self.ignored += 1
            elif _is_ours(self._snapshot, identity, self._signer):
                self.owned += 1
                yield Identity(*identity)
            else:
                unmarked.append(Identity(*identity))
        yield from self._unmarked(unmarked)

    def _unmarked(self, unmarked: list[Identity]) -> Iterator[Identity]:
        """Those of the unmarked entries that a policy, an `absent` line or the ledger knows; the others are foreign."""
        if self._desired.policy.prune is Prune.SCOPE:
            yield from unmarked
            return
        named, recorded = self._desired.absent, self._recorded() if unmarked else ()
        for identity in unmarked:
            if identity.key in named or identity in recorded:
                yield identity
            else:
                self.foreign += 1


def _is_ours(snapshot: Snapshot, identity: Identity, signer: MarkSigner) -> bool:
    if identity in snapshot.settled:
        return True
    entry = snapshot.entries.get(identity)
    return entry is not None and signer.claims(entry)


def key_matcher(globs: Iterable[str]) -> Callable[[str], bool]:
    """One test for several globs over whole keys; `*` also crosses `/`. No globs match nothing. Compiled once for each list."""
    return _key_matcher(tuple(globs))


@lru_cache(maxsize=256)
def _key_matcher(globs: tuple[str, ...]) -> Callable[[str], bool]:
    if not globs:
        return lambda _key: False
    matches = re.compile("|".join(map(translate, globs))).match
    return lambda key: matches(key) is not None
