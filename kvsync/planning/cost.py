"""Estimates the cost of applying a plan from the capabilities of the store."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from kvsync.model.capabilities import Capabilities, Marks
from kvsync.model.change import Action, Change
from kvsync.model.plan import Cost, TargetPlan
from kvsync.planning.ledger_only import is_ledger_only


def cost_of(plan: TargetPlan, capabilities: Capabilities) -> Cost:
    """Most requests, bytes sent, and seconds at the declared rate (0 without one) to apply the changes of a target.

    Counted are the writes in batches, with deletes in batches of their own; reads of previous values for the journal; without
    compare-and-set, a read before and after each write, most of which scans save in a large batch; and the read of the new
    entry before the old half of a move is deleted. Changes in the ledger alone cost nothing.
    """
    written: Sequence[Change] = plan.changes
    if capabilities.marks is Marks.LEDGER:
        written = [change for change in written if not is_ledger_only(change, capabilities)]
    deletes = [change for change in written if change.action is Action.DELETE]
    deleted, total = sum(map(_size, deletes)), sum(map(_size, written))
    others = _calls(len(written) - len(deletes), total - deleted, capabilities)
    calls = others + _calls(len(deletes), deleted, capabilities)
    reads = _reads(plan.changes, written, capabilities) + sum(change.moved_to is not None for change in deletes)
    rate = capabilities.writes_per_second
    seconds = round(calls / rate, 3) if rate else 0.0
    return Cost(calls + reads, total, seconds)


def _calls(count: int, size: int, capabilities: Capabilities) -> int:
    by_count = _batches(count, capabilities.batch)
    limit = capabilities.max_batch_bytes
    return by_count if limit is None else max(by_count, _batches(size, limit))


def _reads(changes: Sequence[Change], written: Sequence[Change], capabilities: Capabilities) -> int:
    size = capabilities.read_page or capabilities.read_batch
    if capabilities.compare_and_set:
        return _batches(sum(map(_is_unread, written)), size)
    before = _batches(len(changes), size)
    return before if capabilities.settle else before + _batches(len(written), size)


def _is_unread(change: Change) -> bool:
    """True if the journal needs a previous value that the listing did not have."""
    return change.before is not None and change.before.content is None and not change.sensitive


def _batches(count: int, size: int) -> int:
    return -(-count // max(size, 1))


def _size(change: Change) -> int:
    key, label = change.identity
    texts = [key, label or ""]
    if change.after is None or change.action is Action.DELETE:
        return _length(texts)
    value, content_type, tags, metadata, description = change.after.content
    texts += (content_type or "", metadata or "", description or "")
    for pair in tags:
        texts += pair
    return len(value) + _length(texts)


def _length(texts: Iterable[str]) -> int:
    return len("".join(texts).encode(errors="surrogatepass"))
