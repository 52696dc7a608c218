"""`kvsync set` and `kvsync fmt`: state files change in one place, and keep comments, order and layout."""

from __future__ import annotations

import re

import pytest

from tests.cli.conftest import CONFIGURATION, Repo

STATE = """\
# Texts of the shop.
store:   local      # where they are
namespace: web

keys:
  greeting:   "Hello"    # shown on top

  # in seconds
  timeout: 30
  limits: {json: {rps: 10}}
  promo:
    value: x
    ttl: 7d            # a week
  theme: {value: light, labels: {prod: dark, "dev": {value: neon}}}
  token: {env: TOKEN}
  about: {value: y, sensitive: true}
  about2: {value: x, tags: {a: one, b: two}}
"""


@pytest.fixture
def files(repo: Repo) -> Repo:
    repo.write("kvsync.yaml", f"{CONFIGURATION}environments: [dev, prod]\n")
    repo.write("state/web.yaml", STATE)
    return repo


CHANGES = [
    (("timeout", "45"), "  timeout: 30\n", "  timeout: 45\n"),
    (("timeout", "1.10"), "  timeout: 30\n", "  timeout: 1.10\n"),
    (("promo", "a: b"), "    value: x\n", '    value: "a: b"\n'),
    (("promo", "x", "--ttl", "2h"), "    ttl: 7d            # a week\n", "    ttl: 2h            # a week\n"),
    (
        ("promo", "x", "--expires-at", "2037-01-01T00:00:00Z"),
        "    ttl: 7d            # a week\n",
        "    expires_at: 2037-01-01T00:00:00Z\n",
    ),
    (("timeout", "30", "--ttl", "none"), "timeout: 30\n", 'timeout: {value: "30", ttl: none}\n'),
    (("timeout", "45", "--description", "in s"), "timeout: 30\n", 'timeout: {value: "45", description: "in s"}\n'),
    (
        ("timeout", "30", "--tag", "a=b=c", "--content-type", "text/css", "--metadata", '{"n": 1.50}'),
        "timeout: 30\n",
        'timeout: {value: "30", content_type: "text/css", metadata: {"n": 1.5}, tags: {"a": "b=c"}}\n',
    ),
    (("about2", "x", "--tag", "a=2", "--remove-tag", "b"), "{a: one, b: two}", "{a: 2}"),
    (("limits", '{"rps": 20, "b": [1]}'), "{json: {rps: 10}}", '{json: {"rps": 20, "b": [1]}}'),
    (("theme", "blue", "--label", "prod"), "{prod: dark,", "{prod: blue,"),
    (("theme", "blue", "--label", "dev"), "{value: neon}", "{value: blue}"),
]


@pytest.mark.parametrize(("words", "old", "new"), CHANGES)
def test_set_changes_one_value_and_nothing_else(files: Repo, words: tuple[str, ...], old: str, new: str) -> None:
    """The file differs in that value only, whatever form the entry has."""
    files.run("set", "local/web", *words, env={"TOKEN": "x"})
    assert (files.root / "state/web.yaml").read_text() == STATE.replace(old, new)


WIDE = """\
# Read this first.
%YAML 1.2
---
store: local
namespace: web
keys:
    a:   1   # one
    b: {json: [1,
               2]}
    c:
        value: >-
            folded
            text
    d:
        json:
        - 1
        -  2
    e: |
        # a text

    # the end
files:
- path: pages
---
store: local
namespace: other
keys: {x: 1, # two
  y: 2}
"""
FLOW = "store: local\nnamespace: web\nkeys: {x: 1, # two\n  y: 2}\n"


@pytest.mark.parametrize(
    ("words", "old", "new"),
    [
        (("a", "2"), "    a:   1   # one\n", "    a: 2     # one\n"),
        (("b", "[3]", "--json"), "{json: [1,\n               2]}", "{json: [3]}"),
        (("c", "x", "--ttl", "2h"), "            folded\n            text\n", "            x\n        ttl: 2h\n"),
        (("d", "[3]", "--json"), "json:\n        - 1\n        -  2\n", "json: [3]\n"),
        (("new", "x"), "    # the end\n", "    # the end\n    new: x\n"),
    ],
)
def test_set_fits_any_indentation_and_touches_no_other_line(
    files: Repo, words: tuple[str, ...], old: str, new: str
) -> None:
    """Other indentation, texts and lists over several lines, and comments that the library loses: one entry changes."""
    files.write("state/web.yaml", WIDE)
    files.write("state/pages/page", "x")
    files.run("set", "local/web", *words)
    assert (files.root / "state/web.yaml").read_text() == WIDE.replace(old, new)


FOLLOWED = {
    "a blank line and a comment": ("value: a   # here\n", "\n  # next\n"),
    "a comment": ("value: a\n", "  # next\n"),
    "comments of its own": ("value: a\n    # one\n\n    # two\n", "\n  # next\n"),
    "a text of lines": ("value: a\n    x-note: |\n      b\n      c\n", "\n  # next\n"),
    "a nested mapping": ("value: a\n    tags:\n      a: b   # why\n", "  # next\n"),
    "braces": ("value: a\n    tags: {a: b}   # why\n", "  # next\n"),
}


@pytest.mark.parametrize(("own", "following"), FOLLOWED.values(), ids=FOLLOWED)
def test_a_new_option_comes_before_what_follows_the_entry(files: Repo, own: str, following: str) -> None:
    """Comments that are indented less are about the next entry, and a new entry does not part them from it either."""
    head, last = "store: local\nnamespace: web\nkeys:\n  first:\n    ", "  next: 1\n"
    files.write("state/web.yaml", head + own + following + last)
    files.run("set", "local/web", "first", "a", "--ttl", "7d", "--content-type", "text/plain")
    new = "    content_type: text/plain\n    ttl: 7d\n"
    assert (files.root / "state/web.yaml").read_text() == head + own + new + following + last
    files.write("state/web.yaml", head + own + "# the end\n")
    files.run("set", "local/web", "second", "b")
    assert (files.root / "state/web.yaml").read_text() == head + own + "  second: b\n# the end\n"


def test_a_file_whose_comments_would_be_lost_stays(files: Repo) -> None:
    """A comment between the entries of a flow mapping cannot be kept, so the line of this entry is left to people."""
    files.write("state/web.yaml", FLOW)
    shown = files.run("set", "local/web", "x", "2", code=1).stderr
    assert "state/web.yaml: cannot change the file without losing comments; edit it by hand" in shown
    shown = files.run("fmt").stderr
    assert "left unchanged: state/web.yaml: its layout cannot be changed without losing comments" in shown
    assert (files.root / "state/web.yaml").read_text() == FLOW


def test_set_shows_a_diff_and_dry_run_writes_nothing(files: Repo) -> None:
    """The change can be seen before it is made, as text and as JSON."""
    done = files.run("set", "local/web", "timeout", "45", "--dry-run", env={"TOKEN": "x"})
    assert "-  timeout: 30\n+  timeout: 45\n" in done.stdout
    document = files.json("set", "local/web", "timeout", "45", "--dry-run", env={"TOKEN": "x"})
    assert (document["schema"], document["files"], document["written"]) == ("kvsync.edit/1", ["state/web.yaml"], False)
    assert (files.root / "state/web.yaml").read_text() == STATE


def test_set_changes_the_overlay_that_is_in_force(files: Repo) -> None:
    """A value that an environment overrides is changed in its overlay, any other in the file."""
    files.write("state/web.prod.yaml", "keys:\n  timeout: 60   # longer\n")
    files.run("--env", "prod", "set", "local/web", "timeout", "90", env={"TOKEN": "x"})
    assert (files.root / "state/web.prod.yaml").read_text() == "keys:\n  timeout: 90   # longer\n"
    files.run("--env", "prod", "set", "local/web", "greeting", "Hi", env={"TOKEN": "x"})
    assert 'greeting: "Hi"' in (files.root / "state/web.yaml").read_text()


def test_set_adds_a_key_and_the_plan_has_it(files: Repo) -> None:
    """A key that no file has is added to the file of its target."""
    files.run("set", "local/web", "new", '{"a": 1}', "--json", env={"TOKEN": "x"})
    assert (files.root / "state/web.yaml").read_text() == STATE + '  new: {json: {"a": 1}}\n'


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("local/web", "token", "x"), "is sensitive; reference its value with env or sops instead"),
        (("local/web", "about", "x"), "is sensitive; reference its value with env or sops instead"),
        (("local/web", "limits", "{"), "limits is JSON, and the new value is not"),
        (("local/web", "promo", "x", "--ttl", "5"), "--ttl: expected a duration such as 30s"),
        (("local/web", "promo", "x", "--expires-at", "soon"), "--expires-at: expected a time"),
        (("local/none", "a", "x"), "no state file names local/none"),
        (("local", "a", "x"), "name a namespace too"),
    ],
)
def test_set_refuses_what_it_cannot_do(files: Repo, words: tuple[str, ...], expected: str) -> None:
    """Nothing is written when the change is not possible, and a secret is not put into a file."""
    assert expected in files.run("set", *words, code=64, env={"TOKEN": "x"}).stderr
    assert (files.root / "state/web.yaml").read_text() == STATE


def test_set_refuses_a_new_key_that_the_defaults_make_sensitive(files: Repo) -> None:
    """A secret would be in the file otherwise."""
    state = "store: local\nnamespace: web\ndefaults: {sensitive: true}\nkeys: {a: {env: TOKEN}}\n"
    files.write("state/web.yaml", state)
    shown = files.run("set", "local/web", "new", "qwe", code=64, env={"TOKEN": "x"}).stderr
    assert "the defaults make new sensitive; reference its value with env or sops instead" in shown
    assert (files.root / "state/web.yaml").read_text() == state
    files.write("state/web.prod.yaml", "store: local\nnamespace: web\nkeys: {a: {env: TOKEN}}\n")
    shown = files.run("--env", "prod", "set", "local/web", "new", "qwe", code=64, env={"TOKEN": "x"}).stderr
    assert "state/web.prod.yaml: its base file makes new sensitive; reference its value" in shown


@pytest.mark.parametrize(
    "words",
    [
        ("set", "local/web", "a", "two\nlines"),
        ("set", "local/web", "new", "z"),
        ("set", "local/web", "b", "y"),
        ("fmt",),
    ],
)
def test_line_endings_of_a_file_stay(files: Repo, words: tuple[str, ...]) -> None:
    """A file of Windows stays one: no line ends like those of Unix afterwards, and none has a second carriage return."""
    state = "# of web\nstore:   local\nnamespace: web\nkeys:\n  a: |\n    l1\n    l2\n  b: x  # of b\n"
    (files.root / "state/web.yaml").write_bytes(state.replace("\n", "\r\n").encode())
    files.run(*words)
    written = (files.root / "state/web.yaml").read_bytes()
    assert written.count(b"\n") == written.count(b"\r\n") == written.count(b"\r") > 4
    assert written != state.replace("\n", "\r\n").encode()


def test_fmt_keeps_comments_order_and_meaning(files: Repo) -> None:
    """The layout is the same everywhere; what the files say, and a second run, change nothing."""
    before = files.json("plan", env={"TOKEN": "x"})["digest"]
    files.run("fmt", "--dry-run", code=2, env={"TOKEN": "x"})
    assert (files.root / "state/web.yaml").read_text() == STATE
    assert "wrote state/web.yaml" in files.run("fmt", env={"TOKEN": "x"}).stdout
    text = (files.root / "state/web.yaml").read_text()
    assert text.index("# Texts of the shop.") < text.index("# in seconds") < text.index("# a week")
    assert 'greeting: "Hello"' in text
    files.run("fmt", "--dry-run", env={"TOKEN": "x"})
    assert files.json("plan", env={"TOKEN": "x"})["digest"] == before


WEAK = """\
store: local
namespace: web
keys:
  pin: {value: "4711", sensitive: true}
  greeting: Hello
  many:
    labels:
      # was 1234 before
      dev: 5678
      prod:
        sensitive: true
        value: |-
          9012
          3456
  one:   1
x-shared: &shared
  value: qwe
  sensitive: true
"""


@pytest.mark.parametrize("command", ["set local/web greeting Hi", "set local/web one 2", "fmt --dry-run"])
def test_no_diff_shows_a_sensitive_value(repo: Repo, command: str) -> None:
    """Next to the changed lines either, and however short or common it is."""
    repo.write("state/web.yaml", WEAK)
    shown = repo.run(*command.split(), code=None).stdout
    assert "(sensitive)" in shown
    assert not re.search("4711|1234|5678|9012|3456|qwe", shown)


@pytest.mark.parametrize("command", ["--env prod set local/web open z", "fmt --dry-run"])
def test_no_diff_of_an_overlay_shows_what_is_sensitive_by_the_defaults_of_its_file(files: Repo, command: str) -> None:
    """The overlay itself does not say that it holds secrets."""
    files.write("state/web.yaml", "store: local\nnamespace: web\ndefaults: {sensitive: true}\nkeys: {a: x}\n")
    overlay = "store: local\nnamespace: web\nkeys:\n  a: qwe\n  open:   {value: y, sensitive: false}\n"
    files.write("state/web.prod.yaml", overlay)
    shown = files.run(*command.split(), code=None).stdout
    assert "a: (sensitive)" in shown
    assert "qwe" not in shown
