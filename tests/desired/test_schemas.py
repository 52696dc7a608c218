"""Schemas: values are checked before they are written, and errors point into the value."""

from __future__ import annotations

from pathlib import Path

import pytest

from kvsync.model.entry import Target
from tests.desired.conftest import CONFIG, WEB, Repo

FLAG = """\
{"type": "object", "required": ["on"], "additionalProperties": false,
 "properties": {"on": {"type": "boolean"},
                "since": {"type": "string", "format": "date"}, "ids": {"items": {"type": "integer"}}}}
"""
RULE = 'schemas: [{stores: [edge], keys: "flags/*", schema: schemas/flag.json}]\n'


@pytest.fixture(autouse=True)
def rule(repo: Repo) -> None:
    repo.write("kvsync.yaml", CONFIG + RULE)
    repo.write("schemas/flag.json", FLAG)


def test_errors_point_into_the_value_and_are_all_reported(repo: Repo) -> None:
    """Each mistake has the line and column where it is written; a text or a file has those of its key."""
    repo.write("state/c.json", '{"on": 1}')
    repo.web("""
        keys:
          flags/a:
            json:
              on: "yes"
              since: yesterday
              ids: [1, two]
          flags/b: {json: {off: true, odd: 1}}
          flags/c: {file: c.json}
          flags/d: Hello
          other: Hello
    """)
    assert [line.partition(" (")[0] for line in repo.problems()] == [
        'state/web.yaml:7:11: keys.flags/a.on: the value is not of type "boolean"',
        'state/web.yaml:8:14: keys.flags/a.since: the value is not a "date"',
        'state/web.yaml:9:16: keys.flags/a.ids[1]: the value is not of type "integer"',
        "state/web.yaml:10:19: keys.flags/b: \"on\" is a required property",
        "state/web.yaml:10:20: keys.flags/b.off: Additional properties are not allowed",
        "state/web.yaml:10:31: keys.flags/b.odd: Additional properties are not allowed",
        'state/web.yaml:11:3: keys.flags/c.on: the value is not of type "boolean"',
        "state/web.yaml:12:3: keys.flags/d: the value is not JSON",
    ]  # fmt: skip


def test_rules_choose_stores_namespaces_and_keys(repo: Repo) -> None:
    """A rule checks only what all its globs match."""
    repo.write("kvsync.yaml", CONFIG + RULE.replace("stores: [edge]", "stores: ['c*'], namespaces: [web]"))
    repo.web("keys: {flags/a: x}\n")
    repo.write("state/core.yaml", "store: core\nnamespace: web\nkeys: {flags/a: {json: {on: true}}}\n")
    assert repo.problems() == []
    repo.write("state/core.yaml", "stores: [edge, core]\nnamespace: web\nkeys: {flags/b: x}\n")
    assert len(repo.problems()) == 1


def test_sensitive_values_are_not_repeated(repo: Repo) -> None:
    """Of a secret, the message says which rule it breaks and nothing else."""
    repo.web("keys: {flags/a: {json: {hunter2: hunter2}, sensitive: true}}\n")
    assert "hunter2" not in " ".join(repo.problems())
    assert "the value does not match the schema (additionalProperties)" in " ".join(repo.problems())


def test_a_changed_schema_reaches_files_that_did_not_change(repo: Repo) -> None:
    """A loader that runs on, and one with a cache, check by the schema as it is now."""
    repo.cache = repo.root / "cache.db"
    repo.web("keys: {flags/a: {json: {on: true}}}\n")
    source = repo.source()
    assert source.load().problems == ()
    assert str(repo.root / "schemas") in source.load().watch.directories
    repo.write("schemas/flag.json", FLAG.replace("boolean", "string"))
    assert len(source.load().problems) == len(repo.problems()) == 1


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        (None, "schemas/flag.json:1:1: cannot read the schema: No such file or directory"),
        ("{", "schemas/flag.json:"),
        ("[]", "schemas/flag.json:1:1: a JSON Schema must be a mapping"),
        ('{"type": "strin"}', "schemas/flag.json:1:1: not a usable JSON Schema: "),
        ('{"$ref": "https://example.com/flag.json"}', "schemas/flag.json:1:1: not a usable JSON Schema: Resource"),
        ('{"$ref": "file:///etc/passwd"}', "schemas/flag.json:1:1: not a usable JSON Schema: Resource"),
        ('{"pattern": "(?=a)b"}', "schemas/flag.json:1:1: not a usable JSON Schema: "),
        ('{"format": "datum"}', "schemas/flag.json:1:1: not a usable JSON Schema: Unknown format: 'datum'"),
    ],
)
def test_unusable_schema_holds_only_the_targets_it_checks(repo: Repo, schema: str | None, expected: str) -> None:
    """What cannot be checked is not written; everything else goes on. No schema is ever fetched."""
    if schema is None:
        (repo.root / "schemas/flag.json").unlink()
    else:
        repo.write("schemas/flag.json", schema)
    repo.web("keys: {flags/a: {json: {on: true}}}\n")
    repo.write("state/other.yaml", "store: edge\nnamespace: other\nkeys: {a: x}\n")
    loaded = repo.load()
    assert [str(problem).startswith(expected) for problem in loaded.problems] == [True]
    assert set(loaded.held) == {WEB}
    assert Target("edge", "other") in loaded.targets


def test_patterns_cannot_take_long(repo: Repo) -> None:
    """A pattern that would backtrack without end is matched in linear time."""
    repo.write("schemas/flag.json", '{"pattern": "^(a+)+$"}')
    repo.web(f"keys: {{flags/a: {{json: '{'a' * 50_000}!'}}}}\n")
    [found] = repo.problems()
    assert "does not match" in found


def test_numbers_are_checked_exactly(repo: Repo) -> None:
    """Integers and decimals of any length are compared by their value."""
    repo.write("schemas/flag.json", '{"type": "integer", "minimum": 100000000000000000000000}')
    repo.web("keys: {flags/a: {json: 100000000000000000000000}, flags/b: {json: 99999999999999999999999}}\n")
    [found] = repo.problems()
    assert "keys.flags/b" in found


def test_json_content_type_needs_json(repo: Repo) -> None:
    """A value that says it is JSON is parsed before it is written, whatever form it is written in."""
    repo.web("""
        keys:
          a: {value: '{"a": 1', content_type: application/json}
          b: {value: '{"a": 1}', content_type: application/vnd.x+json;charset=utf-8}
          c: {base64: "AAEC", content_type: application/problem+json}
          d: {value: '{', content_type: text/plain}
    """)
    assert [line.partition(" (")[0] for line in repo.problems()] == [
        "state/web.yaml:5:3: keys.a: content_type is application/json, but the value is not JSON",
        "state/web.yaml:7:3: keys.c: content_type is application/problem+json, but the value is not JSON",
    ]


def test_rules_name_existing_stores(repo: Repo, tmp_path: Path) -> None:
    """A misspelt store in a rule would check nothing."""
    from kvsync.app.configuration import read_config
    from kvsync.errors import InvalidInput

    repo.write("kvsync.yaml", CONFIG + RULE.replace("edge", "egde"))
    with pytest.raises(InvalidInput, match=r"schemas\[0\].stores: no store matches \"egde\""):
        read_config(repo.root / "kvsync.yaml", environ={})
