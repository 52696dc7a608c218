"""Key formats: convert namespace, label and key to a remote key and back.

    KeyFormat("{label}/{key}").encode("web", Identity("limits", "prod"))   "prod/limits"
    KeyFormat("{label}/{key}").decode("web", "prod/limits")                Identity("limits", "prod")

The namespace is always known, so it is plain text here. What stands between label and key divides the two: the side of the
label never holds it, the side of the key may.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Iterator
from dataclasses import field
from functools import lru_cache
from typing import Final

from kvsync.model.entry import Identity
from kvsync.model.place import KeyScope
from kvsync.util.patterns import lazy_pattern
from kvsync.util.values import dataclass

LONGEST_NAMESPACE: Final = 1_000
"""Characters of a namespace that a state file may name. A key may have as many parts as characters."""

_FIELD = lazy_pattern(r"\{(\w*)\}")
_NAMES = ("namespace", "label", "key")
_UNUSABLE = frozenset({"", ".", ".."})


@dataclass(frozen=True, slots=True)
class KeyFormat:
    """A reversible pattern of remote keys. Raises ValueError for a template that cannot be reversed.

    `native_labels` means that the store keeps labels next to the key, so the format need not contain them. `divider` is the
    usual separator between label and key, made of characters that the store accepts.
    """

    template: str
    native_labels: bool = False
    divider: str = "/"
    is_plain: bool = field(init=False, repr=False, compare=False)
    """True if the remote key is the key itself."""
    holds_namespace: bool = field(init=False, repr=False, compare=False)
    """True if the namespace is part of the remote key."""
    holds_label: bool = field(init=False, repr=False, compare=False)
    """True if the label is part of the remote key."""
    _fields: tuple[str, ...] = field(init=False, repr=False, compare=False)
    _literals: tuple[str, ...] = field(init=False, repr=False, compare=False)
    _shape: re.Pattern[str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        pieces = _FIELD.split(self.template)
        literals, fields = tuple(pieces[::2]), tuple(pieces[1::2])
        _check_template(self.template, literals, fields)
        object.__setattr__(self, "_fields", fields)
        object.__setattr__(self, "_literals", literals)
        object.__setattr__(self, "_shape", _shape(literals, fields))
        # Attributes instead of properties, because they are read for each entry.
        object.__setattr__(self, "is_plain", self.template == "{key}")
        object.__setattr__(self, "holds_namespace", "namespace" in fields)
        object.__setattr__(self, "holds_label", "label" in fields)

    def encode(self, namespace: str, identity: Identity) -> str:
        """Return the remote key of an entry. Raises ValueError, with the reason, if the entry has no remote key that can be
        decoded again."""
        if self.is_plain and (self.native_labels or identity.label is None) and identity.key not in _UNUSABLE:
            return identity.key  # nothing to take apart; a large target asks for very many
        if not self.holds_label and (self.native_labels or identity.label is None):
            return self._around(namespace, identity.key)
        if identity.label is not None and not self.holds_label:
            example = self.template.replace("{key}", f"{{label}}{self.divider}{{key}}")
            raise ValueError(f'this store has no labels; set key_format, for example "{example}"')
        values = {"namespace": namespace, "label": identity.label or "", "key": identity.key}
        remote_key = "".join(
            literal + values.get(name, "") for literal, name in zip(self._literals, (*self._fields, ""), strict=True)
        )
        if remote_key in _UNUSABLE:
            raise ValueError(f'the remote key would be "{remote_key}", which stores cannot address')
        kept_label = None if self.holds_label else identity.label
        if self.decode(namespace, remote_key, kept_label) != identity:
            raise ValueError(self._why_irreversible(namespace, identity))
        return remote_key

    def decode(self, namespace: str, remote_key: str, label: str | None = None) -> Identity | None:
        """Return the identity that a remote key belongs to; None if the key does not have this format and namespace.

        `label` is the label that the store keeps next to the key; it is used only if the format does not contain labels.
        """
        start, divider, end = self._frame(namespace)
        if len(remote_key) < len(start) + len(end) or not (remote_key.startswith(start) and remote_key.endswith(end)):
            return None
        inner = remote_key[len(start) : len(remote_key) - len(end)]
        if not self.holds_label:
            return Identity(inner, label)
        return self._divide(inner, divider)

    def scope(self, namespace: str) -> KeyScope:
        """Return which remote keys belong to a namespace."""
        start, _, end = self._frame(namespace)
        is_inside = "namespace" in self._fields[1:-1]
        return KeyScope(self.template, start, end, namespace if is_inside else "")

    def prefix(self, namespace: str) -> str:
        """Return the common prefix of all remote keys of a namespace, for listing; it may be empty."""
        return self._frame(namespace)[0]

    def nested_namespace(self, namespace: str, identity: Identity, others: Container[str]) -> str | None:
        """Return the innermost of the `others` that is a part of `namespace` and contains the entry; None if there is none. A
        namespace is a part of another one if all its keys are also keys of the other one."""
        if not self._can_lie_in(identity):
            return None
        try:
            remote_key = self.encode(namespace, identity)
        except ValueError:
            return None
        inner = (other for other in self._enclosed(remote_key) if len(other) > len(namespace) and other in others)
        return next((other for other in inner if self.decode(other, remote_key) is not None), None)

    def namespace_of(self, remote_key: str) -> str | None:
        """Return the shortest namespace that a remote key can belong to, never an empty one. Returns None if the key has
        another format, or the format does not contain the namespace."""
        place = 0
        for literal in self._literals:  # first, since the expression tries all places of each
            place = remote_key.find(literal, place) + len(literal)
            if place < len(literal):
                return None
        found = self._shape.fullmatch(remote_key)
        return (found.groupdict().get("namespace") or None) if found is not None else None

    def namespaces_of(self, remote_keys: Iterable[str]) -> list[str]:
        """Return the namespaces of these remote keys, sorted, as far as the format shows them."""
        return sorted({name for name in map(self.namespace_of, remote_keys) if name is not None})

    def _around(self, namespace: str, key: str) -> str:
        """The remote key where everything around the key is known, so that it can be decoded whatever the key is."""
        start, _, end = self._frame(namespace)
        if (remote_key := start + key + end) in _UNUSABLE:
            raise ValueError(f'the remote key would be "{remote_key}", which stores cannot address')
        return remote_key

    def _can_lie_in(self, identity: Identity) -> bool:
        """False where a look at the key is enough to say that no other namespace has it, as for nearly all of very many."""
        divider = self._literals[1]
        is_leading = self._fields == ("namespace", "key") and len(divider) == 1
        return not is_leading or divider in identity.key

    def _enclosed(self, remote_key: str) -> Iterator[str]:
        """Yield each text that a remote key may have in place of its namespace, the longest first. Nothing where the format
        neither begins nor ends with the namespace: no namespace is a part of another there."""
        if self._fields[0] == "namespace":
            yield from self._leading(remote_key)
        elif self._fields[-1] == "namespace":
            yield from self._trailing(remote_key)

    def _leading(self, remote_key: str) -> Iterator[str]:
        start, divider = len(self._literals[0]), self._literals[1]
        end = remote_key.rfind(divider, start, start + LONGEST_NAMESPACE + len(divider))
        while end >= 0:
            yield remote_key[start:end]
            end = remote_key.rfind(divider, start, end + len(divider) - 1)

    def _trailing(self, remote_key: str) -> Iterator[str]:
        end, divider = len(remote_key) - len(self._literals[-1]), self._literals[-2]
        start = remote_key.find(divider, max(0, end - LONGEST_NAMESPACE - len(divider)), end)
        while start >= 0:
            yield remote_key[start + len(divider) : end]
            start = remote_key.find(divider, start + 1, end)

    def _divide(self, inner: str, divider: str) -> Identity | None:
        label_first = self._fields.index("label") < self._fields.index("key")
        left, found, right = inner.partition(divider) if label_first else inner.rpartition(divider)
        if not found:
            return None
        label, key = (left, right) if label_first else (right, left)
        return Identity(key, label or None)

    def _frame(self, namespace: str) -> tuple[str, str, str]:
        """The text before, between and after the label and the key."""
        return _frame(self._literals, self._fields, namespace)

    def _why_irreversible(self, namespace: str, identity: Identity) -> str:
        if identity.label == "":
            return f'an empty label looks the same as no label in key_format "{self.template}"'
        divider = self._frame(namespace)[1]
        return f'key and label are ambiguous in key_format "{self.template}": one of them contains the separator "{divider}"'


@lru_cache(maxsize=4096)
def _frame(literals: tuple[str, ...], fields: tuple[str, ...], namespace: str) -> tuple[str, str, str]:
    """As `KeyFormat._frame`; asked for each entry of a namespace."""
    parts = [literals[0]]
    for name, literal in zip(fields, literals[1:], strict=True):
        if name == "namespace":
            parts[-1] += namespace + literal
        else:
            parts.append(literal)
    return parts[0], "".join(parts[1:-1]), parts[-1]


def _shape(literals: tuple[str, ...], fields: tuple[str, ...]) -> re.Pattern[str]:
    """What all remote keys of the format look like."""
    groups = {"namespace": "(?P<namespace>.+?)", "label": ".*?", "key": ".*"}
    pieces = (re.escape(literal) + groups.get(name, "") for literal, name in zip(literals, (*fields, ""), strict=True))
    return re.compile("".join(pieces), re.DOTALL)


def _check_template(template: str, literals: tuple[str, ...], fields: tuple[str, ...]) -> None:
    """Raise ValueError unless every remote key of the template can be taken apart again."""
    for name in fields:
        if name not in _NAMES:
            raise ValueError(
                f'key_format "{template}": unknown field {{{name}}}; valid fields are {{namespace}}, {{label}} and {{key}}'
            )
        if fields.count(name) > 1:
            raise ValueError(f'key_format "{template}": {{{name}}} occurs twice')
    if "key" not in fields:
        raise ValueError(f'key_format "{template}": {{key}} is missing')
    if any("{" in literal or "}" in literal for literal in literals):
        raise ValueError(f'key_format "{template}": unmatched brace')
    if not all(literals[1:-1]):
        raise ValueError(f'key_format "{template}": two fields are adjacent; put a separator such as / between them')


def is_encodable(key: str) -> bool:
    """True for a key that a state file can hold; surrogates represent bytes that are not UTF-8."""
    try:
        key.encode()
    except UnicodeEncodeError:
        return False
    return True
