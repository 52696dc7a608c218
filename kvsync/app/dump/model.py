"""Results of a dump: the files, and what is not in them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from kvsync.model.entry import Identity, Target


@dataclass(frozen=True, slots=True)
class OmittedEntry:
    """An entry that is in the store and not in the files, and why."""

    identity: Identity
    reason: str


@dataclass(frozen=True, slots=True)
class Dumped:
    """What a namespace comes to. `files` are by relative path, `entries` counts what is in them, and `variables` hold the
    values of sensitive entries. `left_out` could not be written; entries of another owner, and those that the policy ignores,
    were `passed_over`. `suspects` are written although they look like secrets. The values of `encrypted`
    are in a file that SOPS encrypted."""

    target: Target
    files: Mapping[str, bytes]
    entries: int
    variables: Mapping[str, Identity] = field(default_factory=dict)
    left_out: tuple[OmittedEntry, ...] = ()
    passed_over: tuple[OmittedEntry, ...] = ()
    suspects: tuple[Identity, ...] = ()
    encrypted: tuple[Identity, ...] = ()
