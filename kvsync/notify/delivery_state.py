"""Delivery state of one receiver: the notices that differ from what was last sent."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace

from kvsync.config.model import ChannelConfig, NoticeKind
from kvsync.model.entry import Target
from kvsync.notify.model import HEALED, Fact, Facts, Notice

SentNotice = tuple[Target, NoticeKind, str | None]
"""Notice that was sent for a target and kind; None if it has ended."""


@dataclass(frozen=True, slots=True)
class DueNotice:
    """Notices to send, and what counts as sent afterwards; it can change even if there is nothing to send."""

    notices: tuple[Notice, ...]
    sent: tuple[SentNotice, ...]


class DeliveryState:
    """Delivery state of one channel. `told` is what was sent to its receiver before, by target and kind."""

    def __init__(self, config: ChannelConfig, sent: Mapping[Target, Mapping[str, str]]) -> None:
        self._config = config
        self._facts: dict[Target, dict[NoticeKind, Fact]] = {}
        self._ended: dict[Target, set[NoticeKind]] = {}
        self._sent = {
            target: {NoticeKind(kind): which for kind, which in kinds.items()} for target, kinds in sent.items()
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

    def keep(self, targets: Collection[Target]) -> tuple[SentNotice, ...]:
        """Forget all targets but these. Returns what no longer counts as sent."""
        gone = (self._sent.keys() | self._facts.keys()) - set(targets)
        over = tuple((target, kind, None) for target in gone for kind in self._sent.get(target, {}))
        for target in gone:
            for kept in (self._facts, self._ended, self._sent):
                kept.pop(target, None)
        return over

    def due(self, most: int) -> DueNotice:
        """What is due, of the first `most` targets of which something is."""
        concerned = [target for target in sorted(self._facts.keys() | self._ended.keys()) if self._changes(target)]
        notices = [notice for target in concerned[:most] for notice in self._notices(target)]
        sent = [(target, *change) for target in concerned[:most] for change in self._changes(target).items()]
        return DueNotice(tuple(notices), tuple(sent))

    def settle(self, sent: Collection[SentNotice]) -> None:
        """Record that all this was sent."""
        for target, kind, which in sent:
            kinds = self._sent.setdefault(target, {})
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
        sent = self._sent.get(target, {}).get(kind)
        if fact is not None and fact.which == HEALED and sent is None:
            self._facts[target][kind] = replace(fact, is_over=True)
            return
        self._facts.get(target, {}).pop(kind, None)
        if sent is not None:
            self._ended.setdefault(target, set()).add(kind)

    def _changes(self, target: Target) -> dict[NoticeKind, str | None]:
        """By kind, what the receiver will know that it was not told."""
        sent = self._sent.get(target, {})
        ended = {kind: None for kind in self._ended.get(target, ()) if kind in sent}
        facts = self._facts.get(target, {}).values()
        return ended | {fact.kind: fact.which for fact in facts if sent.get(fact.kind) != fact.which}

    def _notices(self, target: Target) -> Iterator[Notice]:
        sent, changes = self._sent.get(target, {}), self._changes(target)
        better = {
            kind for kind, which in changes.items() if which in (None, HEALED) and sent.get(kind, HEALED) != HEALED
        }
        for kind, which in changes.items():
            if which is not None and kind not in better:
                yield Notice(target, self._facts[target][kind])
        if better and NoticeKind.HEALED in self._config.on:
            yield Notice(target, ended=tuple(sorted(better)))
