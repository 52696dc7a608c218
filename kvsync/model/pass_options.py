"""Options of a pass, as a command or the daemon asks for it."""

from __future__ import annotations

from kvsync.model.policy import Adopt
from kvsync.util.values import dataclass


@dataclass(frozen=True, slots=True)
class PassOptions:
    """Options of a pass.

    `deep` reads values even where the listing carries fingerprints; `keys` are globs to look at; `grace` is the least time, in
    seconds, that an entry must have been undesired before it is deleted; `adopt` replaces the policy of that name; with `retry`
    deferred entries (quarantined or contended) are tried too. `from_owner` is another owner whose entries are taken over. With
    `releases`, ownership of everything that is ours is given up. Without `leaves_ledger`, a ledger that the store keeps is
    read, and not written. With `deletes_namespaces`, namespaces that kvsync has emptied are deleted where the
    operator allows it.
    """

    deep: bool = False
    allow_protected: bool = False
    keys: tuple[str, ...] = ()
    grace: float = 0
    adopt: Adopt | None = None
    retry: bool = False
    from_owner: str | None = None
    releases: bool = False
    leaves_ledger: bool = True
    deletes_namespaces: bool = False
