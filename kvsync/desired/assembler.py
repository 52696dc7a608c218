"""Assembles the desired state of each target from all state files, with its problems.

If only the content of a few files changed, only their targets are put together again.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from hashlib import blake2b
from operator import attrgetter
from typing import TYPE_CHECKING

from kvsync.config.authority import Authority, FileGrants
from kvsync.config.model import Config
from kvsync.desired.assemble import assemble, target_digest
from kvsync.desired.cache import Cache
from kvsync.desired.conflict_checks import ConflictChecks
from kvsync.desired.model import CompiledFile, DesiredState, DocumentRows, Reading, StoreFacts
from kvsync.desired.problem_sets import Problems, ProblemSets
from kvsync.desired.target_places import TargetPlaces
from kvsync.desired.updates import (
    CleanState,
    ReadingDigest,
    changed_units,
    concerned_targets,
    is_clean,
    updated_chunks,
)
from kvsync.desired.views import TargetRows
from kvsync.desired.withheld import Withheld, WithheldFiles
from kvsync.errors import Problem
from kvsync.model.desired import Desired
from kvsync.model.entry import Target, target_order

if TYPE_CHECKING:
    from kvsync.desired.key_conflicts import KeyConflict


class Assembler:
    """Assembles the targets of one configuration, and keeps what it assembled. `authority` is that of the configuration, which
    knows the ids of namespaces."""

    def __init__(self, config: Config, stores: Mapping[str, StoreFacts], cache: Cache, authority: Authority) -> None:
        self._config, self._authority = config, authority
        self.places = TargetPlaces(stores, config.stores)
        self._checks = ConflictChecks(stores, cache, config.limits.problems)
        self._targets: Mapping[Target, Desired] = {}
        self._clean: CleanState | None = None
        self._digest = ReadingDigest(config.variables)
        self._problems: Mapping[Problems, Problems] = {}
        self._policies = {
            name: repr(store.policy).encode("utf-8", "surrogateescape") for name, store in config.stores.items()
        }

    @property
    def clean(self) -> Mapping[Target, bytes]:
        """The digest of each target whose entries do not conflict."""
        return dict(self._checks.clean)

    def state(self, reading: Reading, known: Collection[Target]) -> DesiredState:
        """What a reading asks. `known` are the targets that were managed before."""
        state = self._updated(reading) or self._put_together(reading, known)
        self._targets = state.targets
        return state

    def _updated(self, reading: Reading) -> DesiredState | None:
        """What was loaded last, with the targets that a change concerns as they are now; None if everything has to be put
        together again."""
        before = self._clean
        targets = None if before is None else concerned_targets(before, reading)
        if before is None or targets is None:
            return None
        groups = [group for group in self.places.groups(before.digests) if not targets.isdisjoint(group)]
        chunks = updated_chunks(before, reading)
        if chunks is None:
            return None
        from kvsync.desired.edits import changed_documents, keeps_names, with_edits  # only a daemon reads files again

        digests = {**before.digests, **{target: self._digest_of(target, chunks[target]) for target in targets}}
        rows = {target: TargetRows(chunks[target]) for target in targets}
        edited = {target: changed_documents(before.chunks[target], chunks[target]) for target in targets}
        found = (
            self._checks.of_target(one, rows[one], digests[one], Withheld())
            for one in targets
            if not (keeps_names(edited[one]) and self._checks.keep_clean(one, before.digests[one], digests[one]))
        )
        if any(found):
            return None
        if any(True for group in groups for _ in self._between(group, chunks, digests)):
            return None
        desired = {
            target: with_edits(
                self._desired(target, rows[target], digests[target], (), b""),
                rows[target],
                before.state.targets[target],
                edited[target],
            )
            for target in targets
        }
        more = sum(len(desired[one].entries) - len(before.state.targets[one].entries) for one in targets)
        has_no_extras = not (before.state.secrets or before.state.warnings)
        units = changed_units(before, reading).values() if has_no_extras else _units(reading)
        state = self._state_of(reading, units, {**before.state.targets, **desired}, before.state.entries + more)
        self._clean = CleanState(reading.version, reading.units, digests, state, chunks)
        return state

    def _put_together(self, reading: Reading, known: Collection[Target]) -> DesiredState:
        chunks: defaultdict[Target, list[DocumentRows]] = defaultdict(list)
        found: defaultdict[Target, list[Problems]] = defaultdict(list)
        unheld: list[Problem] = list(reading.unheld)
        for unit in sorted(_units(reading), key=attrgetter("is_crowded")):
            managed = _managed_by(unit, (chunks, known))
            if unit.names_known and not managed:
                unheld += unit.problems  # it names only targets that it may not name: those are not held for it
            for target in managed:
                chunks[target] += ()
                found[target].append(unit.problems)
            for chunk in unit.chunks:
                chunks[chunk.target].append(chunk)
        hold_all = list(reading.problems)
        unheld += self._hold_unknown(reading, {*chunks, *known}, found, hold_all)
        digests = {target: self._digest_of(target, parts) for target, parts in chunks.items()}
        withheld, rows = WithheldFiles(reading), {target: TargetRows(parts) for target, parts in chunks.items()}
        for target, digest in digests.items():
            found[target].append(tuple(self._checks.of_target(target, rows[target], digest, withheld.of(target))))
        for target, problem in self.places.problems(chunks):
            found[target].append((problem,))
        for group in self.places.groups(chunks):
            for meeting in self._between(group, chunks, digests):
                for target in meeting.targets:
                    found[target].append((meeting.problem,))
        problems = ProblemSets(found, hold_all, self._problems)
        self._problems = problems.sets
        targets = {
            target: self._desired(target, rows[target], digests[target], *problems.of(target))
            for target in sorted(chunks, key=target_order)
        }
        entries = sum(len(desired.entries) for desired in targets.values())
        state = replace(
            self._state_of(reading, _units(reading), targets, entries),
            held=problems.held,
            hold_all=problems.hold_all,
            problems=problems.all(unheld),
            nested=self.places.nested(chunks),
        )
        has_nothing_wrong = not state.problems and is_clean(reading, _units(reading))
        clean = CleanState(reading.version, reading.units, digests, state, chunks)
        self._clean = clean if has_nothing_wrong else None
        return state

    def _state_of(
        self, reading: Reading, units: Collection[CompiledFile], targets: Mapping[Target, Desired], entries: int
    ) -> DesiredState:
        """What a reading without problems asks. `units` are those of it that may have secrets or warnings."""
        return DesiredState(
            targets=targets,
            held={},
            hold_all=(),
            problems=(),
            files=reading.files,
            entries=entries,
            watch=reading.watch,
            digest=_joined(desired.digest.encode() for desired in targets.values()).hex(),
            secrets=tuple(dict.fromkeys(secret for unit in units for secret in unit.secrets)),
            nested={} if self._clean is None else self._clean.state.nested,
            warnings=tuple(warning for unit in units for warning in unit.warnings),
            revision=self._digest.of(reading),
        )

    def _digest_of(self, target: Target, chunks: Sequence[DocumentRows]) -> bytes:
        return target_digest(chunks, self._policies[target.store])

    def _between(
        self, group: list[Target], chunks: Mapping[Target, Sequence[DocumentRows]], digests: Mapping[Target, bytes]
    ) -> Iterable[KeyConflict]:
        return self._checks.between({target: (chunks[target], digests[target]) for target in group})

    def _hold_unknown(
        self,
        reading: Reading,
        known: Iterable[Target],
        found: defaultdict[Target, list[Problems]],
        hold_all: list[Problem],
    ) -> Iterator[Problem]:
        """Hold what the files may name of which it cannot be known what they name: with `authors.targets` those targets, all
        without, in `hold_all`. Yields the problems of the first."""
        unknown: defaultdict[FileGrants, list[Problem]] = defaultdict(list)
        for slot, (_, unit) in reading.units.items():
            if not unit.names_known:
                unknown[self._config.authority.grants_of(slot.split("\0"))] += unit.problems
        for allowed, problem in reading.unsearched:
            unknown[allowed].append(problem)
        hold_all += unknown.pop(None, ())
        for grants, problems in unknown.items():
            group = tuple(problems)  # one object for all targets, however many files are broken
            for target in known:
                if self._authority.may_name(grants, target):
                    found[target].append(group)
            yield from group

    def _desired(
        self, target: Target, rows: TargetRows, digest: bytes, problems: Problems, problems_digest: bytes
    ) -> Desired:
        digest = _joined((digest, problems_digest)) if problems else digest
        known = self._targets.get(target)
        if known is not None and known.digest == digest.hex():
            return known
        return assemble(target, rows, self._config.stores[target.store].policy, digest, problems)


def _units(reading: Reading) -> list[CompiledFile]:
    return [unit for _, unit in reading.units.values()]


def _managed_by(unit: CompiledFile, others: Iterable[Container[Target]]) -> Sequence[Target]:
    """The targets that a unit makes managed: all it names, or those known without it where it names too many."""
    if not unit.is_crowded:
        return unit.targets
    return [target for target in unit.targets if any(target in known for known in others)]


def _joined(digests: Iterable[bytes]) -> bytes:
    return blake2b(b"".join(digests), digest_size=16).digest()
