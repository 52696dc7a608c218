"""Decides whether a target must wait for an earlier wave, from the configuration and what is recorded of each target."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import field, replace
from fnmatch import fnmatchcase
from hashlib import blake2b
from math import inf
from typing import Final

from kvsync.errors import Origin
from kvsync.model.capabilities import Capabilities
from kvsync.model.change import Action, Change
from kvsync.model.desired import Desired
from kvsync.model.entry import Target
from kvsync.model.place import Place
from kvsync.planning.ledger_only import is_ledger_only
from kvsync.util.values import dataclass

APPLYING: Final = "it is being applied"
"""What is recorded of a target while changes are sent to it."""

_NEVER_HELD: Final = frozenset({Action.RENEW, Action.ADOPT, Action.RELEASE})


@dataclass(frozen=True, slots=True)
class Probe:
    """Health check of what a wave serves: a GET of the URL `http`, or the program `command` with its arguments. `timeout` is in
    seconds."""

    http: str | None = None
    command: tuple[str, ...] = ()
    timeout: float = 10

    def __str__(self) -> str:
        """The name in messages, without arguments: one of them may be a secret."""
        return self.http or self.command[0]


@dataclass(frozen=True, slots=True)
class Wave:
    """The targets whose `store/namespace` matches one of the globs `targets`. The next wave begins once they have been in sync
    for `bake` seconds, and the probes of both succeed. `origin` is where the configuration has the wave."""

    targets: tuple[str, ...]
    bake: float = 0
    probe: Probe | None = None
    origin: Origin | None = field(default=None, compare=False)

    def names(self, target: Target) -> bool:
        """True for a target of the wave, unless an earlier wave names it too."""
        return any(fnmatchcase(str(target), pattern) for pattern in self.targets)


@dataclass(frozen=True, slots=True)
class WaveRecord:
    """What is known of a target: the digest of what it was last brought to, since when it has been in sync (by the steady
    timeline), and why it is not, None if it is."""

    digest: str
    since: float
    failure: str | None = None


@dataclass(frozen=True, slots=True)
class WaveHold:
    """Why a target waits, and until when (by the steady timeline) if only time is missing. `is_moving`: the earlier wave is in
    progress, so that this may change soon. `target` is the one that is waited for, if it is one."""

    reason: str
    until: float | None = None
    is_moving: bool = False
    target: Target | None = None


@dataclass(frozen=True, slots=True)
class WaveFacts:
    """Inputs of the decision. `members` are the managed targets of each wave by its index, `desired` has the digest of each of
    them that the files name and that can be used; `now` is by the steady timeline."""

    members: Mapping[int, Sequence[Target]]
    desired: Mapping[Target, str]
    records: Mapping[Target, WaveRecord]
    now: float


def wave_of(target: Target, waves: Sequence[Wave]) -> int:
    """The index of a target's wave: the first that names it. Targets that none names are the last wave."""
    return next((index for index, wave in enumerate(waves) if wave.names(target)), len(waves))


def members_of(targets: Collection[Target], waves: Sequence[Wave]) -> dict[int, list[Target]]:
    """The targets of each wave, in order, by its index."""
    members: dict[int, list[Target]] = {}
    for one in sorted(targets):
        members.setdefault(wave_of(one, waves), []).append(one)
    return members


def wave_count(waves: Sequence[Wave], members: Mapping[int, Collection[Target]]) -> int:
    """How many waves there are, with that of the targets that no wave names if there are any."""
    return len(waves) + (len(waves) in members)


def wave_hold(own: int, waves: Sequence[Wave], facts: WaveFacts) -> WaveHold | None:
    """Why the targets of the wave with the index `own` must wait for earlier targets; None if they need not."""
    total = wave_count(waves, facts.members)
    for index, wave in enumerate(waves[:own]):
        if found := _unfinished(wave, facts.members.get(index, ()), facts):
            return replace(found, reason=f"waits for {_named(index, waves, total)}: {found.reason}")
    return None


def probe_hold(own: int, waves: Sequence[Wave], total: int, failures: Mapping[int, str]) -> WaveHold | None:
    """Why the targets of the wave with the index `own`, of `total`, must wait for a probe: `failures` say by wave why one
    failed."""
    for index in sorted(failures):
        where = "its own probe" if index == own else f"the probe of {_named(index, waves, total)}"
        return WaveHold(f"waits for {where}: {failures[index]}", is_moving=True)
    return None


def is_never_held(change: Change, capabilities: Capabilities) -> bool:
    """True for a change that no wave holds back: it keeps an entry alive, or only records whose it is."""
    return change.action in _NEVER_HELD or is_ledger_only(change, capabilities)


def wave_digest(desired: Desired, place: Place, key: bytes) -> str:
    """Identify what the files ask of a target at a place: the same in every process that has the key, and of no use without
    it."""
    found = blake2b(key=key, digest_size=16)
    found.update(repr((desired.target, place.type, place.parts, place.scope)).encode())
    for identity, entry in sorted(desired.entries.items(), key=lambda item: (item[0].key, item[0].label or "")):
        lifetime = (entry.ttl, entry.expires_at)
        found.update(repr((identity, entry.fingerprint, lifetime, entry.mode.value, entry.protected)).encode())
    moves = [(move.source, move.destination) for move in desired.moved]
    found.update(repr((sorted(desired.absent), moves, desired.policy)).encode())
    return found.hexdigest()


def _named(index: int, waves: Sequence[Wave], total: int) -> str:
    return f"wave {index + 1} of {total} ({', '.join(waves[index].targets)})"


def _unfinished(wave: Wave, members: Sequence[Target], facts: WaveFacts) -> WaveHold | None:
    """Why a wave is not over."""
    for target in reversed(members):  # mostly the one that is applied last, so that the answer holds for long
        if target not in facts.desired:
            return WaveHold(f"the files of {target} have problems", target=target)
        record = facts.records.get(target)
        if record is None or record.digest != facts.desired[target]:
            since = "yet" if record is None else "since its files or its place changed"
            return WaveHold(f"{target} has not been applied {since}", is_moving=True, target=target)
        if record.failure is not None:
            is_moving = record.failure == APPLYING
            return WaveHold(f"{target} is not in sync: {record.failure}", is_moving=is_moving, target=target)
    # A moment in the future comes from a clock that was set back: it must not hold a target for longer than the bake.
    until = max((min(facts.records[one].since, facts.now) for one in members), default=-inf) + wave.bake
    return WaveHold("baking", until) if until > facts.now else None
