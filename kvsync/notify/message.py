"""Notification message as JSON or text. Contains names of targets, counts and reasons; keys only in errors, never sensitive
values.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import Any, Final

from kvsync.config.model import NoticeFormat, NoticeKind
from kvsync.errors import ErrorCode, with_code
from kvsync.notify.model import HEALED, Fact, Notice
from kvsync.rendering.words import moment, short_hash
from kvsync.util.escaping import clip, encode_json, escape_text, slack_code

SCHEMA: Final = "kvsync.notice/1"

_LINES: Final = 20
"""Lines of a text; what more there is to say is counted."""

_LONGEST: Final = 500
"""Characters of a reason or an error."""

_ALIKE: Final = 3
"""More targets than this, failing alike, are one line."""


@dataclass(frozen=True, slots=True)
class Sender:
    """Whose targets they are."""

    owner: str
    environment: str | None = None


@dataclass(frozen=True, slots=True)
class MessageFormatter:
    """Writes messages of one format. `redact` takes secrets out of what a store, a file or a person has worded."""

    form: NoticeFormat
    sender: Sender
    redact: Callable[[str], str]

    def write(self, notices: Sequence[Notice], now: float) -> tuple[str, bytes]:
        """The id of a message, unchanged when it is sent again, and its body."""
        notices = [self._redacted(notice) for notice in notices]
        sender, said = self.sender, [_document(notice) for notice in notices]
        content = encode_json([sender.owner, sender.environment, said]).encode()
        id_ = f"msg_{blake2b(content, digest_size=16).hexdigest()}"
        summary = {str(kind): sum(notice.kind is kind for notice in notices) for kind in NoticeKind}
        if self.form is NoticeFormat.SLACK:
            return id_, encode_json({"text": _text(sender, summary, notices)}).encode()
        head = {
            "schema": SCHEMA,
            "id": id_,
            "at": moment(now),
            "owner": sender.owner,
            "environment": sender.environment,
        }
        return id_, encode_json({**head, "summary": summary, "notices": said}).encode()

    def _redacted(self, notice: Notice) -> Notice:
        fact = notice.fact
        if fact is None:
            return notice
        error = None if fact.error is None else self.redact(fact.error)
        return replace(notice, fact=replace(fact, error=error, reasons=tuple(map(self.redact, fact.reasons))))


# -- for programs -----------------------------------------------------------------------------------------------------


def _document(notice: Notice) -> dict[str, Any]:
    names = {"kind": str(notice.kind), "store": notice.target.store, "namespace": notice.target.namespace}
    if notice.fact is None:
        return {**names, "ended": [str(kind) for kind in notice.ended]}
    return {**names, "since": moment(notice.fact.since), **_details(notice.fact)}


def _details(fact: Fact) -> dict[str, Any]:
    if fact.kind is NoticeKind.DRIFT:
        return {"drift": dict(sorted(fact.drift.items())), "healed": fact.which == HEALED}
    if fact.kind is NoticeKind.PARKED:
        reasons = [clip(escape_text(reason), _LONGEST) for reason in fact.reasons]
        return {"digest": fact.which, "code": ErrorCode.PARKED, "reasons": reasons, "command": _command(fact)}
    error = clip(escape_text(fact.error or ""), _LONGEST)
    return {"error": error, "code": fact.code, "attempts": fact.attempts, "unavailable": fact.unavailable}


def _command(fact: Fact) -> str:
    return f"kvsync approve {short_hash(fact.which)}"


# -- for people -------------------------------------------------------------------------------------------------------


def _text(sender: Sender, summary: dict[str, int], notices: Sequence[Notice]) -> str:
    counts = ", ".join(f"{count:,} {kind}" for kind, count in summary.items() if count)
    place = f"{_shown(sender.owner)} ({_shown(sender.environment)})" if sender.environment else _shown(sender.owner)
    lines = list(_lines(notices))
    more = [f"… and {len(lines) - _LINES:,} more; run `kvsync status` to see all"] if len(lines) > _LINES else []
    return "\n".join((f"*kvsync* {place}: {counts}", *(f"• {line}" for line in lines[:_LINES]), *more))


def _lines(notices: Iterable[Notice]) -> Iterable[str]:
    """A line for each notice; targets that fail alike, or are well again alike, in great number share one."""
    notices = list(notices)
    alike = Counter(map(_likeness, notices))
    said: set[object] = set()
    for notice in notices:
        likeness = _likeness(notice)
        if alike[likeness] <= _ALIKE or likeness is None:
            yield f"{_shown(str(notice.target))} {_words(notice)}"
        elif likeness not in said:
            said.add(likeness)
            yield f"{_shown(notice.target.store)} ({alike[likeness]:,} targets) {_words(notice)}"


def _likeness(notice: Notice) -> object:
    """What notices that may share a line have in common; None for one that may not."""
    fact = notice.fact
    if fact is None:
        return notice.target.store, notice.ended
    return (notice.target.store, fact.error) if fact.kind is NoticeKind.FAILED else None


def _words(notice: Notice) -> str:
    fact = notice.fact
    if fact is None:
        return f"has recovered; it was: {', '.join(_WAS[kind] for kind in notice.ended)}"
    if fact.kind is NoticeKind.DRIFT:
        counts = ", ".join(f"{count:,} {cause}" for cause, count in sorted(fact.drift.items()))
        return f"has drifted: {counts}" + ("; healed" if fact.which == HEALED else "; not healed")
    if fact.kind is NoticeKind.PARKED:
        reasons = with_code(_shown("; ".join(fact.reasons)), ErrorCode.PARKED)
        return f"is parked: {reasons}. To approve, after you reviewed the plan: `{_command(fact)}`"
    tries = f" ({fact.attempts:,} times)" if fact.attempts > 1 else ""
    return f"fails{tries}: {_shown(fact.error or '')}"


_WAS: Final = {NoticeKind.DRIFT: "drifted", NoticeKind.PARKED: "parked", NoticeKind.FAILED: "failing"}


def _shown(text: str) -> str:
    """A text that others worded, cut and as code: it neither formats nor links nor calls anybody."""
    return slack_code(clip(text, _LONGEST)) if text else ""
