"""Hostile text in every part of a snapshot, in all that shows it: page, metrics, status."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from kvsync.model.entry import Target
from kvsync.rendering.difference import Line
from kvsync.status.document import snapshot_document
from kvsync.status.http.answers import failure
from kvsync.status.metrics import exposition
from kvsync.status.page.query import Query
from kvsync.status.snapshot import StatusSnapshot
from kvsync.util.redaction import Redactor
from tests.status.snapshots import snapshot
from tests.status.test_page import renderer
from tests.support.examples import examples
from tests.support.hostile_text import HOSTILE, is_harmless, is_visible

OURS = frozenset(
    {
        "sign",
        "action",
        "cause",
        "digest",
        "kind",
        "command",
        "mode",
        "version",
        "at",
        "cost",
        "triggers",
        "next_trigger",
    }
)
"""Fields with words of kvsync's own, or with text that is escaped when it is put in."""

hostile = st.sampled_from(HOSTILE) | st.lists(st.sampled_from(HOSTILE), min_size=2, max_size=3).map("".join)


def poisoned(part: Any, evil: str) -> Any:
    """The same with hostile text in place of every text that others word."""
    if isinstance(part, Target):
        return Target(evil, evil)
    if isinstance(part, Line):
        return part
    if is_dataclass(part) and not isinstance(part, type):
        named = {one.name: getattr(part, one.name) for one in fields(part) if one.name not in OURS}
        return replace(part, **{name: poisoned(value, evil) for name, value in named.items()})
    if type(part) is str:
        return evil
    if isinstance(part, tuple):
        return tuple(poisoned(item, evil) for item in part)
    return part if not isinstance(part, Mapping) else dict(part)


class ParsedPage(HTMLParser):
    """Every element with its attributes, and every text, as a browser has them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[str] = []
        self.texts: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def pages(shown: StatusSnapshot) -> list[str]:
    made = renderer()
    found = [
        made.home(shown, Query()),
        made.target(shown, shown.targets[0]),
        made.missing(shown, shown.targets[0].target),
    ]
    return [page.body.decode() for page in found]


HARMLESS = [ParsedPage(page) for page in pages(poisoned(snapshot(1), "harmless"))]


@given(evil=hostile)
@settings(max_examples=examples(80), deadline=None)
def test_the_page_has_the_same_elements(evil: str) -> None:
    """Whatever names and errors hold, the page has the elements and attributes that it has for harmless ones; every text is
    visible, and what is written from right to left is isolated."""
    for page, same in zip(map(ParsedPage, pages(poisoned(snapshot(1), evil or "x"))), HARMLESS, strict=True):
        assert page.elements == same.elements
        assert [name for name, _ in page.attributes] == [name for name, _ in same.attributes]
        assert all(is_visible(char) or char == "\n" for text in page.texts for char in _joined(text))
        for name, value in page.attributes:
            assert is_harmless(_joined(value)) or name in ("value", "content"), (name, value)
            assert name != "style"
            assert not name.startswith("on")
            if name in ("href", "src"):
                assert value.startswith(("/", "#", "assets"))


def _joined(text: str) -> str:
    """The text without the pairs of characters that isolate a part of it, in titles and attributes, where there is no `bdi`."""
    return re.sub("\u2068([^\u2066-\u2069]*)\u2069", r"\1", text)


def test_right_to_left_text_is_isolated() -> None:
    """Names, values and errors are in a `bdi` each, so that none moves the numbers and words around it."""
    for text in pages(poisoned(snapshot(1), "שלום 12")):
        page = ParsedPage(text)
        held = [at for at, part in enumerate(page.texts) if "שלום" in part]
        assert held
        assert text.count("<bdi>שלום") >= len(held) - 1  # all but the title
        named = [value for _, value in page.attributes if "שלום" in value]
        assert all("\u2068" in value and "\u2069" in value for value in named)


@given(evil=hostile)
@settings(max_examples=examples(100), deadline=None)
def test_metrics_and_status_are_documents(evil: str) -> None:
    """Metrics are read back by the same number of samples, and `/status` and errors are one line of JSON."""
    shown = poisoned(snapshot(2), evil or "x")
    text = exposition(shown).body.decode()
    assert all(map(is_harmless, text.split("\n")))
    assert len(samples_of(text)) == len(samples_of(exposition(poisoned(snapshot(2), "x")).body.decode()))
    empty: dict[str, list[Any]] = {"targets": [], "parked": [], "paused": []}
    (line,) = Redactor().clean_text(snapshot_document(empty, shown)).splitlines()
    assert is_harmless(line)
    assert json.loads(line)
    assert is_harmless((failure(404, evil).text or "").removesuffix("\n"))


def samples_of(text: str) -> list[Any]:
    return [sample for family in text_string_to_metric_families(text) for sample in family.samples]


@pytest.mark.parametrize("evil", HOSTILE)
def test_the_list_tries_something(evil: str) -> None:
    """Each hostile text reaches the snapshot."""
    assert poisoned(snapshot(1), evil).targets[0].target == Target(evil, evil)
