"""`kvsync adopt --write`: the files come to say what the store holds, and keep comments, order and layout."""

from __future__ import annotations

import pytest

from tests.cli.conftest import CONFIGURATION, Repo

STATE = """\
store: local
namespace: web
defaults: {tags: {team: web}}
keys:
  greeting:   "Hello"    # shown on top

  # in seconds
  timeout: 30
  limits: {json: {rps: 10}}
  promo:
    value: x
    tags: {stage: beta}            # for a week
  theme: {value: light, labels: {prod: dark, "dev": {value: neon}}}
  token: {env: TOKEN}
  page: {template: "${name}"}
  gone: x
vars: {name: shop}
"""
ENV = {"TOKEN": "very-secret-token"}


@pytest.fixture
def files(repo: Repo) -> Repo:
    """A store that was made as the files say, and changed by others since."""
    repo.write("kvsync.yaml", f"{CONFIGURATION}environments: [dev, prod]\n")
    repo.write("state/web.yaml", STATE)
    repo.run("apply", "--yes", env=ENV)
    return repo


def change(repo: Repo, key: str, value: str, more: str = "") -> None:
    """Change an entry as another program would."""
    repo.sql(f"UPDATE entries SET value = ?{more} WHERE key = ? AND label IS NULL", value, key)


def text(repo: Repo, name: str = "state/web.yaml") -> str:
    return (repo.root / name).read_text()


def test_several_entries_are_written_at_once_and_nothing_else_changes(files: Repo) -> None:
    """Text, JSON, an option and a label change in their lines; afterwards there is no drift."""
    change(files, "greeting", "Hi")
    change(files, "limits", '{"rps":20}')
    change(files, "promo", "x", """, tags = '{"stage":"live","team":"web"}'""")
    files.sql("UPDATE entries SET value = 'blue' WHERE key = 'theme' AND label = 'prod'")
    before = text(files)
    shown = files.json("adopt", "--write", "--dry-run", env=ENV)
    assert (shown["files"], shown["written"], shown["left"], text(files)) == (["state/web.yaml"], False, [], before)
    assert files.run("adopt", "--write", env=ENV).stdout == shown["diff"]
    expected = (
        before.replace('greeting:   "Hello"    #', 'greeting: "Hi"         #')
        .replace("{rps: 10}", '{"rps": 20}')
        .replace("prod: dark", "prod: blue")
    )
    assert text(files) == expected.replace("{stage: beta} ", "{stage: live} ")
    assert files.json("drift", env=ENV)["summary"]["update"] == 0


LASTING = """\
store: local
namespace: web
defaults: {ttl: 30d}
keys:
  # three of them change
  sale: {value: x, expires_at: 2037-01-01T00:00:00Z}   # the end
  promo: {value: x, ttl: 7d, renew_before: 1d}
  stays: x
  page: {value: x, metadata: {region: eu}, ttl: none}
  news: x
"""


def test_lifetimes_and_metadata_are_written(repo: Repo) -> None:
    """An end that someone else set becomes a moment, one that they took away `ttl: none`, and a lifetime that kvsync applied a
    TTL. Afterwards nothing differs."""
    repo.write("state/web.yaml", LASTING.replace("news: x", "news: {value: x, ttl: 3d}"))
    repo.run("apply", "--yes")
    repo.write("state/web.yaml", LASTING)
    for key, end in (("sale", 2_114_467_200), ("promo", 2_114_380_800), ("stays", None)):
        repo.sql("UPDATE entries SET expires_at = ? WHERE key = ?", end, key)
    repo.sql("""UPDATE entries SET metadata = '{"region":"us","tier":1}' WHERE key = 'page'""")
    repo.run("adopt", "--write")
    assert text(repo) == (
        LASTING.replace("2037-01-01", "2037-01-02")
        .replace("ttl: 7d, renew_before: 1d", "expires_at: 2037-01-01T00:00:00Z")
        .replace("stays: x", 'stays: {value: "x", ttl: none}')
        .replace("{region: eu}", '{"region": "us", "tier": 1}')
        .replace("news: x", 'news: {value: "x", ttl: 3d}')
    )
    assert "nothing to change" in repo.run("adopt", "--write").stdout


def test_what_must_not_be_written_is_listed(files: Repo) -> None:
    """Secrets by reference, values that look like secrets, values from elsewhere, lost tags and entries that are gone."""
    for key in ("token", "page"):
        change(files, key, "changed by hand")
    change(files, "greeting", "ghp_" + "a" * 36)
    change(files, "promo", "x", ", tags = NULL")
    files.sql("DELETE FROM entries WHERE key = 'gone'")
    before = text(files)
    done = files.run("adopt", "--write", code=3, env=ENV)
    assert text(files) == before
    assert [line.partition("local/web/")[2] for line in done.stderr.splitlines() if "left unchanged" in line] == [
        "gone: it was deleted in the store, but the file serves all environments; to accept that, remove it from the file, or "
        "run kvsync apply to restore it",
        "greeting: its value in the store looks like a secret; reference it with env or sops instead",
        "token: it is sensitive; change the value at the source that its reference names",
        "page: page takes its value from template; change it there",
        "promo: the tag team comes from defaults or from another entry; edit the file by hand",
    ]
    assert "changed by hand" not in done.stdout + done.stderr


def test_the_overlay_that_defines_an_entry_is_changed(files: Repo) -> None:
    """In an environment, its overlay changes where that has the entry."""
    files.write("state/web.prod.yaml", "keys:\n  timeout: 60   # longer\n")
    files.run("--env", "prod", "apply", "--yes", env=ENV)
    change(files, "timeout", "90")
    files.run("--env", "prod", "adopt", "--write", env=ENV)
    assert (text(files, "state/web.prod.yaml"), text(files)) == ("keys:\n  timeout: 90   # longer\n", STATE)


LOST = """\
store: local
namespace: web
keys:
  first: x   # about the first

  # above the second
  second:
    value: |
      two
      # lines
    tags: {a: b}
    # deeper
  # above the third
  third: {value: x, labels: {prod: y}}
  fourth: {value: x, labels: {prod: y}}
  waits: {value: x, after: [fifth]}
  fifth: x
---
store: local
namespace: more
keys: {a: 1, b: 2}
---
store: local
namespace: all
keys: {a: 1, b: 2}
"""


def test_entries_that_were_deleted_in_the_store_are_removed(repo: Repo) -> None:
    """With their lines, and comments that are not theirs stay. What other lines need, and an emptied target, is listed."""
    repo.write("state/web.yaml", LOST)
    repo.run("apply", "--yes")
    repo.sql("DELETE FROM entries WHERE key IN ('second', 'fourth', 'fifth') OR (namespace = 'more' AND key = 'b')")
    repo.sql("DELETE FROM entries WHERE namespace = 'all' OR (key = 'third' AND label IS NULL)")
    done = repo.run("adopt", "--write", code=3)
    second = LOST[LOST.index("  second:") : LOST.index("  # above the third")]
    fourth = "  fourth: {value: x, labels: {prod: y}}\n"
    expected = LOST.replace(second, "").replace(fourth, "").replace("more\nkeys: {a: 1, b: 2}", "more\nkeys: {a: 1}")
    assert text(repo) == expected
    assert [line.partition("local/")[2].partition(";")[0] for line in done.stderr.splitlines() if "left" in line] == [
        "all/a: it was deleted in the store, like everything else in the target",
        "all/b: it was deleted in the store, like everything else in the target",
        "web/fifth: it was deleted in the store, but waits is written after it",
        "web/third: it was deleted in the store, but not under its other labels",
    ]
    assert repo.json("plan", "--target", "local/more")["summary"]["create"] == 0


SHARED = """\
stores: [local, other]
namespace: web
keys:
  both: x
  true: x
  1.10: {value: x, labels: {0x1F: y}}
  first: &same {value: x}
  second: *same
files:
  - {path: pages, glob: "*.txt"}
"""


def test_what_must_not_be_written_for_several_is_listed(repo: Repo) -> None:
    """A line that several stores or entries share stays where they differ, and so does a key whose value is a file. Names that
    look like numbers or truth values are found as they are written."""
    repo.configure(**{"stores:\n": "stores:\n  other: {type: sqlite, path: .kvsync/other.db}\n"})
    repo.write("state/pages/page.txt", "x")
    repo.write("state/web.yaml", SHARED)
    repo.run("apply", "--yes")
    repo.sql("UPDATE entries SET value = key")
    done = repo.run("adopt", "--write", code=3)
    assert text(repo) == SHARED
    assert done.stderr.count("local/web/both: the stores that take it from this line hold different contents") == 1
    done = repo.run("adopt", "--write", "--target", "local", code=3)
    expected = SHARED.replace("both: x", "both: both").replace("true: x", "true: true")
    assert text(repo) == expected.replace("{value: x, labels: {0x1F: y}}", "{value: 1.10, labels: {0x1F: 1.10}}")
    assert [line.partition("local/web/")[2] for line in done.stderr.splitlines() if "left unchanged" in line] == [
        "first: first has an anchor that other entries may share; edit the file by hand",
        "page.txt: state/web.yaml:10:5: the value of page.txt comes from a file; edit that file",
        "second: second has an anchor that other entries may share; edit the file by hand",
    ]


def test_a_file_with_problems_is_not_said_to_be_in_sync(files: Repo) -> None:
    """The exit code is that of invalid files, and the good ones are written all the same."""
    files.write("state/api.yaml", "store: local\nnamespace: api\nkeys: {a: null}\n")
    change(files, "timeout", "90")
    files.run("adopt", "--write", "--target", "local/web", code=78, env=ENV)
    assert "timeout: 90" in text(files)
    assert "nothing to change" not in files.run("adopt", "--write", code=78, env=ENV).stdout
