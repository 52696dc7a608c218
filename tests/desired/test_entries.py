"""The forms an entry may take, and what is said of those that make no sense."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kvsync.errors import Origin
from kvsync.model.entry import Identity, Mode, Target
from tests.desired.conftest import CONFIG, WEB, Repo
from tests.support.examples import examples

DAY = 86400


def test_scalars_are_kept_as_written(repo: Repo) -> None:
    """The short form is the text in the file, whatever YAML would make of it elsewhere."""
    repo.web('keys: {a: 1.10, b: no, c: 0755, d: 12:30, e: "", f: "null", g: "1"}\n')
    assert repo.values() == {"a": "1.10", "b": "no", "c": "0755", "d": "12:30", "e": "", "f": "null", "g": "1"}


@settings(max_examples=examples(60), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(value=st.text(st.characters(min_codepoint=32, max_codepoint=0x2FFF, exclude_characters="\x7f\x85\u2028\u2029")))
def test_any_single_quoted_text_is_the_value(repo: Repo, value: str) -> None:
    """Between single quotes every character is itself."""
    value = "".join(char for char in value if not "\x7f" <= char <= "\x9f")
    written = value.replace("'", "''")
    repo.web(f"keys: {{a: '{written}'}}\n")
    assert repo.content("a").value == value.encode()


def test_every_form_of_value(repo: Repo) -> None:
    """Text, data, a file, Base64 and a variable come to bytes."""
    repo.environ["API_TOKEN"] = "s3cret-token"
    repo.write("state/logo.png", b"\x89PNG\0")
    repo.web("""
        keys:
          text: {value: x}
          data: {json: {b: [1, 2.5, true, null, "1", yes], a: é}}
          logo: {file: ./logo.png}
          blob: {base64: "AAEC"}
          folded: {base64: "AAEC\\n  AwQ="}
          token: {env: API_TOKEN}
        """)
    entries = {identity.key: entry for identity, entry in repo.entries().items()}
    values = {key: entry.content.value for key, entry in entries.items()}
    assert values == {
        "text": b"x",
        "data": '{"a":"é","b":[1,2.5,true,null,"1","yes"]}'.encode(),
        "logo": b"\x89PNG\0",
        "blob": b"\0\1\2",
        "folded": b"\0\1\2\3\4",
        "token": b"s3cret-token",
    }
    assert [key for key, entry in entries.items() if entry.sensitive] == ["token"]
    assert [key for key, entry in entries.items() if entry.json] == ["data"]
    assert entries["data"].content.content_type == "application/json"
    assert entries["text"].content.content_type is None


def test_every_option(repo: Repo) -> None:
    """What is said next to the value arrives in the entry, with the place of its key."""
    repo.web("""
        keys:
          a: {value: x, ttl: 1h30m, renew_before: 10m, protected: true, mode: create-only}
          b: {value: x, expires_at: 2026-12-24T00:00:00Z, sensitive: true, mode: observe}
          c: {value: x, content_type: text/html, tags: {b: "2", a: 1}, metadata: {region: eu, n: 1}}
          d: {value: x, expires_at: 1999-01-01T01:00:00+01:00}
        """)
    entries = {identity.key: entry for identity, entry in repo.entries().items()}
    a, b, c = entries["a"], entries["b"], entries["c"]
    assert (a.ttl, a.renew_before, a.protected, a.mode) == (5400, 600, True, Mode.CREATE_ONLY)
    assert a.origin == Origin("state/web.yaml", 5, 3)
    assert (b.ttl, b.expires_at, b.sensitive, b.mode) == (None, 1798070400, True, Mode.OBSERVE)
    assert c.content[1:] == ("text/html", (("a", "1"), ("b", "2")), '{"n":1,"region":"eu"}', None)
    assert entries["d"].expires_at == 915148800


def test_defaults_hold_where_an_entry_is_silent(repo: Repo) -> None:
    """An entry's own line wins; tags are added; an end of life replaces the other kind; `none` takes a ttl away."""
    repo.web("""
        defaults: {ttl: 7d, renew_before: 1d, tags: {team: web, tier: low}, content_type: text/plain, protected: true}
        keys:
          plain: x
          own: {value: x, ttl: 3d, tags: {tier: high}, protected: false, content_type: text/html}
          ends: {value: x, expires_at: 2030-01-01T00:00:00Z}
          stays: {value: x, ttl: none}
          data: {json: 1}
        """)
    found = {identity.key: entry for identity, entry in repo.entries().items()}
    assert (found["plain"].ttl, found["plain"].renew_before, found["plain"].protected) == (7 * DAY, DAY, True)
    assert found["plain"].content[1:3] == ("text/plain", (("team", "web"), ("tier", "low")))
    assert (found["own"].ttl, found["own"].protected) == (3 * DAY, False)
    assert found["own"].content[1:3] == ("text/html", (("team", "web"), ("tier", "high")))
    assert (found["ends"].ttl, found["ends"].renew_before, found["ends"].expires_at) == (None, None, 1893456000)
    assert (found["stays"].ttl, found["stays"].renew_before) == (None, None)
    assert found["data"].content.content_type == "application/json"


def test_sensitive_by_default_covers_plain_text(repo: Repo) -> None:
    """`sensitive` among the defaults reaches the short form, and the redactor hears of the values."""
    repo.web("defaults: {sensitive: true}\nkeys: {pin: hush-hush}\n")
    loaded = repo.load()
    assert loaded.targets[WEB].entries[Identity("pin")].sensitive
    assert loaded.secrets == ("hush-hush",)


def test_labels(repo: Repo) -> None:
    """A value next to labels is the entry without one; labels alone make none; a list gives one value to each label."""
    repo.web("""
        keys:
          theme: {value: light, ttl: 2h, labels: {prod: dark, dev: {value: neon, ttl: 1h}, same: {protected: true}}}
          only: {labels: {a: 1, b: {json: [2]}}, tags: {t: v}}
          many: {value: x, labels: [p, q]}
        """)
    entries = repo.entries()
    assert {str(identity): (entry.content.value, entry.ttl) for identity, entry in entries.items()} == {
        "theme": (b"light", 7200),
        "theme [prod]": (b"dark", 7200),
        "theme [dev]": (b"neon", 3600),
        "theme [same]": (b"light", 7200),
        "only [a]": (b"1", None),
        "only [b]": (b"[2]", None),
        "many [p]": (b"x", None),
        "many [q]": (b"x", None),
    }
    assert entries[Identity("theme", "same")].protected
    assert entries[Identity("only", "b")].content.tags == (("t", "v"),)
    assert entries[Identity("theme", "prod")].origin == Origin("state/web.yaml", 5, 43)


def test_labels_inherit_secrecy(repo: Repo) -> None:
    """What is said to be sensitive is so under every label, and a label may take over the parent's variable."""
    repo.environ["T"] = "tok-1234"
    repo.web("keys: {a: {value: x, sensitive: true, labels: {l: y}}, b: {env: T, labels: {l: {ttl: 1h}, m: open}}}\n")
    assert {str(identity): entry.sensitive for identity, entry in repo.entries().items()} == {
        "a": True,
        "a [l]": True,
        "b": True,
        "b [l]": True,
        "b [m]": False,
    }


def test_one_key_for_each_file(repo: Repo) -> None:
    """The key is the prefix and the path under `path`; hidden files and others than the glob's are left out."""
    for name in ("a.html", "sub/b.html", "sub/.hidden.html", "c.txt"):
        repo.write(f"state/banners/{name}", f"<{name}>")
    repo.web("""
        defaults: {tags: {a: b}}
        files:
          - {path: banners, glob: "**/*.html", prefix: "banner/", content_type: text/html, ttl: 1h}
          - {path: ./banners, glob: "*.txt"}
        """)
    entries = repo.entries()
    assert {str(identity): entry.content.value for identity, entry in entries.items()} == {
        "banner/a.html": b"<a.html>",
        "banner/sub/b.html": b"<sub/b.html>",
        "c.txt": b"<c.txt>",
    }
    first = entries[Identity("banner/a.html")]
    assert (first.content.content_type, first.content.tags, first.ttl) == ("text/html", (("a", "b"),), 3600)


def test_several_stores_hold_the_same(repo: Repo) -> None:
    """`stores` fans a document out."""
    repo.write("state/x.yaml", "stores: [edge, core]\nnamespace: web\nkeys: {a: 1}\n")
    assert repo.values(WEB) == repo.values(Target("core", "web")) == {"a": "1"}


def test_several_documents_and_files_make_one_target(repo: Repo) -> None:
    """Documents of one target are put together, those of another stay apart."""
    repo.write(
        "state/a.yaml", "store: edge\nnamespace: web\nkeys: {a: 1}\n---\nstore: edge\nnamespace: api\nkeys: {a: 2}\n"
    )
    repo.web("keys: {b: 3}\n", "state/deep/er/b.yaml")
    assert repo.values() == {"a": "1", "b": "3"}
    assert repo.values(Target("edge", "api")) == {"a": "2"}


WRONG = [
    ("a:", "4:5: keys.a: a value must not be null (for an empty value, write \"\")"),
    ("a: ~", "4:6: keys.a: a value must not be null (for an empty value, write \"\")"),
    ("a: {value: null}", "4:14: keys.a.value: a value must not be null (for an empty value, write \"\")"),
    ("a: [x]", "4:6: keys.a: expected a value, found a list (to store a list, write {json: […]})"),
    ("a: {rps: 10}", "4:6: keys.a: unknown field \"rps\" (to store data, write {json: …}; valid names: "),
    ("a: {value: x, tll: 1h}", "4:17: keys.a: unknown field \"tll\" (did you mean \"ttl\"?)"),
    ("a: {ttl: 1h}", "4:6: keys.a: the entry has no value (write one of "
     "value, template, json, file, base64, env, sops, feature)"),
    ("a: {}", "4:6: keys.a: the entry has no value"),
    ("a: {value: x, json: 1}", "4:17: keys.a: value and json cannot be combined"),
    ("a: {value: {b: c}}", "4:14: keys.a.value: expected text, found data (for data, use json: instead of value:)"),
    ("a: {json: .inf}", "4:13: keys.a.json: JSON does not support infinity"),
    ("a: {base64: '*secret*'}", "4:15: keys.a.base64: invalid Base64"),
    ("a: {env: NOT_SET}", "4:12: keys.a.env: the environment variable NOT_SET is not set"),
    ("a: {env: 'no name'}", "4:12: keys.a.env: expected the name of an environment variable"),
    (
        "a: {file: missing.txt}",
        '4:13: keys.a.file: "missing.txt": it does not exist (paths are relative to the folder of this file; this one is '
        '"state/missing.txt")',
    ),
    ("a: {file: /etc/passwd}", "4:13: keys.a.file: \"/etc/passwd\" is absolute (use a path relative to this file)"),
    ("a: {file: ../../x}", "4:13: keys.a.file: \"../../x\": it is outside the folder of the configuration"),
    ("a: {file: .}", "4:13: keys.a.file: \".\": it is not a file"),
    ("a: {value: x, ttl: 1h, expires_at: 2030-01-01T00:00:00Z}", "4:6: keys.a: ttl and expires_at cannot be combined"),
    ("a: {value: x, renew_before: 1h}", "4:6: keys.a: renew_before needs a ttl"),
    ("a: {value: x, ttl: 1h, renew_before: 2h}", "4:6: keys.a: renew_before must be shorter than the ttl of 3600s"),
    ("a: {value: x, ttl: 30}", "4:22: keys.a.ttl: expected a duration such as 30s, 5m or 1h30m, at least 1s (or none), found"),
    ("a: {value: x, ttl: 0s}", "4:22: keys.a.ttl: expected a duration"),
    ("a: {value: x, expires_at: tomorrow}", "4:29: keys.a.expires_at: expected a time"),
    ("a: {value: x, mode: create}", "4:23: keys.a.mode: expected one of enforce, create-only, observe"),
    ("a: {value: x, protected: yes}", "4:28: keys.a.protected: expected true or false, found \"yes\" (write true)"),
    ("a: {value: x, tags: [b]}", "4:23: keys.a.tags: expected a mapping"),
    ("a: {value: x, labels: {}}", ""),
    ("a: {labels: {}}", "4:15: keys.a.labels: expected labels"),
    ("a: {labels: [l]}", "4:15: keys.a.labels: a list of labels needs a value"),
    ("a: {value: x, labels: [l, l]}", "4:29: keys.a.labels: the label \"l\" is listed twice"),
    ("a: {labels: {'': x}}", "4:16: keys.a.labels: a label must not be empty"),
    ("a: {labels: {l: }}", "4:19: keys.a.labels.l: a value must not be null"),
    ("a: {labels: {l: {ttl: 1h}}}", "4:19: keys.a.labels.l: the label has no value"),
    ("a: {labels: {l: {value: x, labels: {}}}}", "4:30: keys.a.labels.l: unknown field \"labels\""),
    ("a: {remove: true}", "4:7: keys.a: remove is only allowed in overlays"),
    ("'': x", "4:3: edge/web: : a key must not be empty"),
    ("..: x", "4:3: edge/web: ..: the remote key would be \"..\", which stores cannot address"),
    (".: x", "4:3: edge/web: .: the remote key would be \".\", which stores cannot address"),
]  # fmt: skip


@pytest.mark.parametrize(("line", "said"), WRONG, ids=[line for line, _ in WRONG])
def test_what_makes_no_sense_is_reported_with_its_place(repo: Repo, line: str, said: str) -> None:
    """Each mistake has one message, at its line and column, which says what to do."""
    repo.web(f"keys:\n  {line}\n")
    found = repo.problems()
    if not said:
        assert found == []
        return
    assert found[0].startswith(f"state/web.yaml:{said}"), found
    assert {problem.split(": ")[0] for problem in found} == {found[0].split(": ")[0]}


def test_a_secret_never_stands_in_a_message(repo: Repo) -> None:
    """Values of wrong form are not repeated, since they may be what must not be shown."""
    repo.environ["T"] = "hush-hush-1"
    repo.web("""
        keys:
          a: {base64: hush-hush-2}
          b: {env: hush-hush-3}
          c: {json: .nan, sensitive: true}
          d: {env: T, sensitive: false}
          e: {value: [hush-hush-4]}
        """)
    loaded = repo.load()
    assert len(loaded.problems) == 5
    assert "hush" not in "".join(str(problem) for problem in loaded.problems)
    assert "hush" not in repr(loaded)


def test_all_problems_of_all_files_come_at_once(repo: Repo) -> None:
    """Nothing hides behind the first mistake."""
    repo.web("keys: {a: , b: {env: X}}\nunknown: 1\n", "state/a.yaml")
    repo.web("keys: {c: }\n", "state/b.yaml")
    assert [problem.split(": ")[0] for problem in repo.problems()] == [
        "state/a.yaml:3:11", "state/a.yaml:3:22", "state/a.yaml:4:1", "state/b.yaml:3:11",
    ]  # fmt: skip


def test_a_broken_value_costs_one_message_under_two_stores(repo: Repo) -> None:
    """A mistake in the file is reported once, however many stores would get it."""
    repo.write("state/x.yaml", "stores: [edge, core]\nnamespace: web\nkeys: {a: }\n")
    assert len(repo.problems()) == 1


def test_labels_by_key_format(repo: Repo) -> None:
    """Where a store has no labels, key_format carries them, or validation says that it must."""
    from dataclasses import replace

    repo.capabilities = replace(repo.capabilities, labels=False)
    repo.web("keys: {a: {labels: {prod: x}}}\n")
    assert "{label}/{key}" in repo.problems()[0]
    repo.write(
        "kvsync.yaml", CONFIG.replace("edge: {type: memory}", 'edge: {type: memory, key_format: "{label}/{key}"}')
    )
    assert repo.values() == {"a [prod]": "x"}


def test_the_order_of_entries(repo: Repo) -> None:
    """`after` takes keys, or `all`; a label has the order of its entry, and so have files."""
    repo.write("state/pages/x", b"x")
    repo.web("""
        keys:
          a: {value: "1", after: [b, p/x]}
          b: {value: "1", labels: {prod: "2"}}
          sentinel: {value: "1", after: all, labels: [prod]}
        files: [{path: pages, prefix: p/, after: [b]}]
        """)
    orders = {str(identity): (entry.after, entry.after_all) for identity, entry in repo.entries().items()}
    assert orders == {
        "a": (("b", "p/x"), False),
        "b": ((), False),
        "b [prod]": ((), False),
        "sentinel [prod]": ((), True),
        "p/x": (("b",), False),
    }


def test_orders_that_cannot_be_kept_are_errors(repo: Repo) -> None:
    """An unknown key, a circle, an entry before what is last, and a move to it: each at its place, in all files together."""
    repo.web("""\
        keys:
          a: {value: "1", after: [b, sentinal]}
          b: {value: "1", after: [c]}
          sentinel: {value: "1", after: all}
          d: {value: "1", after: [sentinel]}
          e: {value: "1", after: a}
        moved: [{from: old, to: sentinel}]
        """)
    repo.web("keys: {c: {value: x, after: [a]}}\n", "state/more.yaml")
    assert repo.problems() == [
        'state/more.yaml:3:8: after: these entries wait for each other: "c" after "a" after "b" after "c" (remove one of them)',
        'state/web.yaml:4:3: after: "sentinal" is not among the keys of edge/web (did you mean "sentinel"?)',
        'state/web.yaml:7:3: after: "sentinel" is written after everything else, and so after this entry, too '
        '(remove it from this list, or remove after: all from "sentinel")',
        'state/web.yaml:8:26: keys.e.after: expected all, or a list of keys, found "a" (for one key, write [a])',
        'state/web.yaml:9:9: "sentinel" is written after everything else, and so after "old" is gone '
        "(remove this line, so that the old key is deleted first, or remove after: all)",
    ]


@pytest.mark.parametrize(
    "broken",
    [
        "keys: {b: {vale: x}}",
        "keys: {c: {vale: x}}\nfiles: [{path: pages}]",
        "kyes: {b: x}",
        "keys:\n  - b",
        "keys: {b: '",
        "",
    ],
    ids=["entry", "files", "field", "list", "syntax", "none"],
)
def test_keys_that_a_broken_file_may_write_are_not_missed(repo: Repo, broken: str) -> None:
    """`after` and `moved` may name a key of a file that has problems of its own: nothing else is reported."""
    repo.write("state/pages/b", b"x")
    repo.web("keys: {a: {value: x, after: [b]}}\nmoved: [{from: z, to: b}]\n")
    repo.write("state/more.yaml", f"store: edge\nnamespace: web\n{broken}\n")
    assert {problem.partition(":")[0] for problem in repo.problems()} == {"state/more.yaml"}


TOO_MUCH = {
    "hexadecimal": (f"json: {{n: 0x{'f' * 3990}}}", "4:17: keys.a.json.n: a number of more than 4000 digits"),
    "octal": (f"json: 1, metadata: {{n: 0o{'7' * 4500}}}", ".metadata.n: a number of more than 4000 digits"),
    "moment": ("value: x, expires_at: 9999-12-31T23:59:59-23:59", "the years from 1 to 9999, in UTC, are allowed"),
    "fraction": ("value: x, expires_at: 9999-12-31T23:59:59.5Z", "the years from 1 to 9999, in UTC, are allowed"),
    "first": ("value: x, expires_at: 0001-01-01T00:00:00+00:01", "the years from 1 to 9999, in UTC, are allowed"),
    "ttl": ("value: x, ttl: 2500000d1s", "at most 2500000d are allowed; if the entry must not expire, write none"),
    "type": (f"value: x, content_type: {'x' * 1001}", "expected a media type of at most 1,000 characters"),
}


@pytest.mark.parametrize(("written", "said"), TOO_MUCH.values(), ids=list(TOO_MUCH))
def test_what_could_not_be_shown_later_is_refused(repo: Repo, written: str, said: str) -> None:
    """Numbers that Python does not write, moments that have no date, and types of any length are errors at their place."""
    repo.web(f"keys:\n  a: {{{written}}}\n")
    (problem,) = repo.problems()
    assert problem.startswith("state/web.yaml:4:")
    assert said in problem
