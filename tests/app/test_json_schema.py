"""The JSON Schemas: what kvsync reads passes, what it refuses does not, and what it writes is as they say."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from kvsync.app.configuration import read_config
from kvsync.app.json_schema import SCHEMAS, config_schema, plan_schema, state_schema
from kvsync.config.authority import Authority, Authors
from kvsync.config.model import ReadLimits, StoreConfig
from kvsync.desired.document import Layer
from kvsync.desired.document_decoder import read_document
from kvsync.desired.model import Stores
from kvsync.desired.reading_budget import ReadingBudget
from kvsync.desired.tree import Tree
from kvsync.desired.values import ValueContext
from kvsync.errors import InvalidInput
from kvsync.model.change import Action, Class, OutcomeKind, Refusal
from kvsync.model.entry import Actual, Identity, Mark
from kvsync.rendering.json import plan_document, report_document
from kvsync.rendering.saved_plan import save
from kvsync.stores.base import StoreContext
from kvsync.stores.memory.store import MemoryStore
from kvsync.util.clock import Clock
from kvsync.yaml import nodes
from kvsync.yaml.fields import Problems, free_json
from kvsync.yaml.parse import parse
from tests.planning.plans import OWNER, change, outcome, plan, report, seal, stored, target_plan, wanted

ANY = Authority(Authors(env=("*",)))
EDGE = StoreConfig("edge", "memory", {})
STORES = Stores({"edge": MemoryStore(EDGE, StoreContext(Path(), None, lambda _: "", Clock()))}, {"edge": EDGE}, ANY)
EXAMPLES = Path(__file__).parents[2] / "examples"

CONFIG = """\
x-anchors: {anything: [1, null]}
version: 1
owner: payments-gitops
state: ["state/**/*.yaml"]
state_dir: .kvsync
environments: [dev, prod]
environment: prod
stores:
  local: {type: sqlite, path: .kvsync/store.db, timeout: 5s, policy: {prune: off}}
  other: {type: memory, key_format: "{label}/{key}", allow_insecure: true, endpoint: http://a.example}
policy:
  prune: owned
  adopt: if-equal
  drift: {drifted: heal, missing: report, conflict: gate}
  guard: {max_delete_pct: 30, max_update_pct: 50%, min_existing: 10, max_deletes: 1000, grace: 0s}
  ignore: ["tmp/*"]
run:
  every: 5m
  deep_every: 1h
  watch: true
  debounce: 300ms
  windows: [{deny: "0 22 * * 5", for: 60h, timezone: Europe/Paris}]
  listen: 127.0.0.1:9464
authors:
  env: ["APP_*"]
  files: [state, assets]
  targets: [{path: "state/web/**", stores: [local], namespaces: ["web*"]}, {path: "state/*.yaml"}]
  policy: tighten
"""

STATE = """\
x-common: &common {anything: [1, null]}
store: edge
namespace: web
defaults: {ttl: 7d, tags: {team: web}}
policy: {drift: report}
keys:
  greeting: Hello
  timeout: 30
  switch: no
  number: 1.10
  limits: {json: {rps: 10, deep: [null, 1.5]}}
  logo: {file: ./logo.png}
  blob: {base64: "AAEC"}
  token: {env: API_TOKEN}
  promo: {value: x, ttl: 2h, renew_before: 30m}
  sale: {value: "on", ttl: none, expires_at: 2026-12-24T00:00:00Z}
  seed: {value: "1", mode: create-only}
  vip: {value: y, protected: true, sensitive: false, content_type: text/plain}
  edge: {value: z, metadata: {region: eu}}
  theme:
    value: light
    labels: {prod: dark, dev: {value: neon, ttl: 1h, after: [seed], x-why: dev}}
  sentinel: {value: "42", after: all, x-note: [anything]}
  list: {value: same, labels: [a, b]}
files:
  - {path: banners, glob: "**/*.html", exclude: ["*.bak"], prefix: "banner/", content_type: text/html, after: [seed]}
absent: [old_key]
moved: [{from: greet, to: greeting}]
"""

WRONG_CONFIG = [
    ("version: 1", "version: 2"),
    ("owner: payments-gitops", "owner: a b"),
    ("owner: payments-gitops\n", ""),
    ("state: [", "state: [1.5, null, "),
    ("environments: [dev, prod]", "environments: dev"),
    ("type: sqlite", "type: sqlit"),
    ("path: .kvsync/store.db", "pth: .kvsync/store.db"),
    ("timeout: 5s", "timeout: 5"),
    ("key_format: \"{label}/{key}\"", "key_format: \"{lable}/{key}\""),
    ("allow_insecure: true", "allow_insecure: yes"),
    ("http://a.example", "https://a.example?sig=1"),
    ("prune: owned", "prune: own"),
    ("  prune: owned\n", ""),
    ("drifted: heal", "drifted: fix"),
    ("conflict: gate", "confict: gate"),
    ("max_delete_pct: 30", "max_delete_pct: 130"),
    ("max_deletes: 1000", "max_deletes: many"),
    ("ignore: [", "ignore: [[], "),
    ("every: 5m", "every: often"),
    ("every: 5m", "every: 5m\n  cron: '0 * * * *'"),
    ("watch: true", "watch: 1"),
    ("deny: \"0 22 * * 5\", ", ""),
    ("for: 60h, ", ""),
    ("listen: 127.0.0.1:9464", "listen: 9464"),
]  # fmt: skip

WRONG_STATE = [
    ("store: edge", "store: edge\nstores: [edge]"),
    ("namespace: web", "namespace: null"),
    ("namespace: web", "namespce: web"),
    ("ttl: 7d", "ttl: 7"),
    ("team: web", "team: [web]"),
    ("drift: report", "drift: repot"),
    ("greeting: Hello", "greeting:"),
    ("greeting: Hello", "greeting: [Hello]"),
    ("{file: ./logo.png}", "{file: ./logo.png, value: x}"),
    ("{json: {", "{jsn: {"),
    ("renew_before: 30m", "renew_before: soon"),
    ("2026-12-24T00:00:00Z", "tomorrow"),
    ("create-only", "once"),
    ("protected: true", "protected: yes"),
    ("ttl: 1h,", "tll: 1h,"),
    ("labels: [a, b]", "labels: a"),
    ("{path: banners, ", "{"),
    ("after: all", "after: sentinel"),
    ("after: [seed]", "after: {}"),
    ("exclude: [", "exclude: [[], "),
    ("absent: [old_key]", "absent: old_key"),
    ("to: greeting", "into: greeting"),
]  # fmt: skip


def as_json(node: nodes.Node) -> Any:
    """What an editor's YAML parser hands to its schema checker."""
    if isinstance(node, nodes.Scalar) and node.is_null:
        return None
    return free_json().decode(node, Problems("f"), "")


def accepts(schema: dict[str, Any], text: str) -> bool:
    return all(Draft202012Validator(schema).is_valid(as_json(node)) for node in parse(text.encode(), "f.yaml"))


def reads_config(folder: Path, text: str) -> bool:
    (folder / "kvsync.yaml").write_text(text)
    try:
        read_config(folder / "kvsync.yaml", environ={})
    except InvalidInput:
        return False
    return True


def reads_state(folder: Path, text: str) -> bool:
    (folder / "banners").mkdir(exist_ok=True)
    (folder / "banners/a.html").write_text("a")
    (folder / "logo.png").write_bytes(b"\x89PNG")
    problems = Problems("web.yaml")
    with Tree(folder) as tree:
        pass_context = ValueContext(tree, "web.yaml", {"API_TOKEN": "token"}, ReadingBudget(ReadLimits()), ANY)
        [node] = parse(text.encode(), "web.yaml")
        assert isinstance(node, nodes.Mapping)
        read_document([Layer(node, problems, pass_context)], STORES)
    return not problems


@pytest.mark.parametrize("name", sorted(SCHEMAS))
def test_they_are_schemas(name: str) -> None:
    """Each is valid JSON Schema 2020-12, plain JSON, and names itself."""
    schema = SCHEMAS[name]()
    Draft202012Validator.check_schema(schema)
    assert json.loads(json.dumps(schema)) == schema
    assert schema["$id"] == f"urn:kvsync:{name}:1"


def _fields(schema: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(schema, dict):
        yield from schema.get("properties", {}).items()
        for value in schema.values():
            yield from _fields(value)
    elif isinstance(schema, list):
        for item in schema:
            yield from _fields(item)


@pytest.mark.parametrize("name", ["config", "state"])
def test_every_field_explains_itself(name: str) -> None:
    """An editor can show a sentence for every field."""
    silent = sorted({field for field, schema in _fields(SCHEMAS[name]()) if not schema.get("description")})
    assert silent == []


def test_config(tmp_path: Path) -> None:
    """A full configuration passes both the schema and the reading."""
    assert accepts(config_schema(), CONFIG)
    assert reads_config(tmp_path, CONFIG)


@pytest.mark.parametrize("change", WRONG_CONFIG)
def test_wrong_config(tmp_path: Path, change: tuple[str, str]) -> None:
    """What is wrong with a configuration is wrong for the schema and for the reading."""
    text = CONFIG.replace(*change)
    assert text != CONFIG
    assert not accepts(config_schema(), text)
    assert not reads_config(tmp_path, text)


def test_state(tmp_path: Path) -> None:
    """Every form of an entry passes both the schema and the reading."""
    assert accepts(state_schema(), STATE)
    assert reads_state(tmp_path, STATE)


def test_overlay() -> None:
    """An overlay needs neither store nor namespace, and may remove."""
    assert accepts(state_schema(), "keys: {a: {remove: true}, b: x}")
    assert not accepts(state_schema(), "keys: {a: {remove: yes}}")


@pytest.mark.parametrize("change", WRONG_STATE)
def test_wrong_state(tmp_path: Path, change: tuple[str, str]) -> None:
    """What is wrong with a state file is wrong for the schema and for the reading."""
    text = STATE.replace(*change)
    assert text != STATE
    assert not accepts(state_schema(), text)
    assert not reads_state(tmp_path, text)


@pytest.mark.parametrize(
    "file", sorted(EXAMPLES.rglob("kvsync.yaml")), ids=lambda file: str(file.relative_to(EXAMPLES))
)
def test_example_repositories(file: Path) -> None:
    """The example repositories are valid for the schemas."""
    assert accepts(config_schema(), file.read_text())
    states = sorted(one for one in (file.parent / "state").rglob("*.yaml") if ".sops." not in one.name)
    assert states
    for state in states:
        assert accepts(state_schema(), state.read_text()), state


def documents() -> Iterator[dict[str, Any]]:
    drifted = change(stored("a", "x"), wanted("a", "y"), cause=Class.DRIFTED)
    gone = Actual(Identity("m", "dev"), expires_at=60.5, mark=Mark(OWNER, b"", ttl=60))
    changes = [
        drifted,
        change(None, wanted("b", "x", ttl=60, sensitive=True)),
        change(stored("c", "x"), None, moved_to=Identity("b")),
        change(gone, wanted("m", "x", "dev", expires_at=60)),
    ]
    refused = [Refusal(Identity("r"), Class.TAKEN, Action.UPDATE, "another owner")]
    full = target_plan(*changes, refused=refused, reported=(drifted,), parked=("why",), complete=False, error="down")
    yield plan_document(plan(full), seal)
    yield plan_document(plan(), seal)
    yield report_document(plan(full), [report(full, *(outcome(drifted, kind, "no") for kind in OutcomeKind))], seal)
    yield json.loads(save(plan(full), seal, "prod"))
    yield json.loads(save(plan(full), seal, None))


@pytest.mark.parametrize("document", list(documents()))
def test_plans(document: dict[str, Any]) -> None:
    """What kvsync writes for a plan, an apply and a saved plan is as the schema says."""
    Draft202012Validator(plan_schema()).validate(document)


def _without_one_member(data: Any) -> Iterator[Any]:
    if isinstance(data, dict):
        for name, value in data.items():
            yield {other: data[other] for other in data if other != name}
            yield from ({**data, name: less} for less in _without_one_member(value))
    elif isinstance(data, list):
        for index, item in enumerate(data):
            yield from ([*data[:index], less, *data[index + 1 :]] for less in _without_one_member(item))


def test_plans_with_a_member_missing() -> None:
    """A plan that lacks anything the specification names is refused."""
    document = plan_document(plan(target_plan(change(stored("a", "x"), wanted("a", "y")))), seal)
    validator = Draft202012Validator(plan_schema())
    assert not [less for less in _without_one_member(document) if validator.is_valid(less)]
