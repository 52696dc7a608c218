"""Decoding by tables of fields: strict, complete, and the same rules as the schema that they give."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvsync.errors import InvalidInput, Origin
from kvsync.model.exact_json import read_json
from kvsync.yaml import nodes
from kvsync.yaml.fields import (
    INVALID,
    OMITTED,
    Credential,
    CredentialKind,
    Decoder,
    Field,
    Problems,
    boolean,
    checked,
    choice,
    credential,
    decode,
    duration,
    fields_schema,
    free_json,
    glob,
    integer,
    list_of,
    map_of,
    moment,
    number,
    one_of,
    path,
    percentage,
    record,
    size,
    text,
)
from kvsync.yaml.parse import parse
from kvsync.yaml.problems import nearest


class Colour(StrEnum):
    RED = "red"
    DARK_BLUE = "dark-blue"


def node_of(source: str) -> nodes.Node:
    return parse(source.encode(), "f.yaml")[0]


def read(decoder: Decoder, source: str) -> tuple[Any, list[str]]:
    problems = Problems("f.yaml")
    value = decoder.decode(node_of(source), problems, "it")
    return value, [str(problem) for problem in problems.all()]


def as_json(source: str) -> Any:
    """What an editor's YAML parser (1.2 core schema) hands to its schema checker."""
    node = node_of(source)
    return None if isinstance(node, nodes.Scalar) and node.is_null else free_json().decode(node, Problems("f"), "")


def schema_accepts(decoder: Decoder, source: str) -> bool:
    schema = decoder.schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    return bool(jsonschema.Draft202012Validator(schema).is_valid(as_json(source)))


VALID: list[tuple[Decoder, str, Any]] = [
    (text(), "hello", "hello"),
    (text(), "1.10", "1.10"),
    (text(), "no", "no"),
    (text(), "0755", "0755"),
    (text(), "true", "true"),
    (text(), '"null"', "null"),
    (text(empty=True), '""', ""),
    (text("[a-z]+"), "abc", "abc"),
    (boolean(), "true", True),
    (boolean(), "false", False),
    (integer(), "-12", -12),
    (integer(1, 5), "5", 5),
    (number(0), "1.5", 1.5),
    (number(), "2", 2.0),
    (percentage(), "30", 30.0),
    (percentage(), "12.5%", 12.5),
    (percentage(), "100%", 100.0),
    (duration(), "300ms", 0.3),
    (duration(), "30s", 30.0),
    (duration(), "5m", 300.0),
    (duration(), "2h", 7200.0),
    (duration(), "7d", 604800.0),
    (duration(), "1w", 604800.0),
    (duration(), "1h30m", 5400.0),
    (duration(), "1m5ms", 60.005),
    (duration(), "1.5h", 5400.0),
    (duration(), "0s", 0.0),
    (duration(whole=True), "1h30m", 5400),
    (size(), "512", 512),
    (size(), "64KiB", 65536),
    (size(), "10MB", 10_000_000),
    (choice(Colour), "dark-blue", Colour.DARK_BLUE),
    (moment(), "2026-12-24T00:00:00Z", int(datetime(2026, 12, 24, tzinfo=UTC).timestamp())),
    (moment(), "2026-12-24T01:00:00+01:00", int(datetime(2026, 12, 24, tzinfo=UTC).timestamp())),
    (moment(), "2026-12-23T23:59:59.5Z", int(datetime(2026, 12, 24, tzinfo=UTC).timestamp())),
    (path(), "./logo.png", "./logo.png"),
    (glob(), "tmp/*", "tmp/*"),
    (glob(), "a[!b]c[]]", "a[!b]c[]]"),
    (list_of(integer()), "[1, 2]", (1, 2)),
    (list_of(integer()), "[]", ()),
    (map_of(text()), "{a: x, b: 1}", {"a": "x", "b": "1"}),
    (one_of(text(), list_of(text())), "x", "x"),
    (one_of(text(), list_of(text())), "[x]", ("x",)),
    (record([Field("a", integer())]), "{a: 1}", {"a": 1}),
    (free_json(), "{a: [1, 0x1F, 0o17, 1.5, .5, 1e3, true, False, null, ~, 'no', no, 1.1.1, '12']}", {
        "a": [1, 31, 15, 1.5, 0.5, 1000.0, True, False, None, None, "no", "no", "1.1.1", "12"]}),
]  # fmt: skip

INVALID_TEXTS: list[tuple[Decoder, str, str]] = [
    (text(), "null", "f.yaml:1:1: it: expected text, found null"),
    (text(), "[a]", "f.yaml:1:1: it: expected text, found a list"),
    (text(), '""', 'f.yaml:1:1: it: expected text, found the text "" (must not be empty)'),
    (text("[a-z]+", "lower-case letters"), "ABC", 'f.yaml:1:1: it: expected lower-case letters, found "ABC"'),
    (boolean(), "yes", 'f.yaml:1:1: it: expected true or false, found "yes" (write true)'),
    (boolean(), "Off", 'f.yaml:1:1: it: expected true or false, found "Off" (write false)'),
    (boolean(), "'true'", 'f.yaml:1:1: it: expected true or false, found the text "true" (write true)'),
    (integer(), "1.5", 'f.yaml:1:1: it: expected a whole number, found "1.5"'),
    (integer(), "'1'", 'f.yaml:1:1: it: expected a whole number, found the text "1"'),
    (integer(1, 5), "6", 'f.yaml:1:1: it: expected a whole number from 1 to 5, found "6"'),
    (integer(1), "0", 'f.yaml:1:1: it: expected a whole number of at least 1, found "0"'),
    (number(maximum=1), "x", 'f.yaml:1:1: it: expected a number of at most 1, found "x"'),
    (percentage(), "101", 'f.yaml:1:1: it: expected a percentage from 0 to 100, found "101"'),
    (percentage(), "'30'", 'f.yaml:1:1: it: expected a percentage from 0 to 100, found the text "30"'),
    (
        duration(),
        "30",
        'f.yaml:1:1: it: expected a duration such as 30s, 5m or 1h30m, found "30" (add the unit: 30s)',
    ),
    (
        duration(),
        "5m1h",
        'f.yaml:1:1: it: expected a duration such as 30s, 5m or 1h30m, found "5m1h" (units, largest first: w d h m s ms)',
    ),
    (
        duration(whole=True),
        "300ms",
        'f.yaml:1:1: it: expected a duration such as 30s, 5m or 1h30m, found "300ms" (whole seconds only)',
    ),
    (size(), "10 parsecs", 'f.yaml:1:1: it: expected a size such as 512, 64KiB or 10MB, found "10 parsecs"'),
    (
        choice(Colour),
        "dark_blu",
        'f.yaml:1:1: it: expected one of red, dark-blue, found "dark_blu" (did you mean "dark-blue"?)',
    ),
    (
        moment(),
        "2026-12-24T00:00:00",
        'f.yaml:1:1: it: expected a time such as 2026-12-24T00:00:00Z, found "2026-12-24T00:00:00" '
        "(add the offset from UTC: end it with Z, or with +01:00)",
    ),
    (path(), "{a: b}", "f.yaml:1:1: it: expected a path, found a mapping"),
    (list_of(integer()), "[1, x]", 'f.yaml:1:5: it[1]: expected a whole number, found "x"'),
    (list_of(text(), 1), "[]", "f.yaml:1:1: it: expected at least 1 of: text"),
    (map_of(text(), "[a-z]+"), "{A: x}", 'f.yaml:1:2: it: the name "A" does not match [a-z]+'),
    (one_of(integer(), list_of(integer())), "{}", "f.yaml:1:1: it: expected a whole number, or a list, each item a "
     "whole number, found a mapping"),
    (free_json(), "null", "f.yaml:1:1: it: expected JSON, found null (write the JSON value here; null is allowed inside "
     "it, but not as the whole value)"),
]  # fmt: skip


@pytest.mark.parametrize(("decoder", "source", "value"), VALID)
def test_valid(decoder: Decoder, source: str, value: Any) -> None:
    """What is valid is read to its value without a word, and the schema agrees."""
    assert read(decoder, source) == (value, [])
    assert schema_accepts(decoder, source)


@pytest.mark.parametrize(("decoder", "source", "message"), INVALID_TEXTS)
def test_invalid(decoder: Decoder, source: str, message: str) -> None:
    """What is invalid says where, what was found, what is expected, and how to write it; the schema agrees."""
    _, messages = read(decoder, source)
    assert messages == [message]
    assert not schema_accepts(decoder, source)


def test_no_such_moment() -> None:
    """A day that the calendar does not have is refused."""
    assert "no such date or time" in read(moment(), "2026-02-30T00:00:00Z")[1][0]


@pytest.mark.parametrize("source", ["[a", "a[]", "x[!]"])
def test_glob_that_is_not_closed(source: str) -> None:
    """A bracket that is never closed matches nothing a person meant."""
    assert "unclosed [" in read(glob(), f"'{source}'")[1][0]


@pytest.mark.parametrize("source", [".inf", "-.INF", ".nan", "1e999", "9" * 5000])
def test_json_has_no_such_number(source: str) -> None:
    """Numbers that JSON or Python cannot hold are refused with a hint, deep inside too."""
    value, messages = read(free_json(), f"{{a: [{source}]}}")
    assert value is INVALID
    assert messages[0].startswith("f.yaml:1:6: it.a[0]: ")
    assert "quote it" in messages[0]


@given(st.recursive(
    st.none() | st.booleans() | st.integers(-(10**15), 10**15) | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(min_size=1), inner, max_size=3),
    max_leaves=8,
))  # fmt: skip
def test_json_round_trip(data: Any) -> None:
    """JSON text is YAML: nodes of it decode to the same data."""
    assert _through_nodes(data) == ([read_json(json.dumps(data))], [])


def _through_nodes(data: Any) -> tuple[Any, list[str]]:
    problems = Problems("f")
    value = free_json().decode(_node([data]), problems, "")
    return value, [str(problem) for problem in problems.all()]


def _node(data: Any) -> nodes.Node:
    if isinstance(data, dict):
        return nodes.Mapping({key: (nodes.Scalar(key, False, 1, 1), _node(item)) for key, item in data.items()}, 1, 1)
    if isinstance(data, list):
        return nodes.Sequence([_node(item) for item in data], 1, 1)
    if isinstance(data, str):
        return nodes.Scalar(data, False, 1, 1)
    words = {None: "null", True: "true", False: "false"}
    plain = words[data] if data is None or isinstance(data, bool) else repr(data)
    return nodes.Scalar(plain, True, 1, 1)


@given(
    st.lists(
        st.tuples(st.sampled_from(["w", "d", "h", "m", "s"]), st.integers(0, 10**6)),
        min_size=1,
        unique_by=lambda p: p[0],
    )
)
def test_durations_add_up(parts: list[tuple[str, int]]) -> None:
    """A duration is the sum of its parts, whatever parts there are."""
    seconds = {"w": 604800, "d": 86400, "h": 3600, "m": 60, "s": 1}
    ordered = sorted(parts, key=lambda part: -seconds[part[0]])
    written = "".join(f"{count}{unit}" for unit, count in ordered)
    assert read(duration(whole=True), written) == (sum(seconds[unit] * count for unit, count in parts), [])


@pytest.mark.parametrize(
    ("source", "kind", "name"),
    [
        ("{env: API_TOKEN}", CredentialKind.ENV, "API_TOKEN"),
        ("{file: /run/x}", CredentialKind.FILE, "/run/x"),
        ("{credential: cf-token}", CredentialKind.CREDENTIAL, "cf-token"),
    ],
)
def test_credential(source: str, kind: CredentialKind, name: str) -> None:
    """A credential is a reference, with the place it was written."""
    value, messages = read(credential(), source)
    assert (value.kind, value.name, messages) == (kind, name, [])
    assert isinstance(value, Credential)
    assert value.origin == Origin("f.yaml", 1, source.index(": ") + 3)
    assert schema_accepts(credential(), source)


@pytest.mark.parametrize(
    "source", ["s3cr3t", "'s3cr3t'", "{value: s3cr3t}", "{env: s3cr3t!}", "{env: [s3cr3t]}", "{env: A, file: s3cr3t}",
               "[s3cr3t]", "{credential: ../s3cr3t}"]
)  # fmt: skip
def test_credential_never_repeats(source: str) -> None:
    """Whatever stands where a reference should, no message repeats it, for it may be the secret."""
    value, messages = read(credential(), source)
    assert value is INVALID
    assert len(messages) == 1
    assert "s3cr3t" not in messages[0]
    assert not schema_accepts(credential(), source)


def test_literal_secret_says_how() -> None:
    """A literal secret is an error that says how to write a reference."""
    assert read(credential(), "hunter2")[1] == [
        "f.yaml:1:1: it: secrets are not allowed in this file (write {env: NAME}, {file: PATH} or {credential: NAME})"
    ]


FIELDS = (
    Field("path", path(), required=True, help="The file."),
    Field("timeout", duration(), default=30.0),
    Field("create", boolean(), default=OMITTED),
    Field("inner", record([Field("depth", integer())])),
)


def test_decode_gives_every_field() -> None:
    """Every field has a value, written or default, and fields without any are left out."""
    problems = Problems("f.yaml")
    assert decode(node_of("{path: x}"), FIELDS, problems) == {"path": "x", "timeout": 30.0, "inner": None}
    assert not problems


def test_decode_says_everything_at_once() -> None:
    """Unknown, missing, null and wrong fields, deep ones too, all in one go, in the order of the file."""
    problems = Problems("f.yaml")
    values = decode(node_of("pth: x\ntimeout: fast\ncreate:\ninner:\n  dept: 3\n"), FIELDS, problems, "stores.edge")
    assert [str(problem) for problem in problems.all()] == [
        'f.yaml:1:1: stores.edge: missing field "path" (The file.)',
        'f.yaml:1:1: stores.edge: unknown field "pth" (did you mean "path"?)',
        'f.yaml:2:10: stores.edge.timeout: expected a duration such as 30s, 5m or 1h30m, found "fast" '
        "(units, largest first: w d h m s ms)",
        "f.yaml:3:8: stores.edge.create: expected true or false, found nothing",
        'f.yaml:5:3: stores.edge.inner: unknown field "dept" (did you mean "depth"?)',
    ]
    assert values == {"path": None, "timeout": 30.0, "inner": {"depth": None}}
    with pytest.raises(InvalidInput) as caught:
        problems.raise_if_any()
    assert caught.value.problems == problems.all()


def test_a_name_far_from_all_lists_them() -> None:
    """When nothing is near to an unknown name, the valid ones are listed."""
    problems = Problems("f.yaml")
    decode(node_of("{path: x, zzz: 1}"), FIELDS, problems)
    assert problems.all()[0].hint == "valid names: create, inner, path, timeout"


def test_decode_needs_a_mapping() -> None:
    """Where a mapping should stand, anything else is one error, and the defaults come back."""
    problems = Problems("f.yaml")
    assert decode(node_of("[1]"), FIELDS, problems)["timeout"] == 30.0
    assert [str(problem) for problem in problems.all()] == [
        "f.yaml:1:1: expected a mapping, found a list (its fields: path, timeout, create, inner)"
    ]


def test_checked_sees_the_whole() -> None:
    """A check over several fields runs after they are read, and its rules join the schema."""

    def check(value: Any, node: nodes.Node, problems: Problems, what: str) -> None:
        if len(value) > 1:
            problems.add(f"{what}: too many", node)

    decoder = checked(list_of(integer()), check, {"maxItems": 1})
    assert read(decoder, "[1, 2]")[1] == ["f.yaml:1:1: it: too many"]
    assert not schema_accepts(decoder, "[1, 2]")
    assert schema_accepts(decoder, "[1]")


def test_schema_of_fields() -> None:
    """A table of fields is an object schema with helps, required names and no room for others."""
    schema = fields_schema(FIELDS)
    assert schema["required"] == ["path"]
    assert schema["additionalProperties"] is False
    assert schema["properties"]["path"]["description"] == "The file."


@given(st.text())
def test_messages_stay_on_one_line(written: str) -> None:
    """A message is one line of printable characters, whatever stands in the file."""
    problems = Problems("f")
    integer().decode(nodes.Scalar(written, False, 1, 1), problems, "it")
    assert all(character.isprintable() for character in str(problems.all()[0]))


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("api_token", "token"),
        ("pth", "path"),
        ("base-path", "path"),
        ("delete_namespace", "delete_namespaces"),
        ("apikey", "api_key"),
        ("zzz", None),
    ],
)
def test_the_nearest_name_is_a_slip_or_a_word_of_it(written: str, meant: str | None) -> None:
    """A name that another program uses leads to the field with its last word, and not to one that has many letters of it."""
    assert nearest(written, ["api_key", "delete_namespaces", "namespaces", "path", "token"]) == meant
