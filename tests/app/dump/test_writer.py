"""What `dump` writes asks for exactly what was there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kvsync.app.dump.writer import DumpEntry, write
from kvsync.config.model import Config, StoreConfig
from kvsync.desired import Source
from kvsync.model.canonical import canonical_json, canonical_json_text, is_json_type
from kvsync.model.entry import Content, Entry, Identity, Target
from kvsync.stores.base import StoreContext
from kvsync.stores.registry import open_store
from kvsync.testing import FakeClock
from tests.support.examples import examples

TARGET = Target("local", "web")

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
awkward = st.sampled_from(
    ["", " ", "~", "null", "no", "1.10", "a: b", "- x", "#", "<<", "{}", "a\n", "a\nb", "a\n\nb\n", " a\nb", "a\nb\n\n",
     "\ta\nb", "a\n\tb", "\u0085", "a\u2028b\nc", "\ufeffa", "\x7f", "\x00", "a\r\nb", "---\nx", "a\n---\nb", "x" * 1100,
     '"', "'", "\\", "a #b", "a\n...\n", "%x", "!tag", "&a", "*a", "|", ">", "é" * 5, "\U0001f600", "?", "@", "`"]
)  # fmt: skip
words = texts | awkward
keys = (st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30) | awkward).filter(
    lambda key: key not in ("", ".", "..") and "\x00" not in key and len(key.encode()) <= 1024
)
labels = st.none() | words.filter(lambda label: label != "")
scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | words
json_data = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3), max_leaves=8
)


@st.composite
def contents(draw: st.DrawFn) -> Content:
    value = draw(
        words.map(str.encode) | st.binary(max_size=30) | json_data.map(lambda data: canonical_json(data).encode())
    )
    kinds = ["application/json", "text/html", "application/problem+json", "x y"]
    content_type = draw(st.none() | st.sampled_from(kinds))
    if is_json_type(content_type) and canonical_json_text(value) is None:
        content_type = None  # state files refuse it: kvsync.app.dump.check leaves such an entry out
    tags = tuple(sorted(draw(st.dictionaries(words.filter(bool), words, max_size=2)).items()))
    metadata = draw(st.none() | json_data.filter(lambda data: data is not None).map(canonical_json))
    return Content(value, content_type, tags, metadata)


@st.composite
def entries(draw: st.DrawFn) -> DumpEntry:
    life = draw(st.sampled_from(["none", "ttl", "end"]))
    return DumpEntry(
        Identity(draw(keys), draw(labels)),
        draw(contents()),
        ttl=draw(st.integers(1, 10**8)) if life == "ttl" else None,
        expires_at=draw(st.integers(10**9, 4 * 10**9)) if life == "end" else None,
        protected=draw(st.booleans()),
        sensitive=draw(st.booleans()),
    )


def loaded(text: str, folder: Path) -> dict[Identity, Entry]:
    """What the loader makes of a state file."""
    (folder / "state").mkdir(exist_ok=True)
    (folder / "state" / "web.yaml").write_text(text, encoding="utf-8")
    file = folder / "kvsync.yaml"
    store = StoreConfig("local", "sqlite", {"path": "store.db"})
    config = Config(file, folder, "me", ("state/**/*.yaml",), folder / ".kvsync", {"local": store})
    context = StoreContext(folder, None, str, FakeClock())
    result = Source(config, {"local": open_store(store, context)}, None, {}).load()
    assert not result.problems, (result.problems, text)
    return dict(result.targets[TARGET].entries)


def described(entry: Entry | DumpEntry) -> tuple[Any, ...]:
    return (entry.content, entry.ttl, entry.expires_at, entry.protected, entry.sensitive)


@settings(
    max_examples=examples(100),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(wanted=st.lists(entries(), min_size=1, max_size=6, unique_by=lambda entry: entry.identity))
def test_loading_what_was_written_gives_the_same_entries(tmp_path: Path, wanted: list[DumpEntry]) -> None:
    """Whatever entries hold, the loader reads the written file as those entries: bytes, options, lifetimes."""
    found = loaded(write(TARGET, wanted), tmp_path)
    assert {identity: described(entry) for identity, entry in found.items()} == {
        entry.identity: described(entry) for entry in wanted
    }


def test_values_are_written_as_a_person_would() -> None:
    """Plain text stays plain, lines are a block, JSON is `json:`, binary is Base64, and options stand next to the value."""
    text = write(
        TARGET,
        [
            DumpEntry(Identity("greeting"), Content(b"Hello, world")),
            DumpEntry(Identity("release"), Content(b"1.10")),
            DumpEntry(Identity("about"), Content(b"We sell tea.\nSince 1871.\n")),
            DumpEntry(Identity("limits"), Content(b'{"rps":10}', "application/json")),
            DumpEntry(Identity("logo"), Content(b"\xff\x00", "image/png"), ttl=7200),
            DumpEntry(Identity("theme"), Content(b"light")),
            DumpEntry(Identity("theme", "prod"), Content(b"dark", tags=(("team", "web"),))),
            DumpEntry(Identity("token"), Content(b"x"), sensitive=True, reference=("env", "TOKEN")),
        ],
    )
    assert (
        text
        == """\
store: local
namespace: web
keys:
  about: |
    We sell tea.
    Since 1871.
  greeting: "Hello, world"
  limits: {json: {"rps": 10}}
  logo: {base64: "/wA=", content_type: image/png, ttl: 2h}
  release: 1.10
  theme: {value: light, labels: {prod: {value: dark, tags: {team: web}}}}
  token: {env: TOKEN}
"""
    )


def test_nothing_is_written_that_reads_as_something_else(tmp_path: Path) -> None:
    """What nobody sees, or what turns the direction of the text, is written as an escape, in keys, texts, lines and JSON."""
    odd = "a\u202eb\u200bc"
    given = [
        DumpEntry(Identity(odd, odd), Content(odd.encode())),
        DumpEntry(Identity("lines"), Content(f"{odd}\n{odd}\n".encode())),
        DumpEntry(Identity("json"), Content(canonical_json({odd: odd}).encode(), "application/json")),
        DumpEntry(Identity("seen"), Content("é\n漢字\n".encode())),
    ]
    text = write(TARGET, given)
    assert text.replace("\n", "").isprintable()
    assert "漢字" in text
    found = loaded(text, tmp_path)
    assert {identity: described(entry) for identity, entry in found.items()} == {
        entry.identity: described(entry) for entry in given
    }


@pytest.mark.parametrize(
    ("value", "is_untyped", "form"),
    [
        (b'{"a":1}', True, "json"),
        (b"[1,2.5]", True, "json"),
        (b'{"a": 1}', True, "value"),  # other spaces than kvsync would write
        (b"5", True, "value"),
        (b'{"a":1}', False, "value"),  # JSON would bring a content type with it
    ],
)
def test_json_without_a_content_type_is_readable(value: bytes, is_untyped: bool, form: str) -> None:
    """Where the store keeps no content type, an object or a list is written as data if it comes back byte for byte."""
    entry = DumpEntry(Identity("k"), Content(value), is_untyped=is_untyped)
    assert ("k: {json: " in write(TARGET, [entry])) is (form == "json")
