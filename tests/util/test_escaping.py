"""Escaping: nothing that comes from a key, a value, a file, a server or a commit gets out of its place in any medium."""

from __future__ import annotations

import html
import json
import re
from html.parser import HTMLParser

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from kvsync.util import escaping
from tests.support.hostile_text import HOSTILE, MARK, is_harmless

texts = st.one_of(
    st.sampled_from(HOSTILE),
    st.text(),
    st.lists(st.sampled_from(HOSTILE), min_size=1, max_size=3).map("".join),
    st.text("#:[]\\u0 a\n\r\t\"'|`<>&@\u202e\u200b\ufe0f\ud800\u0301\u05d0"),
)


@given(texts)
def test_text_is_one_visible_line(text: str) -> None:
    """Escaped text, as such, as a cell, a name or a quotation, is one line in which everything is visible."""
    for escape in (
        escaping.escape_text,
        escaping.escape_cell,
        escaping.escape_name,
        escaping.quote_text,
        escaping.escape_label,
    ):
        assert is_harmless(escape(text))
        assert escaping.escape_text(escape(text)) == escape(text)


@pytest.mark.parametrize(
    "text", ["greeting", "state/web.yaml:3:5", "größe", "日本語", "שלום", "a[0]", "it's 5 % of #1, a::b"]
)
def test_ordinary_text_stays_as_it_is(text: str) -> None:
    """What is visible and harmless is not touched, in whatever script."""
    assert escaping.escape_text(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\nb\tc\r", r"a\nb\tc\r"),
        ("\x1b[31m", r"\x1b[31m"),
        ("\u202e", r"\u202e"),
        ("\U000e0100", r"\U000e0100"),
        ("❤\ufe0f", r"❤\ufe0f"),
        ("\udc80", r"\udc80"),
        ("\u0301a", r"\u0301a"),
        ("::error::x", r"\x3a:error::x"),
        ("  ::error::x", r"  \x3a:error::x"),
        ("a ##[error]x", r"a \x23#[error]x"),
        ("##vso[task]", r"\x23#vso[task]"),
        ("## heading", "## heading"),
    ],
)
def test_how_it_is_spelled_out(text: str, shown: str) -> None:
    """What is not visible, or a command to a CI system, is spelled out as programmers write it."""
    assert escaping.escape_text(text) == shown


@given(texts)
def test_kept_line_ends_make_no_command(text: str) -> None:
    """Where line ends are kept, no line of the text is a command."""
    assert all(map(is_harmless, escaping.escape_text(text, keep="\n").split("\n")))


@given(st.lists(texts, min_size=2, max_size=2, unique=True))
def test_names_stay_apart(pair: list[str]) -> None:
    """No two names, quotations or labels look the same."""
    for escape in (escaping.escape_name, escaping.quote_text, escaping.escape_label):
        assert len({escape(text) for text in pair}) == 2


@given(texts)
def test_a_cell_has_no_column_of_its_own(text: str) -> None:
    """A cell has no two blanks in a row, which would begin another column, and none at its ends."""
    cell = escaping.escape_cell(text)
    assert "  " not in cell
    assert cell == cell.strip(" ")


@given(texts)
def test_quotations_are_yaml_and_json(text: str) -> None:
    """A quotation is a double-quoted YAML scalar, which reads back as the same text."""
    if text.isascii() or not any("\ud800" <= char <= "\udfff" for char in text):
        assert yaml.safe_load(escaping.quote_text(text)) == text


documents = st.recursive(
    texts, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3), max_leaves=5
)


@given(documents)
def test_json_is_ascii_and_reads_back(document: object) -> None:
    """A JSON document is one line of ASCII that strict parsers take, without commands; all but lone surrogates reads back."""
    text = escaping.encode_json(document)
    assert text.isascii()
    assert is_harmless(text)
    assert not re.search(r"(?<!\\)(?:\\\\)*\\ud[89ab]..(?!\\ud[c-f])", text)
    json.dumps(json.loads(text), ensure_ascii=False).encode()  # no lone surrogate is left
    if text == json.dumps(document).replace("##", "#\\u0023"):
        assert json.loads(text) == document


# -- Markdown ---------------------------------------------------------------------------------------------------------


class RenderedHtml(HTMLParser):
    """The tags of a piece of HTML, and the text that people see."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.text = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        assert all(name == "dir" and value == "auto" for name, value in attrs), attrs

    def handle_data(self, data: str) -> None:
        self.text += data


MARKDOWN = MarkdownIt("gfm-like").disable("linkify")
AUTOLINKS = re.compile(r"(?i)(?:https?|ftp|mailto|xmpp):\S|www\.|\w@\w")
"""What GitHub makes links of, in the source of a comment."""


@given(texts)
@example("a@<!-- -->b")
def test_markdown_shows_the_text_and_nothing_else(text: str) -> None:
    """In a sentence and in a table, as prose or as code: the same text is seen, in no element but `code`, with no link, mention
    or reference, and in one cell."""
    for write in (escaping.escape_markdown, escaping.markdown_code):
        written = write(text)
        assert "\n" not in written
        assert "|" not in written
        page = MARKDOWN.render(f"| a | b |\n|---|---|\n| {written} | end |\n\nSee: {written}.\n")
        shown = RenderedHtml(page)
        assert set(shown.tags) <= {"table", "thead", "tbody", "tr", "th", "td", "p", "code"}
        seen = shown.text.replace("\u00a0", " ")
        assert seen.count(escaping.escape_text(text)) >= 2
        source = re.sub(r"<!-- -->|&#\d+;|&nbsp;", "\u241f", written)
        assert not AUTOLINKS.search(source)
        if "<code" not in written:
            assert not re.search(r"[@#!~$&`*<>\[\]]|:\w+:|GH-\d|\b[0-9a-f]{7,40}\b(?<=\d)", written)


def test_right_to_left_text_is_isolated_in_markdown() -> None:
    """Hebrew in code moves nothing around it."""
    assert escaping.markdown_code("שלום 1") == '<code dir="auto">שלום 1</code>'


# -- others -----------------------------------------------------------------------------------------------------------


@given(texts, texts)
def test_a_workflow_command_has_one_message(path: str, message: str) -> None:
    """A message ends neither its command nor its property, as GitHub's runner reads them."""
    line = f"::error file={escaping.escape_github(path, in_property=True)},line=1::{escaping.escape_github(message)}"
    assert "\n" not in line
    assert "\r" not in line
    head, found = re.fullmatch(r"::error (.*?)::(.*)", line).groups()  # type: ignore[union-attr]
    assert re.fullmatch(r"file=[^,:]*,line=1", head)
    assert found.replace("%25", "%") == escaping.escape_text(message)


@given(texts)
def test_a_sarif_message_has_no_link(text: str) -> None:
    """Brackets, which are links in SARIF messages, are escaped, and read back."""
    written = escaping.escape_sarif(text)
    assert not re.search(r"(?<!\\)(?:\\\\)*\[", written)
    assert re.sub(r"\\([\\\[\]])", r"\1", written) == escaping.escape_text(text)


@given(texts)
def test_paths_are_uris(text: str) -> None:
    """Any name of a file becomes a path of a URI."""
    assert re.fullmatch(r"[A-Za-z0-9_.~/%-]*", escaping.encode_path(text))


@given(texts)
def test_slack_code_is_one_span(text: str) -> None:
    """In Slack's markup it is one span of code, without references."""
    written = escaping.slack_code(text)
    assert re.fullmatch(r"`[^`<>]*`", written)
    assert re.sub(r"&(?:amp|lt|gt);", "", written).count("&") == 0


@given(texts)
def test_html_is_isolated_text(text: str) -> None:
    """On the page it is text in a `bdi`, and in an attribute isolated by characters where that is needed."""
    written = escaping.escape_html(text)
    assert re.fullmatch(r"<bdi>[^<>]*</bdi>", written)
    assert html.unescape(written.removeprefix("<bdi>").removesuffix("</bdi>")) == escaping.escape_text(text)
    inside = escaping.isolate_text(text)
    assert is_harmless(inside.removeprefix("\u2068").removesuffix("\u2069"))
    assert inside.startswith("\u2068") == escaping.is_right_to_left(escaping.escape_text(text))


def test_the_list_is_hostile() -> None:
    """The texts that the tests try are not harmless as they are: else the tests would show nothing."""
    harmful = [text for text in HOSTILE if MARK in text and not is_harmless(text)]
    assert len(harmful) > 25
