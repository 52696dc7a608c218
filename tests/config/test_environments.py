"""Overlays of the configuration and its variables: `kvsync.prod.yaml` is merged over `kvsync.yaml`."""

from __future__ import annotations

from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from kvsync.app.configuration import read_config
from kvsync.app.json_schema import config_schema, overlay_schema
from kvsync.config.model import Config, CredentialKind
from kvsync.errors import InvalidInput
from kvsync.yaml.fields import Problems, free_json
from kvsync.yaml.parse import parse

BASE = """\
version: 1
owner: shop
environments: [dev, prod]
vars: {account: dev, region: eu}
stores:
  edge: {type: cloudflare-kv, account_id: 0123456789abcdef0123456789abcdef, token: {env: TOKEN}, timeout: 5s}
  local: {type: sqlite, path: "${account}-${region}.db"}
policy: {prune: owned, guard: {max_deletes: 100, grace: 10s}, ignore: ["tmp/*", "old/*"]}
run: {every: 5m}
"""
PROD = """\
vars: {account: prod}
stores:
  edge: {token: {file: "secrets/${region}"}}
policy: {guard: {max_deletes: 7}, ignore: ["cache/*"]}
run: {cron: "*/5 * * * *"}
"""


def read(
    folder: Path, over: str | None = PROD, base: str = BASE, *, name: str = "kvsync.prod.yaml", env: str = "prod"
) -> Config:
    """The configuration of an environment."""
    (folder / "kvsync.yaml").write_text(base)
    if over is not None:
        (folder / name).write_text(over)
    return read_config(folder / "kvsync.yaml", environment=env, environ={})


def problems(folder: Path, over: str | None, base: str = BASE) -> list[str]:
    with pytest.raises(InvalidInput) as caught:
        read(folder, over, base)
    return [str(problem) for problem in caught.value.problems]


def test_overlay_is_merged_field_by_field(tmp_path: Path) -> None:
    """Mappings are merged, anything else is replaced, and alternatives replace each other."""
    prod = read(tmp_path)
    edge = prod.stores["edge"]
    assert (edge.timeout, edge.options["account_id"]) == (5.0, "0123456789abcdef0123456789abcdef")
    assert (edge.options["token"].kind, edge.options["token"].name) == (CredentialKind.FILE, "secrets/eu")
    assert (prod.policy.guard.max_deletes, prod.policy.guard.grace) == (7, 10)
    assert prod.policy.ignore == ("cache/*",)
    assert (prod.run.cron, prod.run.every) == ("*/5 * * * *", None)
    assert prod.stores["local"].options["path"] == "prod-eu.db"
    assert (prod.environment, prod.overlay) == ("prod", tmp_path / "kvsync.prod.yaml")


def test_environment_without_an_overlay_uses_the_configuration_as_it_is(tmp_path: Path) -> None:
    """An overlay counts for its own environment only."""
    dev = read(tmp_path, env="dev")
    assert (dev.overlay, dev.stores["local"].options["path"], dev.policy.guard.max_deletes) == (None, "dev-eu.db", 100)


def test_store_of_another_type_is_replaced_and_a_store_can_be_removed(tmp_path: Path) -> None:
    """An overlay may put another kind of store behind a name, and drop what an environment does not have."""
    prod = read(tmp_path, "stores:\n  edge: {type: memory}\n  local: {remove: true}\n")
    assert {name: store.type for name, store in prod.stores.items()} == {"edge": "memory"}


def test_both_suffixes_are_the_same_and_two_overlays_are_an_error(tmp_path: Path) -> None:
    """`.yml` next to `.yaml` is an overlay, and never a second one."""
    assert read(tmp_path, name="kvsync.prod.yml").run.cron
    [problem] = problems(tmp_path, PROD)
    assert problem == "kvsync.prod.yml:1:1: a second overlay of kvsync.yaml, next to kvsync.prod.yaml (remove one)"


WRONG = [
    ("owner: shop\nowner: x\n", "kvsync.prod.yaml:2:1: duplicate key"),
    (
        "policy: {guard: {max_deletes: many}}",
        "kvsync.prod.yaml:1:31: policy.guard.max_deletes: expected a whole number",
    ),
    ("polcy: {prune: off}", 'kvsync.prod.yaml:1:1: unknown field "polcy"'),
    ("stores: {edge: {type: sqlite}}", 'kvsync.prod.yaml:1:16: stores.edge: missing field "path"'),
    ("run: {every: '${interval}'}", 'kvsync.prod.yaml:1:14: run.every: unknown variable "interval"'),
    ("run: {every: '${interval'}", "kvsync.prod.yaml:1:14: run.every: ${ without the name of a variable and }"),
    ("owner: $$x", "kvsync.prod.yaml:1:8: owner: unused escape $$"),
    ("vars: {account: '${region}'}", 'kvsync.prod.yaml:1:17: vars.account: unknown variable "region"'),
    ("environment: dev", "kvsync.prod.yaml:1:1: environment is not allowed in an overlay (set it in kvsync.yaml)"),
    ("[a]", "kvsync.prod.yaml:1:1: expected a mapping, found a list"),
    ("run: {}\n---\nrun: {}\n", "kvsync.prod.yaml:3:1: the configuration must be a single YAML document"),
    ("journal: {remove: true}", "kvsync.prod.yaml:1:10: journal: there is no such field to remove"),
    ("run: {remove: yes}", "kvsync.prod.yaml:1:15: run: remove: expected true"),
]


@pytest.mark.parametrize(("over", "expected"), WRONG)
def test_errors_carry_the_place_in_the_overlay(tmp_path: Path, over: str, expected: str) -> None:
    """A mistake in an overlay is reported there, one below it in `kvsync.yaml`."""
    found = problems(tmp_path, over, BASE.replace("timeout: 5s", "timeout: soon"))
    assert any(one.startswith(expected) for one in found), found
    assert len(found) == 1 or any(one.startswith("kvsync.yaml:6:") for one in found)


@pytest.mark.parametrize("over", ["", "# nothing\n", "---\n"])
def test_overlay_without_content_is_nothing(tmp_path: Path, over: str) -> None:
    """An overlay with comments only changes nothing."""
    assert read(tmp_path, over).policy.guard.max_deletes == 100


def test_unknown_variables_in_secret_places_are_not_repeated(tmp_path: Path) -> None:
    """A secret that was pasted with a dollar sign does not show up in the message."""
    shown = " ".join(
        problems(tmp_path, "stores:\n  edge:\n    token: 'pa${hunter}2'\n    endpoint: 'https://u:pa${hunter}2@a'\n")
    )
    assert "unknown variable; define it under vars" in shown.replace(" (", "; ")
    assert "hunter" not in shown


def test_dollar_brace_can_be_escaped(tmp_path: Path) -> None:
    """`$${` is a literal `${`, and a variable is not expanded twice."""
    assert (
        read(tmp_path, "stores: {local: {path: '$${account}$.db'}}").stores["local"].options["path"] == "${account}$.db"
    )


def test_digest_covers_the_overlay(tmp_path: Path) -> None:
    """A configuration with another overlay is another one."""
    assert len({read(tmp_path, text).digest for text in (None, "", PROD)}) == 3


def test_schemas_accept_variables_and_overlays(tmp_path: Path) -> None:
    """An editor accepts a variable wherever a text stands, and needs nothing in an overlay but what it overrides."""

    def valid(schema: dict[str, object], text: str) -> bool:
        [node] = parse(text.encode(), "f")
        return Draft202012Validator(schema).is_valid(free_json().decode(node, Problems("f"), ""))

    assert valid(config_schema(), BASE.replace("timeout: 5s", "timeout: '${timeout}'"))
    assert not valid(config_schema(), BASE.replace("timeout: 5s", "timeout: '$timeout'"))
    assert valid(overlay_schema(), PROD)
    assert valid(overlay_schema(), "stores: {edge: {remove: true}}")
    assert not valid(overlay_schema(), "stores: {edge: {timeout: soon}}")
    assert not valid(overlay_schema(), "environment: dev")
