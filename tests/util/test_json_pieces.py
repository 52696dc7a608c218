"""Long documents as JSON: the text of the whole, of which only a piece exists at a time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from kvsync.util.escaping import encode_json
from kvsync.util.json_pieces import StreamedList, json_pieces
from tests.util.test_escaping import documents, texts


@given(st.dictionaries(texts, documents | st.lists(documents), max_size=3) | st.lists(documents, max_size=3))
def test_json_in_pieces_is_the_same_text(document: dict[str, object] | list[object]) -> None:
    """The pieces come to the text of the whole document."""
    assert "".join(json_pieces(document)) == encode_json(document)


@given(st.lists(documents, max_size=3), st.lists(st.lists(documents, max_size=3), max_size=3))
def test_streamed_lists_are_the_same_text(plain: list[Any], nested: list[list[Any]]) -> None:
    """Lists that are made while they are written come to the same text, also those in their items, next to plain items."""
    document = {"a": 1, "items": [*plain, *({"name": "x", "inner": inner} for inner in nested)], "z": [None]}
    streamed = [*plain, *({"name": "x", "inner": StreamedList(iter(inner))} for inner in nested)]
    assert "".join(json_pieces(document | {"items": StreamedList(iter(streamed))})) == encode_json(document)


def test_the_pieces_of_a_document_are_as_large_as_its_items() -> None:
    """A document of a hundred items never exists as one text."""
    items = [{"text": "x" * 1000}] * 100
    for document in (items, {"schema": "kvsync.test/1", "items": items, "more": tuple(items)}):
        assert max(map(len, json_pieces(document))) < 1100


def test_items_are_made_when_they_are_written() -> None:
    """Of a streamed list, few items are made before the first of them is written."""
    made: list[int] = []

    def items() -> Iterator[dict[str, int]]:
        for number in range(10_000):
            made.append(number)
            yield {"number": number}

    written = json_pieces({"items": StreamedList(items())})
    first = next(piece for piece in written if '"number"' in piece)
    assert len(made) <= first.count('"number"') <= 256


def test_all_is_cleaned_before_it_is_written() -> None:
    """Everything in a document goes through `clean`, with the name of the list that it is in."""
    seen: list[tuple[Any, str | None]] = []

    def clean(data: Any, name: str | None) -> Any:
        seen.append((data, name))
        return data

    targets = [{"id": 1, "changes": StreamedList(iter(["a", "b"]))}, {"id": 2}]
    "".join(json_pieces({"schema": "s", "targets": StreamedList(iter(targets))}, clean))
    assert seen == [({"schema": "s"}, None), ({"id": 1}, None), (["a", "b"], "changes"), ({"id": 2}, "targets")]
    "".join(json_pieces(["x"], clean))
    assert seen[-1] == (["x"], None)
