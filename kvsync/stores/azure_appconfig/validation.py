"""Offline validation of entries against the limits of the service."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final

from kvsync.model.entry import Content
from kvsync.stores.azure_appconfig.items import is_reserved

MOST_CHARACTERS: Final = 256
"""Of a key, a label, the name or the value of a tag."""

MOST_BYTES: Final = 10 * 1024
"""Of an entry with all its attributes, kvsync's mark among them."""

KEY_PATTERN: Final = r"[^%\x00-\x1f\x7f-\x9f]+"

_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")


def text_problems(label: str | None, content: Content) -> Iterator[str]:
    """Why label, content type or tags are refused, as sentences."""
    if label is not None:
        yield from _text_problems("the label", label)
        if not label:
            yield "the label is empty; remove it for the entry without a label"
    if content.content_type is not None:
        yield from _text_problems("content_type", content.content_type, limit=None)
    for name, text in content.tags:
        yield from _tag_problems(name, text)


def size_of(key: str, label: str | None, content: Content, tags: Iterable[tuple[str, str]]) -> int:
    """Bytes of an entry with all its attributes."""
    words = (key, label or "", content.content_type or "", *(word for tag in tags for word in tag))
    return len(content.value) + sum(len(word.encode()) for word in words)


def _tag_problems(name: str, text: str) -> Iterator[str]:
    if is_reserved(name):
        yield f'the tag "{name}" is reserved for kvsync; use another name'
    if not name:
        yield "the name of a tag is empty"
    yield from _text_problems(f'the tag "{name[:40]}"', name)
    yield from _text_problems(f'the value of the tag "{name[:40]}"', text)


def _text_problems(what: str, text: str, limit: int | None = MOST_CHARACTERS) -> Iterator[str]:
    if limit is not None and len(text) > limit:
        yield f"{what} has {len(text):,} characters; azure-appconfig allows at most {limit:,}"
    if _CONTROL.search(text):
        yield f"{what} contains a control character, which azure-appconfig does not allow"
