"""Files of other programs that complete the configuration: the ids of namespaces from wrangler's own configuration."""

from __future__ import annotations

from pathlib import Path

import pytest

from kvsync.app.config_watch import ConfigWatch
from kvsync.app.configuration import read_config
from kvsync.config.changes import changes
from kvsync.config.model import Config
from kvsync.config.revision import ConfigRevision
from kvsync.errors import InvalidInput
from kvsync.testing import FakeClock

ONE, TWO, THREE = "1" * 32, "2" * 32, "3" * 32
TOML = f"""\
name = "shop"  # the worker
kv_namespaces = [{{ binding = "WEB", id = "{ONE}", preview_id = "{TWO}" }}, {{ binding = "NEW" }}]
[env.staging]
kv_namespaces = [{{ binding = "WEB", id = "{TWO}" }}]
"""
JSONC = f"""\
{{
  "name": "//shop, /* not a comment */ ,]", // a comment, with "quotes"
  /* and "another", */
  "kv_namespaces": [{{"binding": "WEB", "id": "{ONE}"}}, {{"binding": "NEW"}}, /* last */ ],
  "env": {{"staging": {{"kv_namespaces": [{{"binding": "WEB", "id": "{TWO}"}},],}},}},
}}
"""

EDGE = "{type: cloudflare-kv, account_id: ab, token: {env: T}"


def load(folder: Path, options: str, rest: str = "", revision: ConfigRevision | None = None) -> Config:
    file = folder / "kvsync.yaml"
    text = f"version: 1\nowner: shop\npolicy: {{prune: owned}}\nstores:\n  edge: {EDGE}, {options}}}\n{rest}"
    file.write_text(text)
    if revision is not None:
        revision = ConfigRevision(revision.name, revision.commit, {"kvsync.yaml": text.encode()})
    return read_config(file, environ={}, revision=revision)


def problem(folder: Path, options: str, rest: str = "", revision: ConfigRevision | None = None) -> str:
    with pytest.raises(InvalidInput) as caught:
        load(folder, options, rest, revision)
    (found,) = caught.value.problems
    assert str(found.origin).endswith("kvsync.yaml:5:79")
    assert found.message.startswith("stores.edge.wrangler_file: ")
    return str(found)


@pytest.mark.parametrize(("name", "text"), [("wrangler.toml", TOML), ("worker/wrangler.jsonc", JSONC)])
def test_bindings_are_names_of_namespaces(tmp_path: Path, name: str, text: str) -> None:
    """Bindings with ids are names, of the top level or of an environment of wrangler; namespace_ids counts where both have a
    name."""
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text(text)
    for more, expected in (
        ("", {"WEB": ONE}),
        (", wrangler_environment: staging", {"WEB": TWO}),
        (f", namespace_ids: {{WEB: '{THREE}', other: '{TWO}'}}", {"WEB": THREE, "other": TWO}),
    ):
        config = load(tmp_path, f"wrangler_file: {name}{more}")
        assert config.stores["edge"].options["namespace_ids"] == expected


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a = secret", "is not valid TOML (line 1)"),
        ("kv_namespaces = [{ binding = 'WEB', id = 'secret' }]", "kv_namespaces[0] is not a binding with an id"),
        ("kv_namespaces = 'secret'", "kv_namespaces[0] is not a binding"),
        (f"kv_namespaces = [{{binding = 'A', id = '{ONE}'}}, {{binding = 'A', id = '{TWO}'}}]", "of an earlier one"),
        ("[env.staging]\nx = 'secret'", 'has no settings in the environment "prod"'),
        ("secret = " + "[" * 100_000, "is not "),
        ("#" * 2**20 + "secret", "File too large"),
    ],
)
def test_a_file_that_cannot_be_used_is_a_problem(tmp_path: Path, text: str, words: str) -> None:
    """The message is at the line that names the file, and repeats nothing of its content."""
    (tmp_path / "wrangler.toml").write_text(text)
    more = ", wrangler_environment: prod" if text.startswith("[env") else ""
    found = problem(tmp_path, f"wrangler_file: wrangler.toml{more}")
    assert words in found
    assert "secret" not in found


def test_no_file_outside_of_the_folder_is_read(tmp_path: Path) -> None:
    """Neither a path nor a link leads out of the folder of the configuration."""
    folder = tmp_path / "repository"
    folder.mkdir()
    (tmp_path / "wrangler.toml").write_text(TOML)
    (folder / "link.toml").symlink_to(tmp_path / "wrangler.toml")
    (folder / "sub").symlink_to(tmp_path)
    for path in ("../wrangler.toml", str(tmp_path / "wrangler.toml"), "sub/../../wrangler.toml"):
        assert "is not in the folder of the configuration" in problem(folder, f"wrangler_file: {path}")
    for path in ("link.toml", "sub/wrangler.toml"):
        assert "symbolic links are not followed" in problem(folder, f"wrangler_file: {path}")
    assert "No such file" in problem(folder, "wrangler_file: none.toml")


def open_files() -> int:
    """The number of open descriptors of this process."""
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def test_folder_is_refused_and_closed(tmp_path: Path) -> None:
    """A folder in place of the file is refused each time the configuration is read, and none is left open."""
    (tmp_path / "wrangler.toml").mkdir()
    assert "Is a directory" in problem(tmp_path, "wrangler_file: wrangler.toml")
    before = open_files()
    assert "Is a directory" in problem(tmp_path, "wrangler_file: wrangler.toml")
    assert open_files() == before


def test_authors_with_grants_cannot_lead_names_elsewhere(tmp_path: Path) -> None:
    """Where state files may name some targets only, the file is refused: it could be theirs. With the state files in another
    repository it is the operator's. As of another revision it cannot be read."""
    (tmp_path / "wrangler.toml").write_text(TOML)
    grants = "authors: {targets: [{path: 'state/**', namespaces: [WEB]}]}\n"
    assert "cannot be used with authors.targets" in problem(tmp_path, "wrangler_file: wrangler.toml", grants)
    load(tmp_path, "wrangler_file: wrangler.toml", f"{grants}source: {{git: {{url: 'https://git.example/a'}}}}\n")
    revision = ConfigRevision("main", "0" * 40, {})
    assert "cannot be read as of main" in problem(tmp_path, "wrangler_file: wrangler.toml", revision=revision)


def test_the_file_is_a_part_of_the_configuration(tmp_path: Path) -> None:
    """The daemon sees that it changed, and that ids changed is a change of where the store leads."""
    (tmp_path / "wrangler.toml").write_text(TOML)
    old, clock = load(tmp_path, "wrangler_file: wrangler.toml"), FakeClock()
    watch = ConfigWatch(old, clock)
    assert not watch.check().is_new
    (tmp_path / "wrangler.toml").write_text(TOML.replace(ONE, THREE))
    watch.check()
    clock.advance(60)
    assert watch.check().is_new
    new = load(tmp_path, "wrangler_file: wrangler.toml")
    assert [(one.field, one.widens) for one in changes(old, new)] == [("stores.edge", True)]
    watch.use(new)
    assert not watch.check().is_new


def test_several_stores_can_include_one_file(tmp_path: Path) -> None:
    """A file that two stores include is one file of the configuration, which has not changed while it is the same."""
    (tmp_path / "wrangler.toml").write_text(TOML)
    again = f"wrangler_file: wrangler.toml}}\n  staging: {EDGE}, wrangler_file: wrangler.toml, wrangler_environment: staging"
    config = load(tmp_path, again)
    assert [one.options["namespace_ids"] for one in config.stores.values()] == [{"WEB": ONE}, {"WEB": TWO}]
    assert config.included == (tmp_path / "wrangler.toml",)
    assert not ConfigWatch(config, FakeClock()).check().is_new
