"""Rules for options of a store that exclude or need each other, as data: declared in `RemoteStore.option_rules`."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Protocol

from kvsync.util.values import dataclass


class OptionRule(Protocol):
    """One rule. Names of nested options are joined with a dot, as in `tls.cert`."""

    def problem(self, given: Collection[str]) -> str | None:
        """What is wrong if exactly the options `given` are set, and what to do; None if nothing is."""
        ...


@dataclass(frozen=True, slots=True)
class OneOf:
    """Exactly one of several ways must be chosen. Each way is an option, or options that are set together."""

    ways: tuple[tuple[str, ...], ...]
    message: str = ""
    """What to do, where the names of the options do not say it."""

    def problem(self, given: Collection[str]) -> str | None:
        """No way, a part of one, or more than one."""
        chosen = {name for way in self.ways for name in way if name in given}
        if any(chosen == set(way) for way in self.ways):
            return None
        if self.message:
            return self.message
        ways = [" and ".join(way) for way in self.ways]
        is_short = all(len(way) == 1 for way in self.ways)
        return f"set either {(' or ' if is_short else ', or ').join(ways)}"


@dataclass(frozen=True, slots=True)
class RequiredTogether:
    """Two options must both be set, or neither."""

    first: str
    second: str

    def problem(self, given: Collection[str]) -> str | None:
        """One without the other."""
        if (self.first in given) is (self.second in given):
            return None
        return f"set both {self.first} and {self.second}, or neither"


@dataclass(frozen=True, slots=True)
class NotBoth:
    """Two options must not both be set."""

    first: str
    second: str

    def problem(self, given: Collection[str]) -> str | None:
        """Both."""
        return f"set either {self.first} or {self.second}" if {self.first, self.second} <= set(given) else None


@dataclass(frozen=True, slots=True)
class Requires:
    """An option has an effect only if another one is set, too."""

    option: str
    needed: str

    def problem(self, given: Collection[str]) -> str | None:
        """The option without the other."""
        if self.option not in given or self.needed in given:
            return None
        return f"set {self.needed}, or remove {self.option}"


def check_rules(rules: Collection[OptionRule], options: Mapping[str, Any], fields: Mapping[str, Any]) -> None:
    """Raise ValueError for the first rule that is broken. `fields` are those of the configuration that all stores have."""
    given = {name for name, value in {**fields, **options}.items() if value}
    given |= {
        f"{name}.{part}" for name, one in options.items() if isinstance(one, Mapping) for part in one if one[part]
    }
    for rule in rules:
        if (problem := rule.problem(given)) is not None:
            raise ValueError(problem)
