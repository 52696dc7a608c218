"""Compares two configurations, and reports which changes grant more rights. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import fields, is_dataclass
from typing import Any

from kvsync.config.authority import Authors, PolicyRight
from kvsync.config.model import Config, RunConfig, StoreConfig
from kvsync.config.tightening import lines_of, loosened
from kvsync.errors import Origin
from kvsync.model.policy import Policy
from kvsync.util.values import dataclass
from kvsync.yaml.problems import quoted

_LEADING = ("type", "options", "endpoint", "proxy", "ca_file", "key_format", "allow_insecure")
"""Fields of a store that say where it leads, and with which credential."""


@dataclass(frozen=True, slots=True)
class ConfigChange:
    """One difference between two configurations: the path of the `field`, and its effect. `widens` is true if it allows or
    reaches something that the earlier configuration did not, or if that is unknown."""

    field: str
    message: str
    widens: bool
    origin: Origin | None = None


def changes(old: Config, new: Config) -> tuple[ConfigChange, ...]:
    """All differences, those that widen first, in the order of the fields."""
    found = [
        *_authors(old.authority.authors, new.authority.authors),
        *_stores(old, new),
        *_whose(old, new),
        *_run(old.run, new.run),
        *_credentials(old, new),
    ]
    return tuple(sorted(found, key=lambda one: not one.widens))


def _authors(old: Authors, new: Authors) -> Iterator[ConfigChange]:
    if old.policy is not new.policy:
        widens = new.policy is PolicyRight.ANY
        yield ConfigChange("authors.policy", f"is now {new.policy}; it was {old.policy}", widens)
    yield from _lists("authors.env", old.env, new.env, "lets state files read the variables")
    yield from _lists("authors.files", old.files, new.files, "lets state files read below the folders")
    if old.targets is not None and new.targets is None:
        yield ConfigChange("authors.targets", "was removed: every state file may name every target", widens=True)
    elif new.targets is not None:
        before = () if old.targets is None else old.targets
        shown = [f"{grant.path}: {grant}" for grant in new.targets if grant not in before]
        if shown:
            yield ConfigChange("authors.targets", f"grants {'; '.join(shown)}", widens=old.targets is not None)
        if set(before) - set(new.targets):
            yield ConfigChange("authors.targets", "no longer grants some targets to state files", widens=False)


def _lists(field: str, old: Iterable[str], new: Iterable[str], effect: str) -> Iterator[ConfigChange]:
    added = [one or "." for one in new if one not in tuple(old)]
    removed = [one or "." for one in old if one not in tuple(new)]
    if added:
        yield ConfigChange(field, f"{effect} {', '.join(map(quoted, added))}", widens=True)
    if removed:
        yield ConfigChange(field, f"no longer lists {', '.join(map(quoted, removed))}", widens=False)


def _stores(old: Config, new: Config) -> Iterator[ConfigChange]:
    for name, store in new.stores.items():
        before = old.stores.get(name)
        if before is None:
            yield ConfigChange(
                f"stores.{name}", f"is a new store of type {store.type}", widens=True, origin=store.origin
            )
        else:
            yield from _store(before, store)
    for name in sorted(old.stores.keys() - new.stores.keys()):
        yield ConfigChange(f"stores.{name}", "was removed", widens=False)


def _store(old: StoreConfig, new: StoreConfig) -> Iterator[ConfigChange]:
    field = f"stores.{new.name}"
    moved = [name for name in _LEADING if _plain(getattr(old, name)) != _plain(getattr(new, name))]
    if moved:
        message = f"points to another place or uses another credential ({', '.join(moved)})"
        yield ConfigChange(field, message, widens=True, origin=new.origin)
    if (old.timeout, old.concurrency) != (new.timeout, new.concurrency):
        yield ConfigChange(field, "has a different timeout or concurrency", widens=False, origin=new.origin)
    for one in _policy(f"{field}.policy", old.policy, new.policy):
        yield ConfigChange(one.field, one.message, one.widens, new.origin)


def _policy(field: str, old: Policy, new: Policy) -> Iterator[ConfigChange]:
    looser = list(loosened(old, lines_of(new)))
    for one in looser:
        yield ConfigChange(
            f"{field}.{one.field}", f"lets kvsync {one.effect}: {one.wanted}, was {one.ceiling}", widens=True
        )
    lost = [glob for glob in old.ignore if glob not in new.ignore]
    if lost and not any(one.field == "ignore" for one in looser):
        yield ConfigChange(f"{field}.ignore", f"no longer ignores {', '.join(map(quoted, lost))}", widens=True)
    if old != new and not looser and not lost:
        yield ConfigChange(field, "is stricter", widens=False)


def _whose(old: Config, new: Config) -> Iterator[ConfigChange]:
    """Yield what changes about whose entries are kvsync's, and where state files and state are: every field that nothing else
    here judges."""
    for one in fields(Config):
        if one.name in _JUDGED_ELSEWHERE:
            continue
        if _plain(getattr(old, one.name)) != _plain(getattr(new, one.name)):
            field = _WRITTEN.get(one.name, one.name)
            yield ConfigChange(field, "changed", widens=one.name not in _HARMLESS)


_WRITTEN = {"owner_keys": "owner_key", "variables": "vars"}
"""Names of fields in the file, where they differ."""

_JUDGED_ELSEWHERE = frozenset({"file", "root", "overlay", "included", "digest", "stores", "policy", "run", "authority"})
"""The path of the file is not part of what it says, and the policy is judged in each store."""

_HARMLESS = frozenset({"environments", "environment", "variables"})
"""A variable that leads a store to another place is judged where the store uses it."""


def _run(old: RunConfig, new: RunConfig) -> Iterator[ConfigChange]:
    for one in fields(RunConfig):
        before, after = _plain(getattr(old, one.name)), _plain(getattr(new, one.name))
        if before == after:
            continue
        if one.name == "max_deletes_per_hour":
            yield ConfigChange("run.max_deletes_per_hour", f"is now {after}; it was {before}", widens=after > before)
        else:
            yield ConfigChange(f"run.{one.name}", "changed", widens=one.name in _REACHING)


_REACHING = frozenset({"windows", "listen", "token", "hook", "notify", "tracing"})
"""Fields of `run` that say when kvsync may apply, who may ask it to, and who is notified."""


def _credentials(old: Config, new: Config) -> Iterator[ConfigChange]:
    gone = sorted(old.authority.credentials - new.authority.credentials)
    if gone:
        message = f"are no longer credentials, so authors.env can grant them: {', '.join(gone)}"
        yield ConfigChange("credentials", message, widens=True)


def _plain(value: Any) -> Any:
    """A value without the places in files: the same words on another line are not a change."""
    if is_dataclass(value):
        return tuple(_plain(getattr(value, one.name)) for one in fields(value) if one.name != "origin")
    if isinstance(value, dict):
        return {name: _plain(member) for name, member in value.items()}
    if isinstance(value, tuple | list):
        return tuple(map(_plain, value))
    return value
