"""The reader of YAML: source text, places, and refusals that tell people what to do."""

from __future__ import annotations

import json
import re
import sys
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvsync.errors import InvalidInput
from kvsync.yaml.nodes import Mapping, Node, Scalar, Sequence
from kvsync.yaml.parse import parse, parse_all
from kvsync.yaml.parsed import ParseLimits


def problems(data: str | bytes, limits: ParseLimits | None = None) -> list[str]:
    """What is wrong with a file, as people read it."""
    raw = data.encode() if isinstance(data, str) else data
    with pytest.raises(InvalidInput) as caught:
        parse(raw, "f.yaml", limits or ParseLimits())
    return [str(problem) for problem in caught.value.problems]


def plain(node: Node) -> Any:
    """A node as plain data, without places."""
    if isinstance(node, Scalar):
        return node.text
    if isinstance(node, Sequence):
        return [plain(item) for item in node.items]
    assert isinstance(node, Mapping)
    return {name: plain(value) for name, (_, value) in node.items.items()}


def read(text: str) -> Any:
    """The only document of a file as plain data."""
    [node] = parse(text.encode(), "f.yaml")
    return plain(node)


@pytest.mark.parametrize(
    "text", ["1.10", "0755", "no", "12:30", "0x1F", "2026-01-01", "1e3", "+1", ".5", "y", "=", "NaN"]
)
def test_a_scalar_is_the_text_as_written(text: str) -> None:
    """No type is guessed, in block style and in flow style."""
    assert read(f"a: {text}\nb: [{text}]\nc:\n- {text}\n") == {"a": text, "b": [text], "c": [text]}


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\ufeff\ufffe\uffff"), max_size=30))
def test_any_quoted_text_comes_back(text: str) -> None:
    """JSON is YAML: what is written as a JSON string is read as that string."""
    quoted = re.sub(
        "[\x7f-\x9f\u2028\u2029]", lambda odd: f"\\u{ord(odd[0]):04x}", json.dumps(text, ensure_ascii=False)
    )
    assert read(f"a: {quoted}\n") == {"a": text}


def test_places_count_from_one() -> None:
    """Line and column of keys and values are those an editor shows, with and without a byte order mark and CRLF."""
    for data in (b"a:\n  b: c\n", b"\xef\xbb\xbfa:\n  b: c\n", b"a:\r\n  b: c\r\n"):
        [root] = parse(data, "f")
        assert isinstance(root, Mapping)
        inner = root.items["a"][1]
        assert isinstance(inner, Mapping)
        key, value = inner.items["b"]
        assert [(key.line, key.column), (value.line, value.column)] == [(2, 3), (2, 6)]


def test_quotes_are_distinguished_from_plain_text() -> None:
    """`null` is null, `"null"` is text."""
    [root] = parse(b"a: null\nb: \"null\"\nc: ~\nd:\ne: ''\n", "f")
    assert isinstance(root, Mapping)
    nulls = {name: value.is_null for name, (_, value) in root.items.items() if isinstance(value, Scalar)}
    assert nulls == {"a": True, "b": False, "c": True, "d": True, "e": False}


def test_several_documents_and_an_end_marker() -> None:
    """Documents are divided by `---`, and `...` may end the last."""
    assert [plain(node) for node in parse(b"---\na: 1\n---\nb: 2\n...\n", "f")] == [{"a": "1"}, {"b": "2"}]


def test_an_empty_file_has_no_documents() -> None:
    """Nothing, and comments alone, are not a document."""
    assert parse(b"", "f") == parse(b"# only a comment\n", "f") == []


def test_every_duplicate_and_tag_and_odd_key_is_reported_at_once() -> None:
    """What does not hinder reading on is collected, each with its place and the place of the first."""
    text = 'a: 1\na: 2\nb: !!str 3\n? [x]\n: 4\n~: 5\nb: {"c": 6, c: 7}\n'
    assert problems(text) == [
        'f.yaml:2:1: duplicate key "a", first written at 1:1',
        'f.yaml:3:4: explicit tag "tag:yaml.org,2002:str" (YAML tags are not supported; quote text, use json: for other types)',
        "f.yaml:4:3: a key must be text, not a list or a mapping",
        'f.yaml:6:1: a key must not be null (to use it as text, quote it: "null")',
        'f.yaml:7:1: duplicate key "b", first written at 3:1',
        'f.yaml:7:13: duplicate key "c", first written at 7:5',
    ]


def test_anchors_and_merge_keys_work() -> None:
    """Own keys win over merged ones, earlier sources over later ones."""
    text = "a: &a {x: 1, y: 2}\nb: &b {y: 3, z: 4}\nc: {<<: [*a, *b], x: 0}\nd: *a\n"
    assert read(text) == {
        "a": {"x": "1", "y": "2"},
        "b": {"y": "3", "z": "4"},
        "c": {"x": "0", "y": "2", "z": "4"},
        "d": {"x": "1", "y": "2"},
    }


def test_misused_anchors_and_merge_keys_are_reported() -> None:
    """An alias of nothing, an anchor inside itself, a merge of a scalar."""
    assert "f.yaml:1:4: the alias *x has no anchor before it" in problems("a: *x\n")[0]
    assert "f.yaml:1:8: the alias *x has no anchor before it" in problems("a: &x [*x]\n")[0]
    assert problems("a: {<<: 1}\n") == [
        "f.yaml:1:5: a merge key needs a mapping or a list of mappings (such as <<: *defaults)"
    ]
    assert "duplicate key" in problems("a: &a {}\nb: {<<: *a, <<: *a}\n")[0]


def bomb(levels: int) -> str:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, levels)]
    return "\n".join(lines) + "\n"


MERGE_BOMB = "a: &a {" + ", ".join(f"k{n}: 1" for n in range(400)) + "}\nb:\n" + "- {<<: *a}\n" * 400


@pytest.mark.parametrize(
    ("data", "said"),
    [
        pytest.param(bomb(12), "aliases expand to more than 100,000 values", id="billion laughs"),
        pytest.param(MERGE_BOMB, "aliases expand to more than 100,000 values", id="merge keys"),
        pytest.param("[" * 200_000, "nested deeper than 64 levels", id="flow lists"),
        pytest.param("{a: " * 200_000, "nested deeper than 64 levels", id="flow mappings"),
        pytest.param("- " * 200_000, "nested deeper than 64 levels", id="block lists"),
        pytest.param(
            "\n".join(" " * n + "a:" for n in range(3000)), "nested deeper than 64 levels", id="block mappings"
        ),
        pytest.param("a: x\n" * 10_000_000, "47.7 MiB; the limit is 10 MiB", id="50 MB"),
    ],
)
def test_bombs_end_fast_with_one_clear_error(data: str, said: str) -> None:
    """What would cost memory, time or the stack is refused after a look that costs little."""
    raw, start = data.encode(), time.process_time()
    found = problems(raw)
    assert len(found) == 1
    assert said in found[0]
    assert time.process_time() - start < 5  # a bomb that goes off takes minutes


def test_depth_counts_through_aliases() -> None:
    """Nesting by way of aliases is nesting, since whoever walks the values walks it all."""
    lines = ["a0: &a0 [x]"] + [f"a{n}: &a{n} [*a{n - 1}]" for n in range(1, 100)]
    assert "because of an alias" in problems("\n".join(lines))[0]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"a: b\n\xc3\x28: x\n", "f.yaml:2:1: invalid UTF-8: the byte 0xc3 (save the file as UTF-8)"),
        ("é: ".encode() + b"\xff\n", "f.yaml:1:4: invalid UTF-8: the byte 0xff (save the file as UTF-8)"),
        ("a: b\n".encode("utf-16"), "f.yaml:1:1: the file is not UTF-8; it looks like UTF-16 (save it as UTF-8)"),
        ("a: b\n".encode("utf-16-be"), "f.yaml:1:1: the file is not UTF-8; it looks like UTF-16 (save it as UTF-8)"),
        (b"a: b\nc: d\0e\n", "f.yaml:2:5: a NUL byte (this is not a text file)"),
        (b"a: b\n\x07c: d\n", "f.yaml:2:1: the control character U+0007 (write it as an escape)"),
        ("a: x\u2028y\n".encode(), "f.yaml:1:5: an invisible line break, U+2028 (write \\L in double quotes)"),
        (
            b"a:\n\tb: c\n",
            "f.yaml:2:1: this line is indented with a tab (use spaces; YAML does not allow tabs for indentation)",
        ),
        (
            b"a:\n  b: c\n \td: e\n",
            "f.yaml:3:1: this line is indented with a tab (use spaces; YAML does not allow tabs for indentation)",
        ),
    ],
)
def test_bad_bytes_are_named_with_their_place(data: bytes, said: str) -> None:
    """Encodings, control characters and tabs get messages of their own, before libyaml's."""
    assert problems(data) == [said]


@pytest.mark.parametrize(
    ("text", "place", "said"),
    [
        ("a: b: c\n", "1:5", "quote text that contains ': '"),
        ("a: [b\nc: d\n", "2:2", "while parsing a flow sequence that began at line 1 (unclosed [ ] list)"),
        ("a: {b: c\n", "2:1", "unclosed { }"),
        ('a: "b\n', "2:1", "unclosed quote"),
        ("a: b\n c: d\n", "2:3", "quote text that contains"),
        ("a:\n  b: c\n d: e\n", "3:2", "check the indentation"),
        ("a: @b\n", "1:4", "quote"),
        ("a\nb: c\n", "2:2", ""),
        ('a: "\\q"\n', "1:5", "write \\\\ for a backslash"),
    ],
)
def test_syntax_errors_say_where_and_what_to_do(text: str, place: str, said: str) -> None:
    """libyaml's errors are reported as file:line:column, with a hint."""
    [found] = problems(text)
    assert found.startswith(f"f.yaml:{place}: ")
    assert said in found


def test_a_build_without_libyaml_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is a fault of the installation, not of kvsync, and simple files are read all the same."""
    monkeypatch.setitem(sys.modules, "yaml.cyaml", None)
    monkeypatch.delitem(sys.modules, "kvsync.yaml.events", raising=False)
    assert problems("a: &x 1\nb: *x\n") == [
        "f.yaml:1:1: this file cannot be read, because PyYAML was built without libyaml "
        "(install PyYAML from a wheel, or build it where libyaml is installed)"
    ]
    assert read("a: 1\n") == {"a": "1"}


def test_what_was_read_before_an_error_is_known() -> None:
    """The caller learns what the file named before it broke, and that there may be more."""
    parsed = parse_all(b"store: edge\nnamespace: web\nkeys:\n  a: 1\n  b: [\n", "f")
    assert not parsed.complete
    [document] = parsed.documents
    assert plain(document) == {"store": "edge", "namespace": "web"}


def test_limits_are_the_callers() -> None:
    """Size and depth can be set."""
    assert "the limit is" in problems("a: b\n", ParseLimits(size=3))[0]
    assert "nested deeper than 2 levels" in problems("a:\n - [[x]]\n", ParseLimits(depth=2))[0]


@pytest.mark.parametrize("text", ["😀", "a😀b😀", "\\ud83d\\ude00 \\\\ 😀", "\U000f0041 😀", "?x 😀", "{?x: 😀}"])
def test_what_json_writers_write_is_read(text: str) -> None:
    """JSON that escapes every character beyond ASCII, as most programs write it, is YAML: a pair of halves is one character."""
    data = {"smile": text, text: [{"?a": text}]}
    assert read(json.dumps(data)) == data
    assert read(json.dumps(data, indent=2)) == data


def test_escapes_are_text_where_nothing_escapes() -> None:
    """Outside double quotes a backslash is a backslash; places behind an escaped character are those of the file."""
    [node] = parse(
        b"a: \\ud83d\\ude00\nb: '\\ud83d\\ude00'\nc: |\n  \\ud83d\\ude00\nd: {\"\\ud83d\\ude00\": x, e: y}\n", "f.yaml"
    )
    literal = "\\ud83d\\ude00"
    assert plain(node) == {"a": literal, "b": literal, "c": f"{literal}\n", "d": {"😀": "x", "e": "y"}}
    assert isinstance(node, Mapping)
    inner = node.items["d"][1]
    assert isinstance(inner, Mapping)
    assert [(key.line, key.column) for key, _ in inner.items.values()] == [(5, 5), (5, 24)]


@pytest.mark.parametrize("half", ["\\ud83d", "\\ude00\\ud83d", "\\ud83dx"])
def test_half_a_character_is_an_error(half: str) -> None:
    """One half alone is not a character; the message says where, and what is missing."""
    assert problems(f'a: "{half}"\n') == [
        "f.yaml:1:7: found invalid Unicode character escape code, while parsing a quoted scalar "
        "(write both halves of the character, such as \\ud83d\\ude00)"
    ]


@pytest.mark.parametrize(
    ("text", "data"),
    [
        ("{?utm: /x, ok: y}", {"?utm": "/x", "ok": "y"}),
        ("keys: {\n  ?utm: /x}", {"keys": {"?utm": "/x"}}),
        ("[?a, b?c, '?d', \"?e\"]", ["?a", "b?c", "?d", "?e"]),
        ('[?"a"]', ['?"a"']),
        ("{a: ?b, ? c : d, ? ?e : f}", {"a": "?b", "c": "d", "?e": "f"}),
        ("?a: b ?c\n? d\n: ?e # ?f\n", {"?a": "b ?c", "d": "?e"}),
    ],
)
def test_a_question_mark_begins_a_text(text: str, data: Any) -> None:
    """YAML 1.2 takes a question mark for an indicator only before a blank, in braces as anywhere."""
    assert read(text) == data


@pytest.mark.parametrize(
    "between", ["---\n\ufeff", "\ufeff---\n", "...\n\ufeff---\n", "--- \r\n\ufeff", "\ufeff--- # next\n"]
)
def test_a_byte_order_mark_may_begin_a_document(between: str) -> None:
    """Editors put one in front of a file, and joining files brings it in front of later documents."""
    documents = parse(f"\ufeffa: b\ne: f\n{between}c: d\ng: h\n".encode(), "f.yaml")
    assert [plain(node) for node in documents] == [{"a": "b", "e": "f"}, {"c": "d", "g": "h"}]


@pytest.mark.parametrize("end", ["\n", "\r", "\r\n"])
def test_many_directives_are_refused_before_they_are_read(end: str) -> None:
    """libyaml compares each `%TAG` with all before it; a few are left to it, and so are lines of text that look like one."""
    lines = [f"%TAG !a{number}! tag:x" for number in range(101)]
    found = parse_all(end.join([*lines, "--- {a: b}", ""]).encode(), "f.yaml")
    assert [str(problem) for problem in found.problems] == [
        "f.yaml:101:1: more than 100 %TAG directives (YAML tags are not supported; remove them)"
    ]
    assert parse_all(end.join([*lines[1:], "--- {a: b}", ""]).encode(), "f.yaml").problems == ()
    assert parse_all(b"a: '\n%TAG x\n  '\n", "f.yaml").problems == ()
