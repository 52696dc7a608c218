"""Files of operators and authors."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path

from kvsync.app.configuration import read_config
from kvsync.app.dump.kvset import read_kvset
from kvsync.app.dump.wrangler import read_bulk
from kvsync.config.model import Config, StoreConfig
from kvsync.desired import Source
from kvsync.errors import InvalidInput, UsageError
from kvsync.model.entry import Identity
from kvsync.rendering import saved_plan as saved
from kvsync.rendering.plan_selection import select
from kvsync.stores.base import Store, StoreContext
from kvsync.stores.memory.store import MemoryStore
from kvsync.util.clock import Clock
from kvsync.util.escaping import encode_json
from tests.fuzz.model import JSON, folder, target
from tests.planning.plans import change, configured, plan_of, seal, stored, wanted

_CONFIG = """\
version: 1
owner: us
state: ["state/*.yaml"]
environments: [dev, prod]
environment: dev
stores:
  edge: {type: memory}
  core: {type: sqlite, path: s.db, timeout: 5s, policy: {prune: off, guard: {max_deletes: 3}}}
  far: {type: azure-appconfig, connection_string: {env: X}, tier: free}
  kv: {type: cloudflare-kv, account_id: "0f", token: {file: t}, namespace_ids: {a: b}}
policy: {prune: owned, adopt: if-equal, drift: heal, ignore: ["tmp/*"]}
run:
  every: 5m
  jitter: 1s
  windows: [{deny: "0 22 * * 5", for: 60h, timezone: Europe/Paris}]
  listen: 127.0.0.1:0
  hook: {secret: {env: S}, branches: [main]}
  notify: [{url: {env: U}, format: slack}]
"""

_STATE = """\
store: edge
namespace: web
defaults: {ttl: 7d, tags: {team: web}}
keys:
  greeting: Hello
  limits: {json: {rps: [10, 1.5e3, true, null]}, content_type: application/json}
  blob: {base64: "AAEC"}
  logo: {file: ./a.txt}
  token: {env: API_TOKEN, sensitive: true}
  promo: {value: x, ttl: 2h, renew_before: 30m, mode: create-only, protected: true}
  sale: {value: "on", expires_at: 2026-12-24T00:00:00Z, metadata: {region: eu}}
  theme: {value: light, labels: {prod: dark, dev: {value: neon, ttl: 1h}}}
  text: |
    one
    two
files: [{path: ., glob: "**/*.txt", prefix: "b/"}]
absent: [old]
moved: [{from: greet, to: greeting}]
---
stores: [edge, core]
namespace: &n x
keys: {<<: &base {a: 1}, "q\\u00e9\\x41": *n}
"""

_WORDS = (
    "store stores namespace keys defaults ttl tags value json file files env base64 labels absent moved from to metadata mode "
    "protected sensitive expires_at renew_before content_type path glob prefix policy null ~ true {} [] && *n &n <<: | > - --- "
    "... ? !!str !!python/object:os.system \\ud800 \\x00 \\u202e 0 -1 1e999 .inf .nan 99999999999999999999 2h 7d "
    "2026-12-24T00:00:00Z ../ /etc/passwd **/** [[[[ {{{{ ${x} :: # % @ ` version owner state run every windows deny for "
    "timezone type"
)


@target(_STATE, _STATE.split("---")[0], b"", b"--- {}", b"\xef\xbb\xbfstore: edge", words=_WORDS)
def state_file(data: bytes) -> None:
    """A state file, with an overlay of the same bytes. Loading never raises for what files hold."""
    config, stores = _parts()
    for name in ("state/web.yaml", "state/web.dev.yaml"):
        (config.root / name).write_bytes(data)
    source = Source(config, stores, None, {"API_TOKEN": "a-token"})
    loaded = source.load()
    source.close()
    for problem in loaded.problems:
        encode_json(str(problem))


@cache
def _parts() -> tuple[Config, dict[str, Store]]:
    """A configuration, and stores of its names."""
    (folder() / "state").mkdir()
    (folder() / "state/a.txt").write_text("x")
    (folder() / "kvsync.yaml").write_text(_CONFIG)
    config = read_config(folder() / "kvsync.yaml", environ={})
    context = StoreContext(config.root, None, lambda _: "", Clock())
    return config, {name: MemoryStore(one, context) for name, one in config.stores.items()}


@target(_CONFIG, b"", b"version: 1", b"[]", words=_WORDS)
def configuration(data: bytes) -> None:
    """A configuration: read, or refused with all that is wrong."""
    file = folder() / "config/kvsync.yaml"
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(data)
    with suppress(InvalidInput):
        read_config(file, environ={})


_SAVED = saved.save(
    plan_of(
        change(None, wanted("a", "v", ttl=60, expires_at=1.5)),
        change(stored("b", "old"), wanted("b", "new", "label", sensitive=True)),
        change(stored("c", "v"), None, moved_to=Identity("a")),
    ),
    seal,
    "prod",
)
_FRESH = plan_of(change(stored("b", "old"), wanted("b", "new")))


@target(
    _SAVED,
    b"{}",
    words=JSON + '"schema" "targets" "changes" "place" "id" "etag" "signature" "seal"',
)
def plan_file(data: bytes) -> None:
    """A plan file: read and compared, or refused."""
    with suppress(InvalidInput):
        plan = saved.load(data.decode("utf-8", "replace"), "plan.json")
        plan.is_altered(seal)
        saved.mismatch(plan, "shop", None)
        select(plan, _FRESH, seal, configured)


def _export(read: Callable[[Path, StoreConfig], object], type_: str, data: bytes) -> None:
    file = folder() / "export.json"
    file.write_bytes(data)
    with suppress(InvalidInput, UsageError):
        read(file, StoreConfig("edge", type_, {}))


@target(
    {
        "items": [
            {"key": "web:a", "value": "v", "label": None, "tags": {"kvsync": "us"}, "content_type": "x", "etag": "e"}
        ]
    }
)
def kvset_export(data: bytes) -> None:
    """An export of the az CLI."""
    _export(lambda file, store: read_kvset(file, store, None, "us"), "azure-appconfig", data)


@target(
    [
        {
            "key": "a",
            "value": "dg==",
            "base64": True,
            "expiration_ttl": 60,
            "metadata": {"kvsync": {"o": "us", "h": "00"}},
        }
    ]
)
def wrangler_export(data: bytes) -> None:
    """A file for wrangler."""
    _export(lambda file, store: read_bulk(file, store, "web", "us"), "cloudflare-kv", data)
