"""Finds the state files of a configuration, and decides which files may be read."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path, PurePosixPath

from kvsync.config.model import Config
from kvsync.config.protected import copies_of_configuration, is_configuration, protected_paths
from kvsync.desired.discovery import matches, split
from kvsync.desired.exclusion import exclusion
from kvsync.desired.misspelled_overlays import misspelled_overlays
from kvsync.desired.model import CompiledFile, Reading
from kvsync.desired.overlays import StateFile, pair_overlays, spellings
from kvsync.desired.read_rules import ReadRules, UnreadableError
from kvsync.desired.reading_budget import ReadingBudget, StepBudgets
from kvsync.desired.tree import Tree, is_text
from kvsync.desired.unmatched import unmatched_files
from kvsync.errors import ErrorCode, Kind, Origin, Problem
from kvsync.yaml.problems import quoted


class StateFiles:
    """The state files of one configuration. `environ` names folders of credentials, which are never read."""

    def __init__(self, config: Config, environ: Mapping[str, str]) -> None:
        self._config, self._protected = config, protected_paths(config, environ)

    def rules(self, root: Path) -> ReadRules:
        """What of the files under `root` may be read. In a repository that kvsync fetched no mount is followed, and a link only
        where the configuration says so."""
        source, folders = self._config.source, self._config.authority.authors.files
        return ReadRules(
            protected=(*self._protected, *copies_of_configuration(self._config, root)),
            folders=() if "" in folders else tuple(map(PurePosixPath, folders)),
            links=source is None or source.symlinks,
            mounts=source is None,
            folder_names=self._config.limits.folder_names,
            folder_depth=self._config.limits.folder_depth,
        )

    def matches(
        self, tree: Tree, pattern: str, steps: StepBudgets, skip: Callable[[str, UnreadableError], None] | None = None
    ) -> list[str]:
        """The files that a pattern of `state:` names, without the configuration and what else is never read. Folders below the
        first that cannot be searched are given to `skip`. Raises UnreadableError."""
        found: dict[str, None] = {}
        for spelling in spellings(pattern):
            paths = matches(tree, "", spelling, steps.take, self._config.authority.grants_at, skip)
            found.update(dict.fromkeys(paths))
        is_left_out = exclusion((), pattern)
        return [path for path in found if not (is_left_out(path) or self._is_never_read(tree, path))]

    def unmatched(self, tree: Tree, units: Mapping[str, tuple[bytes, CompiledFile]]) -> Iterator[Problem]:
        """Warnings of files that look like state files, but are neither one nor a value of one of `units`, and of state files
        that look like overlays for an environment that is not declared."""
        steps, matched = StepBudgets(self._config.limits), set[str]()
        for pattern in self._config.state:
            with suppress(UnreadableError):
                matched.update(self.matches(tree, pattern, steps))
        yield from misspelled_overlays(tree, matched, self._config.environments)
        used = matched.union(path for slot in units for path in slot.split("\0"))
        used |= {reference.path for _, unit in units.values() for reference in unit.references}
        budget = ReadingBudget(self._config.limits)
        for warning in unmatched_files(tree, self._config.state, self._config.environments, used, budget):
            if warning.origin is not None and not self._is_never_read(tree, warning.origin.file):
                yield warning

    def _is_never_read(self, tree: Tree, path: str) -> bool:
        return tree.is_protected(path) or is_configuration(self._config, path)

    def find(self, tree: Tree, environment: str | None, reading: Reading) -> Iterator[StateFile]:
        """The state files with the overlays of an environment. What cannot be searched is noted in `reading`."""
        paths: dict[str, None] = {}
        steps, skip = StepBudgets(self._config.limits), partial(self._skip, reading)
        for pattern in self._config.state:
            try:
                paths.update(dict.fromkeys(self.matches(tree, pattern, steps, skip)))
            except UnreadableError as error:
                folder = quoted(split(pattern)[0] or ".")
                reading.problems.append(
                    Problem(f"state: cannot read the folder {folder}: {error}", kind=Kind.UNREADABLE)
                )
        if not paths and not reading.problems and not reading.unsearched:
            hint = "kvsync never treats an empty folder as a request to delete everything"
            reading.problems.append(
                Problem(
                    f"no state file matches {', '.join(self._config.state)}", None, hint, detail=ErrorCode.UNREADABLE
                )
            )
        for path in [path for path in paths if not is_text(path)]:
            del paths[path]
            problem = Problem(f"state: the file name {quoted(path)} is not UTF-8", None, "rename it")
            reading.unsearched.append((self._config.authority.grants_of([path]), problem))
        for file in pair_overlays(tree, sorted(paths), self._config.environments, environment):
            if file.rival is not None:
                message = f"a second overlay of {file.path}, next to {file.overlay}"
                reading.problems.append(Problem(message, Origin(file.rival, 1, 1), "remove one", Kind.CONTRADICTION))
            yield file

    def _skip(self, reading: Reading, folder: str, error: UnreadableError) -> None:
        """Hold all targets that the files in a folder may name, because the files cannot be read."""
        problem = Problem(f"state: cannot read the folder {quoted(folder or '.')}: {error}", kind=Kind.UNREADABLE)
        authority = self._config.authority
        grants = None if authority.authors.targets is None else (authority.grants_at(f"{folder}/"),)
        reading.unsearched.append((grants, problem))
