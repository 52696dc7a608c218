"""Pairs each state file with the overlay of the environment in force. `.yaml` and `.yml` are the same thing."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from typing import Final

from kvsync.desired.tree import Tree
from kvsync.util.values import dataclass

_TWINS: Final = {"yaml": "yml", "yml": "yaml"}


@dataclass(frozen=True, slots=True)
class StateFile:
    """A state file, and the overlay next to it that is in force. `rival` is another overlay that would be, under the other
    spelling of its suffix."""

    path: str
    overlay: str | None = None
    rival: str | None = None


def spellings(name: str) -> tuple[str, ...]:
    """The name itself, and with the other spelling of its suffix if that is `.yaml` or `.yml`."""
    stem, dot, suffix = name.rpartition(".")
    twin = _TWINS.get(suffix)
    return (name,) if twin is None else (name, f"{stem}{dot}{twin}")


def pair_overlays(
    tree: Tree, paths: Iterable[str], environments: Collection[str], environment: str | None
) -> Iterator[StateFile]:
    """Pair each overlay of the current environment with its file: `web.prod.yaml` with `web.yaml` in the same folder. An
    overlay without a file stands alone; overlays of other environments are left out."""
    for path in paths:
        base, of = overlay_of(path, environments)
        if base is None:
            yield StateFile(path, *_overlays_of(tree, path, environment))
        elif of == environment and not any(_exists(tree, name) for name in spellings(base)):
            yield StateFile(path)


def overlay_of(path: str, environments: Collection[str]) -> tuple[str | None, str | None]:
    """The file that an overlay would lie over, and its environment; (None, None) for what is not an overlay."""
    folder, slash, name = path.rpartition("/")
    pieces = name.split(".")
    if len(pieces) < 3 or pieces[-2] not in environments:
        return None, None
    return f"{folder}{slash}{'.'.join(pieces[:-2])}.{pieces[-1]}", pieces[-2]


def _overlays_of(tree: Tree, path: str, environment: str | None) -> list[str]:
    """The overlays of a file: with its own suffix first, and with the other one unless that belongs to another file."""
    own, *twins = spellings(path)
    found = [] if environment is None else [_overlay(own, environment)]
    found += [_overlay(twin, environment) for twin in twins if environment is not None and not _exists(tree, twin)]
    return [overlay for overlay in found if _exists(tree, overlay)]


def _overlay(path: str, environment: str) -> str:
    stem, _, suffix = path.rpartition(".")
    return f"{stem}.{environment}.{suffix}"


def _exists(tree: Tree, path: str) -> bool:
    folder, _, name = path.rpartition("/")
    return tree.items(folder).get(name) is False
