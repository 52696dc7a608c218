"""Place: the resolved identity of a target, independent of the names in the configuration.

    store edge, namespace web  ──▶  Place("cloudflare-kv", (("account", "0f2a…"), ("namespace", "9c1b…")), KeyScope("{key}"))

Everything that kvsync remembers is kept by place, and marks are bound to it: another account, file or namespace behind the same
name is another place, and starts with nothing known.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import field, replace
from functools import cached_property
from hashlib import blake2b
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from kvsync.errors import Origin
from kvsync.model.canonical import sorted_json
from kvsync.model.entry import Target, target_order
from kvsync.util.values import dataclass

_DEFAULT_PORTS = {"http": 80, "https": 443}


class KeyScope(NamedTuple):
    """The remote keys of a container that belong to the target: those with this `prefix` and `suffix`.

    `template` is the key format, by which remote keys are decoded. `namespace` is set if neither prefix nor suffix contains it,
    and its entries are distinguished in another way: by the middle of their keys, or by what the store keeps with each of them.
    """

    template: str = "{key}"
    prefix: str = ""
    suffix: str = ""
    namespace: str = ""

    def meets(self, other: KeyScope) -> bool:
        """Return True if one remote key could belong to both scopes."""
        return _nested(self.prefix, other.prefix) and _nested(self.suffix[::-1], other.suffix[::-1])


EVERY_KEY: Final = KeyScope()
"""The whole container."""


@dataclass(frozen=True)
class Place:
    """Identity of what a target resolves to: the container of keys in the remote, and the keys in it that belong to the target.

    `parts` are pairs of a name and an id that identify the container, in the order that the store type chooses. A resolved
    place has them from the server. A place that is not resolved has them from the configuration alone (offline), and must not
    be used to file records. `detail` is only for display, such as the title that an id currently has. `takes_all` means that no
    other target may be in the container, whatever its keys, because the container has one ledger for all of them.
    """

    type: str
    parts: tuple[tuple[str, str], ...]
    scope: KeyScope = EVERY_KEY
    is_resolved: bool = True
    detail: str = field(default="", compare=False)
    takes_all: bool = field(default=False, compare=False)

    @cached_property
    def key(self) -> str:
        """32 hexadecimal digits that represent this place."""
        data = [self.type, [list(part) for part in self.parts], list(self.scope)]
        return blake2b(sorted_json(data).encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()

    @property
    def container(self) -> tuple[object, ...]:
        """The container of the keys, without regard to which of them belong to the target."""
        return (self.type, self.parts)

    def __str__(self) -> str:
        ids = ", ".join(f"{name} {value}" for name, value in self.parts)
        keys = f", keys {self.scope.prefix}*{self.scope.suffix}" if self.scope.prefix or self.scope.suffix else ""
        keys += f", namespace {self.scope.namespace}" if self.scope.namespace else ""
        notes = ("with its ledger" if self.takes_all else "", "" if self.is_resolved else "not resolved yet")
        detail = ", ".join(filter(None, (self.detail, *notes)))
        return f"{self.type} {ids}{keys}" + (f" ({detail})" if detail else "")


class LocatedTarget(NamedTuple):
    """A target together with the place that it is now."""

    target: Target
    place: Place


class Overlap(NamedTuple):
    """Two targets that lead to one place, or into one another; `is_equal` says that they are the same place."""

    first: Target
    second: Target
    place: Place
    is_equal: bool


def overlaps(places: Mapping[Target, Place]) -> list[Overlap]:
    """Pairs of targets whose keys could meet, sorted. Each target is named with one other, so the list is as long as
    `places` at most."""
    by_container: defaultdict[tuple[object, ...], list[tuple[Target, Place]]] = defaultdict(list)
    for target, place in places.items():
        by_container[place.container].append((target, place))
    found = [overlap for members in by_container.values() if len(members) > 1 for overlap in _overlaps(members)]
    return sorted(found, key=lambda overlap: overlap[:2])


def conflicts(places: Mapping[Target, Place], tells_apart: Callable[[str], bool]) -> list[Overlap]:
    """The overlaps that no target may be applied with: two on one place, or one in another unless both are namespaces of one
    store that distinguishes their entries. `tells_apart` is asked with the name of a store."""
    return [
        overlap
        for overlap in overlaps(places)
        if overlap.is_equal or overlap.first.store != overlap.second.store or not tells_apart(overlap.first.store)
    ]


def groups_of(places: Mapping[Target, Place]) -> list[list[Target]]:
    """Targets whose keys could meet, in sorted groups: keys of targets in different groups never meet. Targets that can meet no
    other are left out."""
    group_of: dict[Target, list[Target]] = {}
    for overlap in overlaps(places):
        one, other = (group_of.setdefault(target, [target]) for target in overlap[:2])
        if one is not other:
            small, large = sorted((one, other), key=len)
            large += small
            group_of.update(dict.fromkeys(small, large))
    groups = {id(group): group for group in group_of.values()}
    return sorted(sorted(group) for group in groups.values())


def overlap_text(overlap: Overlap, origins: Mapping[Target, Origin | None]) -> str:
    """What is wrong with two targets that meet, with the lines that configure their stores."""
    names = [f"{target}{f' ({origins[target]})' if origins.get(target) else ''}" for target in overlap[:2]]
    what = "resolve to the same place" if overlap.is_equal else "overlap at the same place"
    way = "set ledger: local and" if overlap.place.takes_all else "give them"
    return f"{names[0]} and {names[1]} {what}: {overlap.place}; remove one of them, or {way} different key prefixes"


def _overlaps(located: Iterable[tuple[Target, Place]]) -> Iterable[Overlap]:
    """Walk the targets of one container in the order of their prefixes: those that enclose the current one are on the stack.
    Where all have the same prefix, suffixes are used instead: thousands of targets must not be compared with each other."""
    members = [(target, replace(place, scope=EVERY_KEY) if place.takes_all else place) for target, place in located]
    by_suffix = len({place.scope.prefix for _, place in members}) == 1
    sides = ((_side(place.scope, by_suffix=by_suffix), target, place) for target, place in members)
    enclosing: list[tuple[str, Target, Place]] = []
    for side, target, place in sorted(sides, key=lambda member: (member[0], *target_order(member[1]))):
        while enclosing and not side.startswith(enclosing[-1][0]):
            enclosing.pop()
        for _, other, outer in reversed(enclosing):
            if outer.scope.meets(place.scope):
                shown = outer if outer.takes_all else place
                yield Overlap(min(other, target), max(other, target), shown, outer.scope[1:] == place.scope[1:])
                break
        enclosing.append((side, target, place))


def _side(scope: KeyScope, *, by_suffix: bool) -> str:
    """What encloses a scope is a prefix of this text."""
    return scope.suffix[::-1] if by_suffix else scope.prefix


def _nested(one: str, other: str) -> bool:
    return one.startswith(other) or other.startswith(one)


def origin_of(url: str) -> str:
    """Return scheme, host and port of a URL in normalised form: lower case, without a default port, path or user."""
    parts = urlsplit(url)
    host = (parts.hostname or "").rstrip(".")
    host = f"[{host}]" if ":" in host else host
    port = parts.port
    shown = "" if port is None or port == _DEFAULT_PORTS.get(parts.scheme) else f":{port}"
    return f"{parts.scheme}://{host}{shown}"
