"""Target of a pass with its place and its ownership keys."""

from __future__ import annotations

from kvsync.model.entry import Target
from kvsync.model.place import LocatedTarget
from kvsync.planning.marks import MarkSigner
from kvsync.util.values import dataclass


@dataclass(frozen=True, slots=True)
class PassTarget:
    """The target of a pass with its place. `signer` makes and verifies marks there; `key` identifies the place in the state
    directory; `moved_from` describes the place that the same names led to before, if it was another one."""

    located: LocatedTarget
    signer: MarkSigner
    key: str
    moved_from: str | None = None

    @property
    def target(self) -> Target:
        """The target by its names."""
        return self.located.target
