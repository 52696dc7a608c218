"""Delivery state of one receiver: the notices that differ from what was last sent."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace

from kvsync.config.model import ChannelConfig, NoticeKind
from kvsync.model.entry import Target
from kvsync.notify.model import HEALED, Fact, Facts, Notice

Told = tuple[Target, NoticeKind, str | None]
"""Of a target, of a kind: which notice was sent; None if it has ended."""


@dataclass(frozen=True, slots=True)
class DueNotice:
    """Notices to send, and what counts as sent afterwards; it can change even if there is nothing to send."""

    notices: tuple[Notice, ...]
    told: tuple[Told, ...]


class DeliveryState:
    """Delivery state of one channel. `told` is what was sent to its receiver before, by target and kind."""

    def __init__(self, config: ChannelConfig, told: Mapping[Target, Mapping[str, str]]) -> None:
        self._config = config
        self._facts: dict[Target, dict[NoticeKind, Fact]] = {}
        self._ended: dict[Target, set[NoticeKind]] = {}
        self._told = {
            target: {NoticeKind(kind): which for kind, which in kinds.items()} for target, kinds in told.items()
        }

    def note(self, target: Target, facts: Facts) -> bool:
        """Take in what a pass found out. Returns whether something is due of this target."""
        for kind, fact in facts.items():
            if kind not in self._config.on:
                continue
            if fact is None:
                self._end(target, kind)
            elif not fact.retryable or fact.attempts >= self._config.attempts:
                self._begin(target, fact)
        return bool(self._changes(target))

    def keep(self, targets: Collection[Target]) -> tuple[Told, ...]:
        """Forget all targets but these. Returns what no longer counts as sent."""
        gone = (self._told.keys() | self._facts.keys()) - set(targets)
        over = tuple((target, kind, None) for target in gone for kind in self._told.get(target, {}))
        for target in gone:
            for kept in (self._facts, self._ended, self._told):
                kept.pop(target, None)
        return over

    def due(self, most: int) -> DueNotice:
        """What is due, of the first `most` targets of which something is."""
        concerned = [target for target in sorted(self._facts.keys() | self._ended.keys()) if self._changes(target)]
        notices = [notice for target in concerned[:most] for notice in self._notices(target)]
        told = [(target, *change) for target in concerned[:most] for change in self._changes(target).items()]
        return DueNotice(tuple(notices), tuple(told))

    def settle(self, told: Collection[Told]) -> None:
        """Record that all this was sent."""
        for target, kind, which in told:
            kinds = self._told.setdefault(target, {})
            if which is None:
                kinds.pop(kind, None)
            else:
                kinds[kind] = which
            fact = self._facts.get(target, {}).get(kind)
            if fact is not None and fact.is_over and which == fact.which:
                self._end(target, kind)

    def _begin(self, target: Target, fact: Fact) -> None:
        known = self._facts.setdefault(target, {}).get(fact.kind)
        since = fact.since if known is None or known.which != fact.which else known.since
        self._facts[target][fact.kind] = replace(fact, since=since)
        self._ended.get(target, set()).discard(fact.kind)

    def _end(self, target: Target, kind: NoticeKind) -> None:
        """An ended notice is dropped if it was never sent, except drift that was healed at once, which is sent once."""
        fact = self._facts.get(target, {}).get(kind)
        told = self._told.get(target, {}).get(kind)
        if fact is not None and fact.which == HEALED and told is None:
            self._facts[target][kind] = replace(fact, is_over=True)
            return
        self._facts.get(target, {}).pop(kind, None)
        if told is not None:
            self._ended.setdefault(target, set()).add(kind)

    def _changes(self, target: Target) -> dict[NoticeKind, str | None]:
        """By kind, what the receiver will know that it was not told."""
        told = self._told.get(target, {})
        ended = {kind: None for kind in self._ended.get(target, ()) if kind in told}
        facts = self._facts.get(target, {}).values()
        return ended | {fact.kind: fact.which for fact in facts if told.get(fact.kind) != fact.which}

    def _notices(self, target: Target) -> Iterator[Notice]:
        told, changes = self._told.get(target, {}), self._changes(target)
        better = {
            kind for kind, which in changes.items() if which in (None, HEALED) and told.get(kind, HEALED) != HEALED
        }
        for kind, which in changes.items():
            if which is not None and kind not in better:
                yield Notice(target, self._facts[target][kind])
        if better and NoticeKind.HEALED in self._config.on:
            yield Notice(target, ended=tuple(sorted(better)))
