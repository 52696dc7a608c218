"""Filters of lists: `abc`, `abc*`, `abc,xyz`, the null label, and tags."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from kvsync.emulators.azure.model import KeyValue
from kvsync.emulators.azure.problems import invalid

NULL: Final = "\0"
_MOST_VALUES = _MOST_TAGS = 5


@dataclass(frozen=True, slots=True)
class Filter:
    """Accepts texts that begin with `prefix`, or are one of `values`; None in `values` is the null label."""

    prefix: str | None = None
    values: tuple[str | None, ...] = ()

    def accepts(self, text: str | None) -> bool:
        """Whether the filter lets it pass. The empty prefix lets null pass, too."""
        if self.prefix is not None:
            return not self.prefix or (text is not None and text.startswith(self.prefix))
        return text in self.values

    @property
    def first(self) -> str:
        """No text that passes sorts before this one."""
        return self.prefix if self.prefix is not None else min(value or "" for value in self.values)

    def past(self, text: str) -> bool:
        """Whether neither this text nor any that sorts after it can pass."""
        if self.prefix is not None:
            return text > self.prefix and not text.startswith(self.prefix)
        return text > max(value or "" for value in self.values)


ANY: Final = Filter("")


def read(text: str | None, parameter: str) -> Filter:
    """The filter in a parameter. Raises Refused (400) with the position of what is wrong."""
    if not text or text.startswith("*"):
        return ANY
    parts = list(_split(text, ",", parameter))
    if len(parts) > 1:
        return _list(parts, parameter)
    if text.endswith("*") and not _escaped(text, len(text) - 1):
        return Filter(_unescape(text[:-1], 0, parameter))
    return Filter(values=(None if text == NULL else _unescape(text, 0, parameter),))


def exact(filter_: Filter) -> bool:
    """Whether it lets one text alone pass."""
    return filter_.prefix is None and len(filter_.values) == 1


@dataclass(frozen=True, slots=True)
class KeyValueFilter:
    """Selects the key-values of a list."""

    key: Filter = ANY
    label: Filter = ANY
    tags: tuple[tuple[str, str | None], ...] = ()

    def accepts(self, found: KeyValue) -> bool:
        """Whether it is on the list."""
        if not (self.key.accepts(found.key) and self.label.accepts(found.label)):
            return False
        return tagged(found.tags, self.tags)


def tagged(tags: Mapping[str, str | None], wanted: Sequence[tuple[str, str | None]]) -> bool:
    """Whether all wanted tags are there, with just these values."""
    return all(name in tags and tags[name] == value for name, value in wanted)


def read_tags(texts: Sequence[str], parameter: str = "tags") -> tuple[tuple[str, str | None], ...]:
    """Filters such as `name=value`; the value NUL is null. Raises Refused (400)."""
    given = [text for text in texts if text.strip()]
    if len(given) > _MOST_TAGS:
        raise invalid(parameter, f"Too many tags. Maximum supported is {_MOST_TAGS}")
    return tuple(_read_tag(text, parameter) for text in given)


def _read_tag(text: str, parameter: str) -> tuple[str, str | None]:
    parts = list(_split(text, "=", parameter))
    if len(parts) != 2:
        detail = "Invalid tag filter" if len(parts) < 2 else "Invalid tag filter with multiple '=' separators."
        raise invalid(parameter, detail)
    (_, name), (offset, value) = parts
    if name in ("", NULL) or not name.strip():
        raise invalid(parameter, "Invalid tag filter with null or empty tag name.")
    return _unescape(name, 0, parameter), None if value == NULL else _unescape(value, offset, parameter)


def _list(parts: Sequence[tuple[int, str]], parameter: str) -> Filter:
    if len(parts) > _MOST_VALUES:
        raise invalid(parameter, f"Too many values. Maximum supported is {_MOST_VALUES}")
    return Filter(values=tuple(None if part == NULL else _unescape(part, at, parameter) for at, part in parts))


def _split(text: str, separator: str, parameter: str) -> Iterator[tuple[int, str]]:
    """Offset and text of every part between separators that are not escaped."""
    start = index = 0
    while index < len(text):
        if text[index] == "\\":
            index += 1
            if index == len(text):
                raise invalid(parameter, f"{parameter}({index - 1}): Invalid character")
        elif text[index] == separator:
            yield start, text[start:index]
            start = index + 1
        index += 1
    yield start, text[start:]


def _unescape(text: str, offset: int, parameter: str) -> str:
    """The text meant; `*`, `,` and `\\` must be escaped, others may be."""
    meant = []
    characters = iter(enumerate(text, offset))
    for position, character in characters:
        if character in "*,":
            raise invalid(parameter, f"{parameter}({position}): Invalid character")
        meant.append(next(characters, (0, ""))[1] if character == "\\" else character)
    return "".join(meant)


def _escaped(text: str, index: int) -> bool:
    before = text[:index]
    return (len(before) - len(before.rstrip("\\"))) % 2 == 1
