"""Merges the chunks of all files to one `Desired` per target, and checks for conflicts between files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from hashlib import blake2b

from kvsync.desired.model import DocumentRows
from kvsync.desired.order import order_problems
from kvsync.desired.views import EntriesView, SettledView, TargetRows
from kvsync.desired.withheld import Withheld
from kvsync.errors import Kind, Origin, Problem
from kvsync.model.desired import Desired
from kvsync.model.entry import Identity, Target, brief
from kvsync.model.policy import Policy, Prune
from kvsync.util.escaping import clip_name


def target_digest(chunks: Sequence[DocumentRows], policy: bytes) -> bytes:
    """Digest everything that the files ask of a target. `policy` is the text of the policy of its store."""
    return blake2b(b"".join((policy, *(chunk.digest for chunk in chunks))), digest_size=16).digest()


def assemble(target: Target, rows: TargetRows, policy: Policy, digest: bytes, problems: tuple[Problem, ...]) -> Desired:
    """What the files ask of a target. `policy` is that of its store; entries and fingerprints are built when looked at."""
    chunks = rows.chunks
    own = next((chunk.policy for chunk in chunks if chunk.policy is not None), policy)
    if chunks and all(chunk.is_source_only for chunk in chunks):
        own = replace(own, prune=Prune.OFF)  # no file says what else the target is to hold
    return Desired(
        target,
        EntriesView(rows),
        SettledView(rows),
        digest.hex(),
        own,
        {key: origin for chunk in reversed(chunks) for key, origin in chunk.absent.items()},
        tuple(move for chunk in chunks for move in chunk.moved),
        problems,
        rows.release,
    )


def conflicting_entries(rows: TargetRows, withheld: Withheld) -> Iterator[Problem]:
    """What is wrong between the chunks of one target, or between the entries of one. Of what is `withheld` for other problems,
    only the order is checked, and nothing is reported that its correction may settle."""
    chunks = rows.chunks
    if len(rows.index) < rows.starts[-1]:
        yield from _duplicates(rows)
    elif any(chunk.rows.remote is not None for chunk in chunks):
        yield from _meetings(rows)
    written = [*chunks, *withheld.chunks]
    yield from order_problems(written, TargetRows(written) if withheld.chunks else rows, withheld.may_have)
    yield from _policies(chunks)
    yield from _leaving(chunks, rows, withheld)


def _duplicates(rows: TargetRows) -> Iterator[Problem]:
    first: dict[Identity, int] = {}
    for row, identity in enumerate(rows.identities()):
        earlier = first.setdefault(identity, row)
        if earlier != row:
            message = f"{brief(identity)} is defined twice for {rows.chunks[0].target}, first at {rows.origin(earlier)}"
            yield Problem(message, rows.origin(row), "remove one of them", kind=Kind.CONTRADICTION)


def _meetings(rows: TargetRows) -> Iterator[Problem]:
    names = list(rows.remote_names())
    if len(set(names)) == len(names):
        return
    first: dict[str, tuple[Identity, int]] = {}
    for row, identity in enumerate(rows.identities()):
        other, earlier = first.setdefault(names[row], (identity, row))
        if earlier != row:
            shown = names[row].partition("\0")[0]
            message = (
                f"{brief(identity)} and {brief(other)} ({rows.origin(earlier)}) have the same remote key, "
                f'"{clip_name(shown)}"'
            )
            yield Problem(message, rows.origin(row), "rename one, or change key_format", kind=Kind.CONTRADICTION)


def _policies(chunks: Sequence[DocumentRows]) -> Iterator[Problem]:
    first: DocumentRows | None = None
    for chunk in chunks:
        if chunk.policy is None:
            continue
        if first is None:
            first = chunk
        elif chunk.policy != first.policy:
            message = f"the policy of {chunk.target} differs from the one at {first.policy_origin}"
            yield Problem(
                message, chunk.policy_origin, "define the policy of a target only once", kind=Kind.CONTRADICTION
            )


def _leaving(chunks: Sequence[DocumentRows], rows: TargetRows, withheld: Withheld) -> Iterator[Problem]:
    if not any(chunk.absent or chunk.moved for chunk in chunks):
        return
    wanted = {identity[0]: row for identity, row in reversed(rows.index.items())}
    sources: dict[str, Origin | None] = {}
    for chunk in chunks:
        for key, origin in chunk.absent.items():
            if key in wanted:
                yield Problem(
                    f'"{clip_name(key)}" is listed as absent here, but defined at {rows.origin(wanted[key])}',
                    origin,
                    "remove it from absent, or from keys",
                    kind=Kind.CONTRADICTION,
                )
        for move in chunk.moved:
            leaves, arrives = move.source_target is None, move.destination_target is None
            if leaves and move.source in wanted:
                message = (
                    f'"{clip_name(move.source)}" is moved away here, but defined at {rows.origin(wanted[move.source])}'
                )
                yield Problem(message, move.origin, "remove it from keys", kind=Kind.CONTRADICTION)
            if arrives and move.destination not in wanted and not withheld.may_have(move.destination):
                source, destination = clip_name(move.source), clip_name(move.destination)
                message = f'"{source}" is moved to "{destination}", which is not among the keys'
                yield Problem(message, move.origin, "add the entry under its new key", kind=Kind.CONTRADICTION)
            if leaves and move.source in sources:
                yield Problem(
                    f'"{clip_name(move.source)}" is moved twice, first at {sources[move.source]}',
                    move.origin,
                    "remove one of the two moves",
                    kind=Kind.CONTRADICTION,
                )
            if leaves:
                sources.setdefault(move.source, move.origin)
