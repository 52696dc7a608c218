"""Finds files that look like overlays of state files, but for an environment that the configuration does not declare."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from kvsync.desired.overlays import spellings
from kvsync.desired.tree import Tree
from kvsync.desired.unmatched import looks_like_state
from kvsync.errors import Kind, Origin, Problem
from kvsync.yaml.problems import nearest, quoted


def misspelled_overlays(tree: Tree, files: Collection[str], environments: Collection[str]) -> Iterator[Problem]:
    """A warning for each of the state files that is named like an overlay of another one. kvsync uses such a file in every
    environment. A file that names a store and a namespace itself is only meant if its environment is almost a declared one."""
    for path in sorted(files) if environments else ():
        base, environment = _undeclared(path, environments)
        of = next((name for name in spellings(base) if name in files), None)
        if of is not None and (nearest(environment, environments) or not looks_like_state(tree, path)):
            yield overlay_warning(path, environment, environments, f"an overlay of {quoted(of)}")


def overlay_warning(file: str, environment: str, declared: Collection[str], what: str = "an overlay") -> Problem:
    """The warning about a file that is named for an environment that is not declared."""
    near = nearest(environment, declared)
    suggestion = f"did you mean {quoted(near)}? " if near else ""
    message = f"it looks like {what}, but the environment {quoted(environment)} is not in environments"
    hint = f"{suggestion}rename the file, or add {quoted(environment)} to environments"
    return Problem(message, Origin(file, 1, 1), hint, Kind.LEFT_OUT)


def _undeclared(path: str, environments: Collection[str]) -> tuple[str, str]:
    """The file that a path would be an overlay of, and the environment, if that is not declared; otherwise two empty texts."""
    folder, slash, name = path.rpartition("/")
    pieces = name.split(".")
    if len(pieces) < 3 or pieces[-2] in environments:
        return "", ""
    return f"{folder}{slash}{'.'.join((*pieces[:-2], pieces[-1]))}", pieces[-2]
