"""The JSON of long documents in pieces, so that neither the text nor the document ever exists as a whole."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from kvsync.util.escaping import encode_json
from kvsync.util.pieces import pieces

_AT_ONCE: Final = 256
"""Items of a streamed list that are made, cleaned and encoded together. A call for each item would cost more than its text."""

Clean = Callable[[Any, str | None], Any]
"""Returns what may be written of a document. The name is that of the member that the document is in."""


class StreamedList:
    """A list in a document whose items are made when they are written, once. Items can have such members themselves."""

    def __init__(self, items: Iterable[Any]) -> None:
        self.items = items


def json_pieces(document: Mapping[str, Any] | Sequence[Any], clean: Clean = lambda data, _name: data) -> Iterator[str]:
    """The text of `encode_json` in pieces: one for each item of a list in the document, and one for a few items of a
    `StreamedList`. `clean` gets everything before it is written."""
    if not isinstance(document, Mapping):
        yield from _item_pieces(clean(document, None))
        return
    known = clean({name: member for name, member in document.items() if not isinstance(member, StreamedList)}, None)
    yield "{"
    for number, (name, member) in enumerate(document.items()):
        yield f"{', ' if number else ''}{encode_json(name)}: "
        if isinstance(member, StreamedList):
            yield from _streamed_pieces(member, name, clean)
        elif isinstance(known[name], list | tuple):
            yield from _item_pieces(known[name])
        else:
            yield encode_json(known[name])
    yield "}"


def _item_pieces(items: Sequence[Any]) -> Iterator[str]:
    yield "["
    for number, item in enumerate(items):
        yield f", {encode_json(item)}" if number else encode_json(item)
    yield "]"


def _streamed_pieces(streamed: StreamedList, name: str, clean: Clean) -> Iterator[str]:
    yield "["
    before = ""
    for some in pieces(streamed.items, _AT_ONCE):
        streaming = [isinstance(item, dict) and StreamedList in map(type, item.values()) for item in some]
        parts = zip(some, streaming, strict=True) if any(streaming) else [(some, False)]
        for part, is_streaming in parts:
            yield before
            before = ", "
            if is_streaming:
                yield from json_pieces(part, clean)
            else:
                text = encode_json(clean(part, name))
                yield text if part is not some else text[1:-1]
    yield "]"
