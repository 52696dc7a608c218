"""Fast comparison of desired and actual entries: an unchanged entry costs one dictionary lookup."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator
from fnmatch import translate
from functools import lru_cache

from kvsync.model.desired import Desired
from kvsync.model.entry import Identity, identity_order
from kvsync.model.policy import Prune
from kvsync.model.snapshot import Snapshot
from kvsync.planning.marks import MarkSigner
from kvsync.util.values import dataclass


@dataclass(frozen=True, slots=True)
class Comparison:
    """Result of `compare`: the identities to examine closely, in order, and counts of all others. `owned` counts the entries in
    the store that have a mark of ours, whether they differ or not."""

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
    """Compare the fingerprints of both sides; see `kvsync.planning.classify` for the next step. `recorded` returns the
    identities in the ledger; it is called only if the store has entries that are neither desired nor marked. `ignored` tests
    for keys that the policy ignores, if that was computed before."""
    ignored = ignored or key_matcher(desired.policy.ignore)
    settled = snapshot.settled
    differing = [identity for identity, digest in desired.settled.items() if settled.get(identity) != digest]
    unchanged = len(desired.settled) - len(differing)
    if len(desired.entries) != len(desired.settled):
        differing += [identity for identity in desired.entries if identity not in desired.settled]
    if unchanged == len(snapshot.entries) and not differing:
        return Comparison((), unchanged, 0, 0, unchanged)
    wanted = differing
    if ignored is not nothing_matches:
        wanted = [identity for identity in differing if not ignored(identity.key)]
    extra = _Extra(desired, snapshot, signer, recorded, ignored)
    candidates = wanted + list(extra.candidates())
    listed = [identity for identity in differing if identity in snapshot.entries]
    owned = unchanged + extra.owned + sum(1 for identity in listed if _is_ours(snapshot, identity, signer))
    return Comparison(
        tuple(sorted(candidates, key=identity_order)),
        unchanged,
        extra.foreign,
        extra.ignored + len(differing) - len(wanted),
        owned,
    )


def keys_to_match(desired: Desired, snapshot: Snapshot) -> Iterator[str]:
    """The keys that `compare` tests against the patterns that the policy ignores."""
    settled = snapshot.settled
    yield from (
        identity.key for identity in desired.entries if settled.get(identity) != desired.settled.get(identity, b"")
    )
    yield from (identity[0] for identity in snapshot.entries.keys() - desired.entries.keys())


class _Extra:
    """Walks the undesired entries of the store and counts them."""

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
        """Yield the entries that may have to be deleted: ours, and those that a policy or an `absent` line names."""
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
        """The unmarked entries that a policy, an `absent` line or the ledger names; all others are foreign."""
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
    """One test for several globs over whole keys; `*` also crosses `/`. No globs match nothing. Compiled once per list."""
    return _key_matcher(tuple(globs))


def nothing_matches(_key: str) -> bool:
    """The test for no globs."""
    return False


@lru_cache(maxsize=256)
def _key_matcher(globs: tuple[str, ...]) -> Callable[[str], bool]:
    if not globs:
        return nothing_matches
    matches = re.compile("|".join(map(translate, globs))).match
    return lambda key: matches(key) is not None
