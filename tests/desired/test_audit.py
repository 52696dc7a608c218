"""What a store cannot hold is reported offline: the limit, the actual size, the place."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from kvsync.model.capabilities import Capabilities, SizeUnit
from kvsync.model.entry import Content, Entry, Identity
from kvsync.planning.audit import audit
from kvsync.stores.memory.store import MemoryStore
from tests.desired.conftest import Repo

CHARACTERS = SizeUnit.CHARACTERS
NARROW = Capabilities("narrow", "a name")


def entry(value: bytes = b"x", label: str | None = None, ttl: int | None = None, **content: Any) -> Entry:
    """An entry to look at."""
    return Entry(Identity("k", label), Content(value, **content), b"", ttl=ttl)


@pytest.mark.parametrize(
    ("limits", "wanted", "key", "said"),
    [
        ({"max_key": 4}, entry(), "éé", None),
        ({"max_key": 3}, entry(), "éé", "the remote key has 4 bytes; narrow allows at most 3"),
        ({"max_key": 2, "key_unit": CHARACTERS}, entry(), "éé", None),
        ({"max_key": 1, "key_unit": CHARACTERS}, entry(), "éé", "the remote key has 2 characters; narrow allows at most 1"),
        ({"key_pattern": "[a-z]+"}, entry(), "k", None),
        (
            {"key_pattern": "[a-z]+"},
            entry(),
            "k1",
            "the remote key contains characters that narrow does not allow; it must match [a-z]+",
        ),
        ({}, entry(), "", 'the remote key would be "", which stores cannot address'),
        ({}, entry(), "..", 'the remote key would be "..", which stores cannot address'),
        ({}, entry(label="l"), "k", None),
        ({"labels": False}, entry(label="l"), "k", 'narrow has no labels; set key_format: "{label}/{key}" for this store'),
        ({"max_value": 3}, entry(b"123"), "k", None),
        ({"max_value": 3}, entry(b"1234"), "k", "the value has 4 bytes; narrow allows at most 3"),
        ({"max_value": 2, "value_unit": CHARACTERS}, entry("éé".encode()), "k", None),
        ({"max_value": 1, "value_unit": CHARACTERS}, entry(b"12"), "k", "the value has 2 characters; narrow allows at most 1"),
        ({"binary": False}, entry("é".encode()), "k", None),
        ({"binary": False}, entry(b"\xff"), "k", "the value is not UTF-8 text, and narrow supports only text"),
        ({"min_ttl": 60}, entry(ttl=60), "k", None),
        ({"min_ttl": 60}, entry(ttl=59), "k", "ttl is 59s; narrow requires at least 60s"),
        ({"max_ttl": 90}, entry(ttl=91), "k", "ttl is 91s; narrow allows at most 90s"),
        ({"max_ttl": 90}, entry(), "k", None),
        ({"content_type": False}, entry(content_type="a/b"), "k", "narrow does not support content_type; remove it"),
        ({"tags": False}, entry(tags=(("a", "b"),)), "k", "narrow does not support tags; remove them"),
        ({"metadata": False}, entry(metadata="1"), "k", "narrow does not support metadata; remove it"),
        ({"max_metadata": 3}, entry(metadata='"é"'), "k", "the metadata has 4 bytes; narrow allows at most 3"),
        ({"max_entry": 5}, entry(b"123", tags=(("a", ""),)), "k", None),
        ({"max_entry": 4}, entry(b"123", tags=(("a", ""),)), "k", "the whole entry has 5 bytes; narrow allows at most 4"),
    ],
)  # fmt: skip
def test_each_limit_and_just_below_it(limits: dict[str, Any], wanted: Entry, key: str, said: str | None) -> None:
    """One sentence for each limit that is passed, none at the limit."""
    assert list(audit(wanted, replace(NARROW, **limits), key)) == ([said] if said else [])


def test_a_label_in_the_key_needs_no_store_that_knows_labels() -> None:
    """The key format may carry it."""
    assert not audit(entry(label="l"), replace(NARROW, labels=False), "l/k", label_in_key=True)


def test_all_at_once_with_their_places(repo: Repo) -> None:
    """Everything that a store cannot hold, in all files, with store, namespace, key and place."""
    repo.capabilities = replace(
        repo.capabilities, max_value=3, max_ttl=60, tags=False, content_type=False, binary=False
    )
    repo.web(
        "keys:\n  a: long\n  b: {value: x, ttl: 1h}\n  c: {value: x, tags: {a: b}}\n  d: {base64: /w==}\n  é: ok\n"
    )
    repo.web("keys:\n  e: {value: x, content_type: a/b}\n  f: {json: 1}\n", "state/x.yaml")
    assert repo.problems() == [
        "state/web.yaml:4:3: edge/web: a: the value has 4 bytes; memory allows at most 3",
        "state/web.yaml:5:3: edge/web: b: ttl is 3,600s; memory allows at most 60s",
        "state/web.yaml:6:3: edge/web: c: memory does not support tags; remove them",
        "state/web.yaml:7:3: edge/web: d: the value is not UTF-8 text, and memory supports only text",
        "state/x.yaml:4:3: edge/web: e: memory does not support content_type; remove it",
    ]


def test_a_type_that_json_implies_is_dropped_where_none_is_kept(repo: Repo) -> None:
    """`json:` is not a mistake on a store without content types."""
    repo.capabilities = replace(repo.capabilities, content_type=False)
    repo.web("keys: {a: {json: {b: 1}}}\n")
    held = repo.entry("a")
    assert held.content == Content(b'{"b":1}')
    assert held.json


class PrefixedStore(MemoryStore):
    """Remote keys differ from keys, and hold no control characters."""

    capabilities = replace(MemoryStore.capabilities, key_pattern=r"[^\x00-\x1f]+", max_value=10)

    def remote_key(self, namespace: str, identity: Identity) -> str:
        """The namespace and the key."""
        return f"{namespace}:{identity.key}"


@pytest.mark.parametrize("value", ["x", "x" * 11])
def test_a_nul_in_a_key_switches_nothing_off(repo: Repo, value: str) -> None:
    """A key with a NUL character is refused as any other control character, and the rest of the entry is looked at too."""
    repo.kind, repo.capabilities = PrefixedStore, PrefixedStore.capabilities
    repo.web(f'keys:\n  "a\\0b": {value}\n')
    said = [problem.message for problem in repo.load().problems]
    assert any("characters that" in message for message in said)
    assert any("the value has 11 bytes" in message for message in said) is (len(value) == 11)
