"""Options of a pass, as a command or the daemon asks for it."""

from __future__ import annotations

from kvsync.model.policy import Adopt
from kvsync.util.values import dataclass


@dataclass(frozen=True, slots=True)
class PassOptions:
    """Options of a pass.

    `deep` reads values even if the listing has fingerprints. `keys` are globs that limit the pass to matching keys. `grace` is
    the minimum time in seconds that an entry must have been undesired before it is deleted. `adopt` replaces `policy.adopt`.
    `retry` includes deferred entries (quarantined or contended). `from_owner` is another owner whose entries are taken over.
    `releases` gives up ownership of all of kvsync's entries. Without `leaves_ledger`, a ledger that the store keeps is read but
    not written. With `deletes_namespaces`, namespaces that kvsync has emptied are deleted if the operator allows it.
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
