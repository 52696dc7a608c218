"""What a replica knows of all claims."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from kvsync.model.entry import Target
from kvsync.state.claims import Replica, TargetClaim, TargetClaims


class KnownClaims:
    """The living replicas, and who holds which target. All claims are read only when one was taken or given up, or a replica
    came or went: in most steps, thousands of claims are the same as before."""

    def __init__(self, claims: TargetClaims) -> None:
        self._claims = claims
        self._read_with: list[tuple[str, int, int]] | None = None
        self._wanted: Collection[Target] = ()
        self.replicas: tuple[Replica, ...] = ()
        self.holders: Mapping[Target, TargetClaim] = {}
        self.unclaimed: Collection[Target] = ()
        """The wanted targets that no living replica held when the claims were last read."""

    def read(self, wanted: Collection[Target]) -> None:
        """Read what changed. `wanted` are the targets that the files name, the same collection until they change. Raises
        StateDirError."""
        self.replicas = tuple(self._claims.replicas())
        # A claim has a higher number than all earlier ones: with as many claims and the same sum, they are the same claims.
        found = [(one.id, one.targets, one.fences) for one in self.replicas]
        if found == self._read_with and wanted is self._wanted:
            return
        if found != self._read_with:
            self.holders = self._claims.holders()
        self.unclaimed = [target for target in wanted if not self._is_claimed(target)]
        self._read_with, self._wanted = found, wanted

    def _is_claimed(self, target: Target) -> bool:
        claim = self.holders.get(target)
        return claim is not None and claim.is_alive
