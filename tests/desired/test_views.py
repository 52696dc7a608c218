"""Rows of a target seen as mappings: each identity exists once, whichever mapping is asked first."""

from __future__ import annotations

from functools import partial

import pytest

from kvsync.desired.model import DocumentRows
from kvsync.desired.rows import Rows, RowTemplate
from kvsync.desired.views import TargetRows
from kvsync.model.entry import Identity, Target

TARGET = Target("local", "web")


def part(*names: tuple[str, str | None], shapes: tuple[RowTemplate, ...] = (RowTemplate("a.yaml"),)) -> DocumentRows:
    """Rows with these keys and labels; the last one has the last of the shapes."""
    count = len(names)
    rows = Rows(
        [key for key, _ in names],
        [label for _, label in names],
        [key.encode() for key, _ in names],
        [0] * (count - 1) + [len(shapes) - 1],
        [1] * count,
        [1] * count,
        [f"print of {key}".encode() for key, _ in names],
        list(shapes),
    )
    return DocumentRows(TARGET, partial(lambda: rows), count, b"")


@pytest.mark.parametrize("first", ["index", "settled"])
def test_an_entry_has_one_identity_in_memory(first: str) -> None:
    """The row numbers and the fingerprints share their keys."""
    rows = TargetRows([part(("a", None), ("b", "eu")), part(("c", None))])
    getattr(rows, first)
    assert rows.index == {Identity("a"): 0, Identity("b", "eu"): 1, Identity("c"): 2}
    assert list(rows.settled.values()) == [b"print of a", b"print of b", b"print of c"]
    assert all(one is other for one, other in zip(rows.index, rows.settled, strict=True))
    assert all(one is other for one, other in zip(rows.index, rows.identities(), strict=True))


@pytest.mark.parametrize("first", ["index", "settled"])
def test_what_is_not_settled_has_a_row_and_no_fingerprint(first: str) -> None:
    """An entry with a lifetime is in one mapping only, and both are right whichever was made first."""
    timed = RowTemplate("a.yaml", ttl=60)
    rows = TargetRows([part(("a", None)), part(("b", None), ("c", None), shapes=(RowTemplate("a.yaml"), timed))])
    getattr(rows, first)
    assert rows.index == {Identity("a"): 0, Identity("b"): 1, Identity("c"): 2}
    assert rows.settled == {Identity("a"): b"print of a", Identity("b"): b"print of b"}
    assert list(rows.identities()) == [Identity("a"), Identity("b"), Identity("c")]


def test_all_rows_of_an_identity_that_is_defined_twice_are_seen() -> None:
    """The mapping has the last row of the two, and the identities are those of all rows."""
    rows = TargetRows([part(("a", None), ("b", None)), part(("a", None))])
    assert rows.index == {Identity("a"): 2, Identity("b"): 1}
    assert [identity.key for identity in rows.identities()] == ["a", "b", "a"]
    assert rows.settled == {Identity("a"): b"print of a", Identity("b"): b"print of b"}


def test_what_is_released_is_built_again() -> None:
    """Rows are loaded again, and all mappings are the same as before."""
    loads: list[str] = []

    def loaded(chunk: DocumentRows) -> Rows:
        loads.append("load")
        return chunk.rows

    parts = [part(("a", None), ("b", "eu")), part(("c", None))]
    rows = TargetRows([DocumentRows(TARGET, partial(loaded, one), one.count, b"") for one in parts])
    before = dict(rows.index), dict(rows.settled)
    assert len(loads) == 2
    rows.release()
    assert (rows.index, rows.settled) == before
    assert len(loads) == 4
