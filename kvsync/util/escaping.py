"""Escaping for every output format: one function per format.

Keys, values, labels, file names, commits and what servers answer may hold anything. None of it may end a line, steer a
terminal, hide or reorder what is shown, or be taken for markup or for a command of a CI system.

    medium                                              function
    ─────────────────────────────────────────────────   ─────────────────────────────────────────────────────
    text and log lines                                  `escape_text`; `escape_cell` where two blanks end a
                                                        column; `quote_text`, `escape_name` where no two texts
                                                        may look the same
    label values of metrics                             `escape_label`
    JSON (answers, log, GitLab report, notices, HTTP)   `encode_json`; `kvsync.util.json_pieces` where it may be long
    Markdown                                            `escape_markdown`, `markdown_code`
    SARIF messages and addresses                        `escape_sarif`, `encode_path`
    workflow commands of GitHub                         `escape_github`
    Slack messages                                      `slack_code`
    HTML: text, and attributes                          `escape_html`, `isolate_text`
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import quote

from kvsync.util.patterns import lazy_pattern

_NAMED: Final = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}

_INVISIBLE: Final = lazy_pattern(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U0001d159\U000e0100-\U000e01ef]"
)
"""Characters that Python counts as printable although nothing is seen of them: joiners, fillers, variation selectors."""

_COMMAND: Final = lazy_pattern(r"^([^\S\n]*):(?=:)|#(?=#\w*\[)", re.MULTILINE)
"""What CI systems take for a command: `::` at the start of a line (GitHub), `##[`, `##vso[` and the like anywhere."""

_LONGEST_NAME: Final = 100

_AMBIGUOUS: Final = lazy_pattern(r"^$|[\s\"\\]")
"""What could make a name look like another one, like several, or like the words around it."""

_REPEATED_BLANK: Final = lazy_pattern("(?<= ) |^ | $")


def escape_text(text: str, keep: str = "") -> str:
    """The text for a terminal, a log line or a label: all that is not visible is spelled out (`\\n`, `\\x1b`, `\\u202e`), and
    so is what a CI system would take for a command. The characters in `keep` (line ends, tabs) stay as they are."""
    if text.isascii() and text.isprintable() and "##" not in text and "::" not in text:
        return text
    if not (text.isprintable() and _INVISIBLE.search(text) is None and not _is_combining(text)):
        text = "".join(char if _is_visible(char) or char in keep else _spelled_out(char) for char in _separate(text))
    return _COMMAND.sub(_defused, text)


def escape_cell(text: str) -> str:
    """The text for a place that ends with two blanks: no second blank in a row, none at either end."""
    return _REPEATED_BLANK.sub(r"\\x20", escape_text(text))


def quote_text(text: str) -> str:
    """The text between double quotes, escaped so that no two texts look the same."""
    return '"' + escape_text(text.replace("\\", "\\\\").replace('"', '\\"')) + '"'


def escape_name(text: str) -> str:
    """A key, label or path: as it is where it can be mistaken for nothing else, otherwise between double quotes."""
    return quote_text(text) if _AMBIGUOUS.search(text) else escape_text(text)


def escape_label(text: str) -> str:
    """The text as the value of a label: no two texts have the same, or one of them would spoil the whole scrape."""
    return escape_text(text.replace("\\", "\\\\"))


def encode_json(document: Any, *, indent: int | None = None, default: Callable[[Any], Any] | None = None) -> str:
    """The document as JSON in ASCII. A lone surrogate, which strict parsers refuse, is spelled out as the text `\\udc80`.
    `default` turns values that JSON does not know into others, as in `json.dumps`."""
    text = json.dumps(document, indent=indent, default=default)
    if "\\ud" in text:
        text = _SURROGATES.sub(_without_lone, text)
    return text.replace("##", "#\\u0023") if "##" in text else text


def escape_markdown(text: str) -> str:
    """Words of others within a sentence of Markdown: as they are where they are plain prose, otherwise as code."""
    shown = escape_text(text)
    return shown if _PROSE.fullmatch(shown) and not _REFERENCE.search(shown) else _code(shown)


def markdown_code(text: str) -> str:
    """The text as code in Markdown, also inside a table: no markup, no link, no mention."""
    return _code(escape_text(text))


def escape_sarif(text: str) -> str:
    """The text of a SARIF message, in which `[…](…)` would be a link."""
    return re.sub(r"[\\\[\]]", r"\\\g<0>", escape_text(text))


def encode_path(path: str) -> str:
    """A relative path as a URI reference, whatever bytes are in it."""
    return quote(to_bytes(path))


def escape_github(text: str, *, in_property: bool = False) -> str:
    """A message, or a property, of a workflow command: it ends neither its command nor its property."""
    special = "%\r\n:," if in_property else "%\r\n"
    return "".join(f"%{ord(char):02X}" if char in special else char for char in escape_text(text))


def slack_code(text: str) -> str:
    """The text as code in Slack's markup, where nothing is formatted, linked or called."""
    from html import escape

    return f"`{escape(escape_text(text), quote=False).replace('`', chr(39))}`"


def escape_html(text: str) -> str:
    """The text as HTML, isolated (`<bdi>`) so that writing from right to left moves nothing around it."""
    from html import escape

    return f"<bdi>{escape(escape_text(text))}</bdi>"


def isolate_text(text: str) -> str:
    """The text for an attribute or a title of HTML, not yet escaped for it: isolated by characters where that is needed."""
    shown = escape_text(text)
    return f"\u2068{shown}\u2069" if is_right_to_left(shown) else shown


def is_right_to_left(text: str) -> bool:
    """True for a text with characters that are written from right to left."""
    return not text.isascii() and any(unicodedata.bidirectional(char) in ("R", "AL", "AN") for char in text)


def clip(text: str, length: int) -> str:
    """At most `length` characters of an escaped text."""
    return text if len(text) <= length else text[: length - 1] + "…"


def clip_name(name: str) -> str:
    """A name of any length for a message: at most 100 characters. A file of some KB can name one key in thousands of them."""
    return clip(name, _LONGEST_NAME)


def is_unicode(text: str) -> bool:
    """True for a text that UTF-8 can write: JSON can hold halves of characters."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def to_bytes(text: str) -> bytes:
    """The text in UTF-8; lone surrogates become the bytes they represent in file names, or their own."""
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogatepass")


# -- text -------------------------------------------------------------------------------------------------------------


def _is_visible(char: str) -> bool:
    return char.isprintable() and _INVISIBLE.match(char) is None


def _is_combining(text: str) -> bool:
    """True for a text that begins with a mark, which would join what stands before it."""
    return bool(text) and unicodedata.category(text[0]).startswith("M")


def _separate(text: str) -> str:
    """The text; a mark at its start is spelled out."""
    return _spelled_out(text[0]) + text[1:] if _is_combining(text) else text


def _spelled_out(char: str) -> str:
    if char in _NAMED:
        return _NAMED[char]
    code = ord(char)
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _defused(match: re.Match[str]) -> str:
    return "\\x23" if match[0] == "#" else f"{match[1]}\\x3a"


# -- JSON -------------------------------------------------------------------------------------------------------------

_SURROGATES: Final = lazy_pattern(r"\\\\|\\ud[89ab]..\\ud[c-f]..|\\(ud[89a-f]..)", re.DOTALL)
"""In JSON: an escaped backslash, a pair of surrogates, a lone one."""


def _without_lone(match: re.Match[str]) -> str:
    return f"\\\\{match[1]}" if match[1] else match[0]


# -- Markdown ---------------------------------------------------------------------------------------------------------

_PROSE: Final = lazy_pattern(r"(?:[A-Za-z0-9 ,.;:()'\"%/+=?…–—-]|(?<=[A-Za-z0-9])_(?=[A-Za-z0-9]))*")
"""Characters that mean nothing in Markdown, within a line."""

_REFERENCE: Final = lazy_pattern(
    r"://|[Ww]{3}\.|[Gg][Hh]-\d|:[\w+-]+:|\b(?=[a-f]*\d)[0-9a-f]{7,}\b|^\s|\s$|\s\s|^[-+=]|^\d+[.)]"
)
"""What GitHub and GitLab would still make something of: links, issues, emoji, commits, and the start of a list."""

_MARKUP: Final = lazy_pattern(
    r"[\\`*\[\]~|$&<>@#]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])|:(?=//)|(?<=[Ww]{3})\.|(?<= ) |^ | $"
)


def _code(shown: str) -> str:
    direction = ' dir="auto"' if is_right_to_left(shown) else ""
    return f"<code{direction}>{_MARKUP.sub(_entity, shown)}</code>"


def _entity(match: re.Match[str]) -> str:
    char = match[0]
    if char in "@#":  # entities are decoded before mail addresses are looked for; an empty comment stays in between
        return f"{char}<!-- -->"
    return "&nbsp;" if char == " " else f"&#{ord(char)};"
