"""Text and JSON of the explanations of `kvsync explain`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

from kvsync.errors import with_code
from kvsync.util.escaping import escape_cell, escape_name, quote_text

if TYPE_CHECKING:
    from kvsync.app.explain import EntryExplanation
    from kvsync.model.entry import Applied, Content, Entry

_LONGEST: Final = 60
"""Characters of a value that are shown."""


def explanation_lines(found: Sequence[EntryExplanation], owner: str) -> Iterator[str]:
    """The explanations of entries as text, with an empty line between them."""
    for number, one in enumerate(found):
        yield from [""] * bool(number)
        yield from _lines(one, owner)


def _lines(one: EntryExplanation, owner: str) -> Iterator[str]:
    from kvsync.rendering.words import name, outcome_word

    yield f"{escape_name(str(one.target))}  {name(one.identity)}"
    yield f"  files:    {_desired_text(one.entry)}"
    yield f"  store:    {_actual_text(one, owner)}"
    yield f"  applied:  {_applied_text(one.applied)}"
    yield f"  action:   {_action(one)}"
    yield from (f"            {sentence}" for sentence in one.why)
    for change in one.changes:
        outcome = outcome_word(change.outcome or "unknown")
        where = f"  {escape_cell(change.origin)}" if change.origin else ""
        yield f"  run:      {change.run}  {change.action} ({change.cause}): {outcome}{where}"


def _action(one: EntryExplanation) -> str:
    from kvsync.model.change import Refusal

    if one.verdict is None:
        return "none"
    how = with_code("refused", one.verdict.code) if isinstance(one.verdict, Refusal) else ""
    how = "reported only" if one.reported and not how else how
    return f"{one.verdict.action} ({one.verdict.cause})" + (f", {how}" if how else "")


def _desired_text(entry: Entry | None) -> str:
    from kvsync.rendering.words import duration, moment

    if entry is None:
        return "not defined"
    said = [_value_text(entry.content.value, entry.fingerprint, hidden=entry.sensitive)]
    said += [f"content_type: {escape_cell(entry.content.content_type)}"] if entry.content.content_type else []
    said += _tags_and_description(entry.content)
    said += [f"ttl: {duration(entry.ttl)}"] if entry.ttl is not None else []
    said += [f"expires_at: {moment(entry.expires_at)}"] if entry.expires_at is not None else []
    said += [word for word, holds in (("protected", entry.protected), ("sensitive", entry.sensitive)) if holds]
    said += [f"mode: {entry.mode}"] if entry.mode != "enforce" else []
    return "  ".join([*said, escape_cell(str(entry.origin))] if entry.origin else said)


def _actual_text(one: EntryExplanation, owner: str) -> str:
    from kvsync.rendering.words import moment

    actual = one.actual
    if one.error:
        return f"could not be read: {one.error}"
    if actual is None:
        return "not found"
    mark = actual.mark
    value = actual.content.value if actual.content else None
    said = [_value_text(value, actual.fingerprint, hidden=_is_hidden(one, owner))]
    if actual.content is not None and not _is_secret(one):
        said += [f"content_type: {escape_cell(actual.content.content_type)}"] if actual.content.content_type else []
        said += [] if _is_hidden(one, owner) else _tags_and_description(actual.content)
    said += [f"expires_at: {moment(actual.expires_at)}"] if actual.expires_at is not None else []
    said += ["locked"] if actual.locked else []
    said += [f"owner: {escape_cell(mark.owner)}" if mark else "no owner"]
    return "  ".join([*said, f"version {escape_cell(actual.etag)}"] if actual.etag else said)


def _tags_and_description(content: Content) -> list[str]:
    described = [f"description: {escape_cell(content.description)}"] if content.description else []
    return [f"tag {escape_name(name)}: {escape_cell(text)}" for name, text in content.tags] + described


def _is_hidden(one: EntryExplanation, owner: str) -> bool:
    """True when what the store holds must not be shown: it is sensitive, or not ours."""
    mark = one.actual.mark if one.actual else None
    sensitive = (one.entry is not None and one.entry.sensitive) or (mark is not None and mark.sensitive)
    return sensitive or mark is None or mark.owner != owner


def _applied_text(applied: Applied | None) -> str:
    if applied is None:
        return "never at this place, according to this state directory"
    if applied.mark.sensitive or applied.mark.key is not None:
        return "(sensitive)"
    return f"fingerprint {applied.mark.fingerprint.hex()[:8]}" + (
        f"  version {escape_cell(applied.etag)}" if applied.etag else ""
    )


def _value_text(value: bytes | None, fingerprint: bytes | None, *, hidden: bool) -> str:
    """A short text itself; of anything else its size and the start of its fingerprint; of what is hidden nothing."""
    from kvsync.rendering.words import count

    if hidden:
        return "(not shown)"
    known = [] if value is None else [count(len(value), "byte")]
    known += [f"fingerprint {fingerprint.hex()[:8]}"] if fingerprint else []
    text = _short(value) if value is not None else None
    return (quote_text(text) + " " if text is not None else "") + f"({', '.join(known)})"


def _short(value: bytes) -> str | None:
    try:
        text = value.decode()
    except UnicodeDecodeError:
        return None
    return text if len(text) <= _LONGEST and "\n" not in text else None


def explanation_document(one: EntryExplanation, owner: str, seal: Callable[[bytes], str]) -> dict[str, Any]:
    """The explanation of one entry as JSON data. `seal` shows a sensitive fingerprint."""
    from kvsync.app.run_list import change_document
    from kvsync.rendering.words import moment

    entry, actual, applied = one.entry, one.actual, one.applied
    show = seal if _is_secret(one) else bytes.hex
    return {
        "store": one.target.store,
        "namespace": one.target.namespace,
        "key": one.identity.key,
        "label": one.identity.label,
        "desired": _desired_document(entry, show) if entry else None,
        "actual": {
            "fingerprint": show(actual.fingerprint) if actual.fingerprint else None,
            "etag": actual.etag,
            "expires_at": moment(actual.expires_at) if actual.expires_at is not None else None,
            "owner": actual.mark.owner if actual.mark else None,
            "ours": actual.mark is not None and actual.mark.owner == owner,
            "locked": actual.locked,
        }
        if actual
        else None,
        "applied": {"etag": applied.etag, "sensitive": applied.mark.sensitive} if applied else None,
        "action": one.verdict.action.value if one.verdict else None,
        "class": one.verdict.cause.value if one.verdict else None,
        "status": _status(one),
        "code": _code(one),
        "why": list(one.why),
        "runs": [change_document(change) for change in one.changes],
        "error": one.error,
    }


def _is_secret(one: EntryExplanation) -> bool:
    marks = [one.actual.mark if one.actual else None, one.applied.mark if one.applied else None]
    return (one.entry is not None and one.entry.sensitive) or any(mark is not None and mark.sensitive for mark in marks)


def _status(one: EntryExplanation) -> str:
    from kvsync.model.change import Refusal

    if one.verdict is None:
        return "idle"
    return "refused" if isinstance(one.verdict, Refusal) else "reported" if one.reported else "pending"


def _code(one: EntryExplanation) -> str | None:
    """The code of the rule that refuses the action, None if nothing does."""
    from kvsync.model.change import Refusal

    return one.verdict.code.value if isinstance(one.verdict, Refusal) else None


def _desired_document(entry: Entry, show: Callable[[bytes], str]) -> dict[str, Any]:
    from kvsync.rendering.words import moment

    return {
        "fingerprint": show(entry.fingerprint),
        "content_type": entry.content.content_type,
        "tags": dict(entry.content.tags),
        "description": entry.content.description,
        "ttl": entry.ttl,
        "expires_at": moment(entry.expires_at) if entry.expires_at is not None else None,
        "mode": entry.mode.value,
        "protected": entry.protected,
        "sensitive": entry.sensitive,
        "origin": str(entry.origin) if entry.origin else None,
    }
