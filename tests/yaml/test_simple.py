"""The quick reader of simple files against libyaml: the same nodes at the same places, or it gives up."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from kvsync.yaml import simple
from kvsync.yaml.events import read_events
from kvsync.yaml.nodes import Mapping, Node, Scalar, Sequence
from kvsync.yaml.problems import Problems
from tests.support.cpu import grows_too_fast
from tests.support.examples import examples

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").rglob("*.yaml"))


def dump(node: Node) -> Any:
    """A node as plain data, places and order included."""
    if isinstance(node, Scalar):
        return node.text, node.plain, node.line, node.column
    if isinstance(node, Sequence):
        return [dump(item) for item in node.items], node.line, node.column
    assert isinstance(node, Mapping)
    return [(name, dump(key), dump(value)) for name, (key, value) in node.items.items()], node.line, node.column


def check(text: str) -> bool:
    """Compare both readers; True when the quick one did not give up."""
    data = text.encode()
    quick = simple.read(data)
    if quick is None:
        return False
    slow = read_events(data, Problems("x"))
    assert not slow.problems, (text, slow.problems)
    assert [dump(quick)] == [dump(document) for document in slow.documents]
    return True


PIECES = [
    "a", "b", "key", "no", "1.10", "x y", "é", "/path", "a.b", " ", "  ", "    ", "\n", ":", ": ", ":\n", "- ", "#", " #c",
    '"', '""', '"q: #"', "'", "''", "'s'", "{", "}", "{}", "[", "]", "[]", ", ", ",", "{a: b}", "[a, b]", "&x ", "*x", "!t ",
    "|", "|\n", ">", "---\n", "...\n", "null", "~", "<<", "? ", "\t", "\r\n", "\\", "%", "@", "`", "(", ")", "$", "+", "=",
    "?", "-", "http://x", "\ufeff", "\x7f", "\n  ", "\n    ", "\n  - ", "\nb: ", "\n  c: ", "\n    d: ",
]  # fmt: skip

scalar = st.sampled_from(
    [
        "x",
        "some text",
        "1.10",
        '"q"',
        "'s'",
        '""',
        "a:b",
        "a#b",
        "-1",
        "x # c",
        "{a: b, c: [d, 'e']}",
        "[x, y z]",
        "[{a: b}, {}]",
        "",
    ]
)
line = st.tuples(
    st.sampled_from(["", "  ", "  ", "    "]),
    st.sampled_from(["a", "b", "c", "d.e", "/f", "null", "- a", "<<"]),
    scalar,
)


@settings(max_examples=examples(400), deadline=None)
@given(st.lists(st.sampled_from(PIECES), max_size=14).map("".join))
@example("a: b\n   c: d\n")
@example("a:\n  b: c\n d: e\n")
@example("a: b\n c\n")
@example("a: {b: c\n}\n")
@example("a: 'b\n  c: d'\n")
@example("|\n a: b\n")
@example("a: b #\nc: d\n")
def test_the_quick_reader_never_differs_on_arbitrary_text(text: str) -> None:
    """Whatever is put together, the quick reader gives up or gives libyaml's nodes."""
    check(text)


@settings(max_examples=examples(300), deadline=None)
@given(st.lists(line, min_size=1, max_size=8))
def test_the_quick_reader_never_differs_on_lines_of_state_files(lines: list[tuple[str, str, str]]) -> None:
    """The same for texts that are nearly state files, with duplicates, nulls and odd indentation."""
    check("".join(f"{indent}{key}: {value}\n" for indent, key, value in lines))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_the_quick_reader_never_differs_on_every_prefix_of_real_files(path: Path) -> None:
    """Real files, and what is left of them when they are cut off at the end of each line, and inside some."""
    text = path.read_text()
    ends = [index for index, char in enumerate(text) if char == "\n"]
    for end in [len(text), *ends[:: max(1, len(ends) // 20)], *range(0, len(text), max(1, len(text) // 20))]:
        check(text[:end])


@pytest.mark.parametrize("length", [1000, 1022, 1023, 5000])
@pytest.mark.parametrize("quote", "'\"")
def test_the_quick_reader_never_differs_on_long_keys(length: int, quote: str) -> None:
    """libyaml refuses keys above 1,024 characters, with their quotes."""
    check(f"a: {{{quote}{'x' * length}{quote}: b}}\n")


def test_a_plain_state_file_is_simple() -> None:
    """The files that the speed is meant for do take the quick way."""
    assert check(
        "---\n# shop\nstore: edge\nnamespace: web  # ours\ndefaults: {ttl: 7d, tags: {team: web}}\n\nkeys:\n"
        '  greeting: Hello, world\n  "url": x\n'.replace('"url"', "url")
        + '  empty: ""\n  limits:\n    json: {rps: 10, zones: [eu, us]}\n    ttl: 1h\n  last: http://x/#y\n'
    )
    assert check(
        'version: 1\nstate: ["state/**/*.yaml", \'more/#*\']\nstores:\n  edge: {type: sqlite, path: "a: b!"}\n'
    )


@pytest.mark.parametrize("after", ["!", "", '"', "#x", "} #", " }!", "x: y"])
@pytest.mark.parametrize(
    "repeated", [" ", "!", "#", "a", '"', "{", "}", "[", ",", ":", ": ", " #", "a: ", "a, ", '"a": ']
)
def test_the_quick_reader_is_linear_in_a_line(repeated: str, after: str) -> None:
    """Whatever a line repeats, twice as long costs twice as much: other threads wait for a regular expression."""
    for before in ("", "a: ", "a: {", "a: [", 'a: "', "a: {b: ", 'a: ["'):

        def reading(size: int, before: str = before) -> Callable[[], object]:
            data = (before + repeated * size + after).encode()
            return lambda: simple.read(data)

        assert not grows_too_fast(reading, 1000), before
