"""Whatever a store holds: what a dump writes is valid and plans to nothing but ownership, and the rest is in its report."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, suppress
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from uuid import uuid4

import pytest
from azure.core.exceptions import HttpResponseError
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from kvsync.app import open_workspace
from kvsync.app.dump import Secrets, dump, strays
from kvsync.model.change import Action
from kvsync.model.entry import Identity
from tests.stores import apify_service, azure_service, cloudflare_service, voximplant_service
from tests.support.etcd import Member, running_members
from tests.support.examples import examples
from tests.support.openbao import ROOT_TOKEN, Bao, running_bao

FEW = settings(
    max_examples=examples(15),
    phases=[Phase.explicit, Phase.generate],
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
NASTY = (
    "",
    ".",
    "..",
    "a",
    "A",
    "a.b",
    "null",
    "~",
    "<<",
    "x-a",
    "kvsync",
    "a:b",
    ":",
    "yes",
    "1.0",
    " ",
    "\n",
    "\0",
    "é",
    "😀",
    "\u2028",
    "\ufeff",
    "k" * 600,
)
texts = st.sampled_from(NASTY) | st.text(max_size=6)
data = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(texts, inner, max_size=2),
    max_leaves=4,
)
values = st.binary(max_size=5) | texts.map(str.encode) | data.map(lambda one: json.dumps(one).encode())
types = st.none() | st.sampled_from(("application/json", "text/html", "APPLICATION/x+JSON; charset=utf-8", ""))


async def account_for(
    root: Path, config: str, environ: Mapping[str, str], *, shows_secrets: bool = False
) -> dict[str, set[Identity]]:
    """Dump a store, and see that what was written is valid and plans to nothing but ownership. Gives what was written and what
    was reported, by namespace."""
    folder = root / uuid4().hex
    folder.mkdir()
    (folder / "kvsync.yaml").write_text(
        f"version: 1\nowner: us\npolicy: {{prune: owned}}\nauthors: {{env: ['*']}}\nstores:\n  s: {config}\n"
    )
    async with open_workspace(folder / "kvsync.yaml", environ=environ) as workspace:
        namespaces = list(await workspace.stores["s"].namespaces())
        dumped = await dump(workspace, "s", namespaces, Secrets(shows_secrets))
        homeless = await strays(workspace, "s", namespaces, is_all=True)
    for name, content in ((name, content) for one in dumped for name, content in one.files.items()):
        (folder / "state" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "state" / name).write_bytes(content)
    found = {one.target.namespace: {left.identity for left in (*one.left_out, *one.passed_over)} for one in dumped}
    found[""] = {one.identity for one in homeless}
    if (folder / "state").exists():
        async with open_workspace(folder / "kvsync.yaml", environ=environ) as workspace:
            loaded = workspace.load()
            assert [str(problem) for problem in loaded.problems] == []
            plan = await workspace.plan(loaded=loaded)
            for target in plan.targets:
                assert target.error is None
                assert {change.action for change in (*target.changes, *target.reported)} <= {Action.ADOPT}, (
                    target.changes
                )
                assert {one.identity for one in target.refused} <= found[target.target.namespace]
                found[target.target.namespace] |= set(loaded.targets[target.target].entries)
    return found


@settings(FEW, max_examples=examples(20))
@given(
    rows=st.lists(
        st.tuples(
            texts,
            st.none() | texts,
            types,
            st.none() | st.dictionaries(texts, texts | data, max_size=2) | texts,
            st.none() | data,
            st.none() | st.floats(4e9, 1e13),
            values,
        ),
        max_size=8,
    ),
    key_format=st.sampled_from(("{key}", "a{key}", "{label}/{key}")),
)
def test_any_rows_of_sqlite(tmp_path: Path, rows: list[Any], key_format: str) -> None:
    """Rows that anyone may have written with SQL."""
    path = tmp_path / f"{uuid4().hex}.db"
    config = f"{{type: sqlite, path: {path}, key_format: '{key_format}'}}"
    asyncio.run(_make(tmp_path, config))
    keys = {(key, label) for key, label, *_ in rows}
    with closing(sqlite3.connect(path)) as database, database:
        for key, label, content_type, tags, metadata, end, value in rows:
            database.execute(
                "INSERT OR IGNORE INTO entries (namespace, key, label, content_type, tags, metadata, expires_at, value)"
                " VALUES ('web', ?, ?, ?, ?, ?, ?, ?)",
                (
                    key,
                    label,
                    content_type,
                    tags if isinstance(tags, str) else json.dumps(tags),
                    json.dumps(metadata),
                    end,
                    value,
                ),
            )
    found = asyncio.run(account_for(tmp_path, config, {}))
    assert sum(map(len, found.values())) >= len(keys)


async def _make(folder: Path, config: str) -> None:
    """Let the store make its file."""
    (folder / "kvsync.yaml").write_text(f"version: 1\nowner: us\npolicy: {{prune: owned}}\nstores:\n  s: {config}\n")
    (folder / "state").mkdir(exist_ok=True)
    (folder / "state/a.yaml").write_text("store: s\nnamespace: other\nkeys: {a: b}\n")
    async with open_workspace(folder / "kvsync.yaml", writing="test", environ={}) as workspace:
        await workspace.apply(await workspace.plan(), command="test")


@pytest.fixture(scope="module")
def kv() -> Iterator[cloudflare_service.Service]:
    """An account of Workers KV."""
    with cloudflare_service.Service.serve() as running:
        yield running


@FEW
@given(
    pairs=st.dictionaries(
        texts.filter(lambda key: 0 < len(key.encode()) <= 512 and key not in (".", "..")),
        st.tuples(values, st.none() | data, st.none() | st.integers(4_000_000_000, 4_000_000_000_000)), min_size=1, max_size=25,
    ),
    key_format=st.sampled_from(("{key}", "a{key}")),
)  # fmt: skip
def test_any_pairs_of_workers_kv(
    tmp_path: Path, kv: cloudflare_service.Service, pairs: dict[str, Any], key_format: str
) -> None:
    """Values, metadata of any kind and lifetimes that anyone may have written with the API."""
    kv.reset("web")
    for key, (value, metadata, end) in pairs.items():
        kv.put("web", key, value, metadata=metadata, **({} if end is None else {"expiration": end}))
    where = f"account_id: {kv.account}, token: {{env: T}}, endpoint: '{kv.url}'"
    config = f"{{type: cloudflare-kv, {where}, key_format: '{key_format}'}}"
    found = asyncio.run(account_for(tmp_path, config, {"T": kv.token}))
    assert sum(map(len, found.values())) == len(kv.listed("web"))


@pytest.fixture(scope="module")
def azure() -> Iterator[azure_service.Service]:
    """An App Configuration service."""
    with azure_service.Service.serve() as running:
        yield running


@FEW
@given(
    items=st.dictionaries(
        st.tuples(
            st.sampled_from(("", "a:", "a:b:", ":", ".appconfig.featureflag/")),
            st.text("abc:/. é", max_size=5),
            st.none() | st.text("ab é", min_size=1, max_size=3),
        ),
        st.tuples(
            texts,
            types,
            st.dictionaries(st.text("ab.é", min_size=1, max_size=8) | st.just("kvsync.ttl"), texts, max_size=2),
        ),
        min_size=1,
        max_size=15,
    ),
    key_format=st.sampled_from(("{namespace}:{key}", "{key}", "a:{label}/{key}")),
)
def test_any_settings_of_azure(
    tmp_path: Path, azure: azure_service.Service, items: dict[tuple[str, str, str | None], Any], key_format: str
) -> None:
    """Keys of every shape, labels, tags and content types that anyone may have written with the SDK."""
    azure.reset()
    for (prefix, key, label), (value, content_type, tags) in items.items():
        with suppress(HttpResponseError):  # what the service refuses
            azure.set(prefix + key, value, label, content_type=content_type, tags=tags)
    config = f"{{type: azure-appconfig, connection_string: {{env: C}}, key_format: '{key_format}'}}"
    found = asyncio.run(account_for(tmp_path, config, {"C": azure.env["AZURE_APPCONFIG_CONNECTION_STRING"]}))
    assert sum(map(len, found.values())) == len(azure.values())


@pytest.fixture(scope="module")
def apify() -> Iterator[apify_service.Service]:
    """An Apify account."""
    with apify_service.Service.serve() as running:
        yield running


@FEW
@given(
    records=st.dictionaries(
        st.text("abAB._-!'()", min_size=1, max_size=5).filter(lambda key: key not in (".", "..")),
        st.tuples(
            values, st.sampled_from(("text/plain", "application/json", "image/gif", "TEXT/html; charset=latin1"))
        ),
        min_size=1,
        max_size=12,
    ),
    key_format=st.sampled_from(("{key}", "a{key}")),
)
def test_any_records_of_apify(
    tmp_path: Path, apify: apify_service.Service, records: dict[str, tuple[bytes, str]], key_format: str
) -> None:
    """Records of every content type that anyone may have written with the API."""
    apify.reset("web")
    for key, (value, kind) in records.items():
        with suppress(HTTPError):  # what the service refuses
            apify.put("web", key, value, kind)
    config = f"{{type: apify, token: {{env: T}}, endpoint: '{apify.url}', key_format: '{key_format}'}}"
    found = asyncio.run(account_for(tmp_path, config, {"T": apify.env["APIFY_TOKEN"]}))
    assert sum(map(len, found.values())) == len(apify.keys("web"))


@pytest.fixture(scope="module")
def telephony() -> Iterator[voximplant_service.Service]:
    """A Voximplant account."""
    with voximplant_service.Service.serve() as running:
        yield running


@settings(FEW, max_examples=examples(4))
@example(pairs={":": "a", "::": "b", ":.": "c", ":.:x": "d", "a:a": "e", "a": "f"}, key_format="{namespace}:{key}")
@given(
    pairs=st.dictionaries(st.text("ab:.#", min_size=1, max_size=6), st.text("aб\n:#'", max_size=4), max_size=12),
    key_format=st.sampled_from(("{namespace}:{key}", "a:{key}", "{namespace}:{label}.{key}")),
)
def test_any_pairs_of_voximplant(
    tmp_path: Path, telephony: voximplant_service.Service, pairs: dict[str, str], key_format: str
) -> None:
    """Keys in which colons stand anywhere: also those that the service lists under no namespace."""
    telephony.reset()
    for key, value in pairs.items():
        with suppress(HTTPError, AssertionError):  # what the service refuses
            telephony.put(key, value)
    where = f"credentials: {{env: V}}, application_id: 1, endpoint: '{telephony.url}'"
    config = f"{{type: voximplant, {where}, requests_per_second: 10000, key_format: '{key_format}'}}"
    found = asyncio.run(account_for(tmp_path, config, {"V": json.dumps(telephony.key_file())}))
    assert sum(map(len, found.values())) == len(telephony.keys())


@pytest.fixture(scope="module")
def etcd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Member]:
    """An etcd."""
    with running_members(tmp_path_factory.mktemp("etcd"), 1, "--unsafe-no-fsync") as (member,):
        yield member


@FEW
@given(
    pairs=st.dictionaries(
        st.builds(
            bytes.__add__,
            st.sampled_from((b"", b"a/", b"a/b/", b"/", b"x", b".kvsyncx/")),
            st.binary(min_size=1, max_size=4) | texts.map(str.encode),
        ).filter(bool),
        values,
        max_size=12,
    ),
    key_format=st.sampled_from(("{namespace}/{key}", "{key}", "a/{label}/{key}", "a{key}")),
)
def test_any_keys_of_etcd(tmp_path: Path, etcd: Member, pairs: dict[bytes, bytes], key_format: str) -> None:
    """Keys and values of any bytes."""
    etcd.clear()
    for key, value in pairs.items():
        etcd.put(key, value)
    config = f"{{type: etcd, endpoint: '{etcd.url}', key_format: '{key_format}'}}"
    found = asyncio.run(account_for(tmp_path, config, {}))
    assert sum(map(len, found.values())) == len(pairs)


@pytest.fixture(scope="module")
def bao(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bao]:
    """A Vault."""
    with running_bao(tmp_path_factory.mktemp("bao")) as server:
        yield server


@pytest.mark.system
@FEW
@given(
    secrets=st.dictionaries(
        st.builds(str.__add__, st.sampled_from(("", "a/", "a/b/", "x")), st.text("abAB.é -", min_size=1, max_size=4)),
        st.dictionaries(texts, data, max_size=3) | st.fixed_dictionaries({"value": data | texts}),
        max_size=6,
    ),
    custom=st.dictionaries(st.sampled_from(("kvsync", "kvsync-next", "team", "ttl")), st.text(max_size=5), max_size=2),
    key_format=st.sampled_from(("{namespace}/{key}", "{key}", "a/{key}", "{label}/{key}")),
)
def test_any_secrets_of_vault(
    tmp_path: Path, bao: Bao, secrets: dict[str, Any], custom: dict[str, str], key_format: str
) -> None:
    """Secrets of any JSON, with custom metadata that anyone may have set."""
    bao.clear()
    for path, members in secrets.items():
        with suppress(HTTPError):  # what the server refuses
            bao.put(path, members)
            bao.mark(path, **custom)
    config = f"{{type: vault-kv, address: '{bao.url}', token: {{env: T}}, key_format: '{key_format}'}}"
    found = asyncio.run(account_for(tmp_path, config, {"T": ROOT_TOKEN}, shows_secrets=True))
    assert sum(map(len, found.values())) == len([path for path in bao.paths() if not path.endswith("/")])
