"""Offline check of desired entries against the capabilities of a store."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from kvsync.model.capabilities import Capabilities, SizeUnit
from kvsync.model.entry import Entry

UNUSABLE_KEYS = frozenset({"", ".", ".."})
"""Remote keys that kvsync never requests: HTTP clients collapse them, and `DELETE …/values/..` deletes a whole namespace."""

LABEL_HINT = 'set key_format: "{label}/{key}" for this store'


def audit(entry: Entry, capabilities: Capabilities, remote_key: str, *, label_in_key: bool = False) -> Sequence[str]:
    """Every reason why a store cannot hold `entry`, as sentences with the limit and the actual size; empty if it can.
    `label_in_key` says that the key format contains the label, so that the store need not support labels."""
    return [
        *_key_problems(entry, capabilities, remote_key, label_in_key),
        *_attribute_problems(entry, capabilities),
        *_lifetime_problems(entry, capabilities),
        *_size_problems(entry, capabilities, remote_key),
    ]


def _key_problems(entry: Entry, limits: Capabilities, remote_key: str, label_in_key: bool) -> Iterator[str]:
    if remote_key in UNUSABLE_KEYS:
        yield f'the remote key would be "{remote_key}", which stores cannot address'
    if limits.max_key is not None:
        size = len(remote_key if limits.key_unit is SizeUnit.CHARACTERS else remote_key.encode())
        if size > limits.max_key:
            yield f"the remote key has {size:,} {limits.key_unit}; {limits.type} allows at most {limits.max_key:,}"
    if limits.key_pattern is not None and not re.fullmatch(limits.key_pattern, remote_key):
        yield f"the remote key contains characters that {limits.type} does not allow; it must match {limits.key_pattern}"
    if entry.identity.label is not None and not limits.labels and not label_in_key:
        yield f"{limits.type} has no labels; {LABEL_HINT}"


def _attribute_problems(entry: Entry, limits: Capabilities) -> Iterator[str]:
    content = entry.content
    if content.content_type is not None and not limits.content_type:
        yield f"{limits.type} does not support content_type; remove it"
    if content.tags and not limits.tags:
        yield f"{limits.type} does not support tags; remove them"
    if content.metadata is not None and not limits.metadata:
        yield f"{limits.type} does not support metadata; remove it"
    if content.description is not None and not limits.descriptions:
        yield f"{limits.type} does not support description; remove it"
    if not limits.binary and not is_text(content.value):
        yield f"the value is not UTF-8 text, and {limits.type} supports only text"


def _lifetime_problems(entry: Entry, limits: Capabilities) -> Iterator[str]:
    if entry.ttl is None:
        return
    if entry.ttl < limits.min_ttl:
        yield f"ttl is {entry.ttl:,}s; {limits.type} requires at least {limits.min_ttl:,}s"
    if limits.max_ttl is not None and entry.ttl > limits.max_ttl:
        yield f"ttl is {entry.ttl:,}s; {limits.type} allows at most {limits.max_ttl:,}s"


def _size_problems(entry: Entry, limits: Capabilities, remote_key: str) -> Iterator[str]:
    value, content_type, tags, metadata, description = entry.content
    if limits.max_value is not None and (length := length_of(value, limits.value_unit)) > limits.max_value:
        yield f"the value has {length:,} {limits.value_unit}; {limits.type} allows at most {limits.max_value:,}"
    extra = len((metadata or "").encode())
    if limits.max_metadata is not None and extra > limits.max_metadata:
        yield f"the metadata has {extra:,} bytes; {limits.type} allows at most {limits.max_metadata:,}"
    if limits.max_entry is not None:
        words = [remote_key, entry.identity.label or "", content_type or "", description or ""]
        words += [word for tag in tags for word in tag]
        size = len(value) + extra + sum(len(word.encode()) for word in words)
        if size > limits.max_entry:
            yield f"the whole entry has {size:,} bytes; {limits.type} allows at most {limits.max_entry:,}"


def length_of(value: bytes, unit: SizeUnit) -> int:
    """The length of a value. A byte that is not part of valid UTF-8 counts as one character."""
    return len(value) if unit is SizeUnit.BYTES else len(value.decode(errors="replace"))


def is_text(value: bytes) -> bool:
    """True for UTF-8 text."""
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return True
