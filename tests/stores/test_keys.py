"""Key formats: what is encoded is decoded again, and what could not be is refused."""

from __future__ import annotations

import re
from contextlib import suppress
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvsync.model.entry import Identity
from kvsync.model.key_format import KeyFormat

TEXT = st.text(alphabet="ab:/.@é", max_size=6)
TEMPLATES = [
    "{key}",
    "{namespace}:{key}",
    "{namespace}/{key}",
    "{label}/{key}",
    "{key}@{label}",
    "{namespace}:{label}/{key}",
    "{label}:{namespace}:{key}",
    "pre/{key}@{namespace}@{label}.end",
]


@given(st.sampled_from(TEMPLATES), st.booleans(), TEXT, TEXT, st.none() | TEXT)
def test_what_is_encoded_is_decoded(template: str, native: bool, namespace: str, key: str, label: str | None) -> None:
    """An identity that has a remote key is what that remote key represents; others raise ValueError."""
    keys, identity = KeyFormat(template, native_labels=native), Identity(key, label)
    try:
        remote_key = keys.encode(namespace, identity)
    except ValueError:
        return
    assert remote_key not in ("", ".", "..")
    assert keys.decode(namespace, remote_key, None if keys.holds_label else label) == identity
    assert remote_key.startswith(keys.prefix(namespace))


@given(st.sampled_from(TEMPLATES), TEXT, TEXT)
def test_what_is_decoded_is_encoded(template: str, namespace: str, remote_key: str) -> None:
    """No two remote keys of a namespace represent one identity."""
    keys = KeyFormat(template)
    identity = keys.decode(namespace, remote_key)
    if identity is not None and remote_key not in ("", ".", ".."):
        assert keys.encode(namespace, identity) == remote_key


@pytest.mark.parametrize(
    ("template", "namespace", "identity", "remote_key"),
    [
        ("{key}", "web", Identity("a/b"), "a/b"),
        ("{namespace}:{key}", "web", Identity("a"), "web:a"),
        ("{label}/{key}", "web", Identity("a/b", "prod"), "prod/a/b"),
        ("{label}/{key}", "web", Identity("a"), "/a"),
        ("{key}@{label}", "web", Identity("a@b", "prod"), "a@b@prod"),
        ("{namespace}:{label}/{key}", "web", Identity("a"), "web:/a"),
    ],
)
def test_remote_keys(template: str, namespace: str, identity: Identity, remote_key: str) -> None:
    """The fields stand where the format has them; no label is the empty label."""
    assert KeyFormat(template).encode(namespace, identity) == remote_key
    assert KeyFormat(template).decode(namespace, remote_key) == identity


@pytest.mark.parametrize(
    ("template", "identity", "reason"),
    [
        ("{key}", Identity(""), 'would be ""'),
        ("{key}", Identity("."), r'would be "\."'),
        ("{key}", Identity(".."), r'would be "\.\."'),
        ("{key}", Identity("a", "prod"), "set key_format"),
        ("{label}/{key}", Identity("a", ""), "empty label"),
        ("{label}/{key}", Identity("a", "x/y"), 'the separator "/"'),
        ("{key}@{label}", Identity("a", "x@y"), 'the separator "@"'),
    ],
)
def test_identities_without_a_remote_key(template: str, identity: Identity, reason: str) -> None:
    """What has no remote key, or none that can be read back, is refused with the reason."""
    with pytest.raises(ValueError, match=reason):
        KeyFormat(template).encode("web", identity)


@pytest.mark.parametrize(
    ("template", "divider", "example"),
    [
        ("{key}", "/", "{label}/{key}"),
        ("{key}", ".", "{label}.{key}"),
        ("{namespace}:{key}", ":", "{namespace}:{label}:{key}"),
    ],
)
def test_the_format_that_is_suggested_can_be_used(template: str, divider: str, example: str) -> None:
    """Who needs labels gets a format that keeps the form of the keys, and divides them by what the store takes."""
    with pytest.raises(ValueError, match=re.escape(f'for example "{example}"')):
        KeyFormat(template, divider=divider).encode("web", Identity("a", "prod"))
    assert KeyFormat(example).holds_label


@pytest.mark.parametrize("key", ["", ".", ".."])
def test_native_labels_do_not_save_an_unusable_key(key: str) -> None:
    """A key that stores cannot address is refused also where the entry has labels."""
    with pytest.raises(ValueError, match="stores cannot address"):
        KeyFormat("{key}", native_labels=True).encode("web", Identity(key, "prod"))


def test_native_labels_stay_next_to_the_key() -> None:
    """Where the store keeps labels, the remote key is without them, and decoding takes the label as given."""
    keys = KeyFormat("{namespace}:{key}", native_labels=True)
    assert keys.encode("web", Identity("a", "prod")) == "web:a"
    assert keys.decode("web", "web:a", "prod") == Identity("a", "prod")


def test_remote_keys_of_others_are_nobodys() -> None:
    """A remote key that is not of the format and namespace represents nothing."""
    assert KeyFormat("{namespace}:{key}").decode("web", "mail:a") is None
    assert KeyFormat("{label}/{key}").decode("web", "a") is None
    assert KeyFormat("a{key}a").decode("web", "a") is None


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        ("{namespace}", "{key} is missing"),
        ("{key}{key}", "twice"),
        ("{label}{key}", "two fields are adjacent"),
        ("{namespace}{key}", "two fields are adjacent"),
        ("{name}/{key}", "unknown field {name}"),
        ("{key}/{", "unmatched brace"),
    ],
)
def test_formats_that_cannot_be_reversed(template: str, reason: str) -> None:
    """A format from which the key cannot be had again is refused, with the reason."""
    with pytest.raises(ValueError, match=reason):
        KeyFormat(template)


def test_the_innermost_namespace_has_the_key() -> None:
    """Of namespaces that are parts of one another an entry belongs to the innermost that its remote key is of."""
    keys = KeyFormat("{namespace}:{key}")
    others = {"web", "web:de", "web:de:by", "website", "we"}
    assert keys.nested_namespace("web", Identity("de:by:a"), others) == "web:de:by"
    assert keys.nested_namespace("web", Identity("de:a"), others) == "web:de"
    assert keys.nested_namespace("web:de", Identity("by:a"), others) == "web:de:by"
    for identity in (Identity("de"), Identity("fr:a"), Identity("a")):
        assert keys.nested_namespace("web", identity, others) is None
    assert KeyFormat("{namespace}:{label}:{key}").nested_namespace("web", Identity("a", "de"), others) is None
    assert KeyFormat("{namespace}:{label}:{key}").nested_namespace("web", Identity("b:a", "de"), others) == "web:de"
    assert KeyFormat("{key}").nested_namespace("web", Identity("a"), others) is None


@pytest.mark.parametrize(
    "template", ["{namespace}:{key}", "kv:{namespace}::{key}", "{namespace}:{label}:{key}", "{key}"]
)
def test_looking_a_namespace_up_finds_what_looking_through_all_finds(template: str) -> None:
    """However dividers and namespaces overlap, the innermost namespace is the longest of which the key is one."""
    keys = KeyFormat(template)
    names = ["".join(letters) for size in (1, 2, 3, 4) for letters in product("a:", repeat=size)]
    for namespace, key in product(names, names):
        identity = Identity(key, "a" if keys.holds_label else None)
        with suppress(ValueError):
            remote_key = keys.encode(namespace, identity)
            inner = [name for name in names if len(keys.prefix(name)) > len(keys.prefix(namespace))]
            found = [name for name in inner if keys.decode(name, remote_key) is not None]
            assert keys.nested_namespace(namespace, identity, set(names)) == max(found, key=len, default=None)


def test_the_innermost_namespace_has_the_key_from_its_end_too() -> None:
    """Where the namespace stands last, one is a part of another by its end."""
    keys = KeyFormat("<{key}.{namespace}>")
    others = {"com", "shop.com", "a.shop.com", "xcom"}
    assert keys.nested_namespace("com", Identity("k.a.shop"), others) == "a.shop.com"
    assert keys.nested_namespace("com", Identity("a.shop"), others) == "shop.com"
    assert keys.nested_namespace("shop.com", Identity("k.a"), others) == "a.shop.com"
    for identity in (Identity("shop"), Identity("x.org"), Identity("a")):
        assert keys.nested_namespace("com", identity, others) is None


@pytest.mark.parametrize(
    "template", ["{namespace}::{key}", "{namespace}:{key}", "{key}::{namespace}", "{key}:{namespace}"]
)
@given(st.text("ab:", max_size=4), st.text(":ab", min_size=1, max_size=6), st.sets(st.text("ab:", max_size=4)))
def test_a_key_lies_in_a_longer_namespace_that_has_it(
    template: str, namespace: str, key: str, others: set[str]
) -> None:
    """The namespace that is found is the longest of those for which the remote key could have been made."""
    keys = KeyFormat(template)
    remote_key = keys.encode(namespace, Identity(key))
    having = [one for one in others if len(one) > len(namespace) and keys.decode(one, remote_key) is not None]
    assert keys.nested_namespace(namespace, Identity(key), others) == max(having, key=len, default=None)
