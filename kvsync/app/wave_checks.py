"""Warnings of `kvsync validate` about waves: globs that can match no target, or match none."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from fnmatch import fnmatchcase
from itertools import chain

from kvsync.errors import Problem
from kvsync.planning.waves import Wave
from kvsync.yaml.fields import quoted

_ORDER = "move it to an earlier wave, or remove it"
_TYPO = "correct the glob, or remove it"


def wave_warnings(waves: Sequence[Wave], targets: Collection[str] | None) -> Iterator[Problem]:
    """A warning for each glob that decides nothing. `targets` are those of all environments, None if they are not known."""
    for index, wave in enumerate(waves):
        earlier = tuple(chain.from_iterable(one.targets for one in waves[:index]))
        for glob in wave.targets:
            if (why := _why_useless(glob, earlier, targets)) is not None:
                yield Problem(f"waves[{index}].targets: {quoted(glob)} {why[0]}", wave.origin, why[1])


def _why_useless(glob: str, earlier: Iterable[str], targets: Collection[str] | None) -> tuple[str, str] | None:
    """What is wrong with a glob, and what to do."""
    for other in earlier:
        if _covers(other, glob):
            return f"matches nothing, because {quoted(other)} of an earlier wave matches the same targets", _ORDER
    if targets is not None and not any(fnmatchcase(name, glob) for name in targets):
        return "matches no target of the state files, so that no later wave waits for it", _TYPO
    return None


def _covers(earlier: str, later: str) -> bool:
    """True if the glob `earlier` certainly matches all that `later` matches; its `*` matches wildcards of `later` too."""
    return earlier == later or ("?" not in earlier and "[" not in earlier and fnmatchcase(later, earlier))
