"""Files that a glob of `files:` matches but must not include: excluded ones, and leftovers of editors and merges."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from fnmatch import translate
from functools import lru_cache
from typing import Final

BY_PRODUCTS: Final = ("*~", "#*#", ".*.sw?", "*___jb_*___", "*.orig", "*.rej", "4913")
"""Names that editors give to copies and probes (vim, Emacs, JetBrains), and that merges and patches leave. No wildcard means
them."""

_MAGIC: Final = re.compile(r"[*?[]")


def is_by_product(name: str) -> bool:
    """True for the name of a file that a tool left behind."""
    return any(test(name) for test in map(_test, BY_PRODUCTS))


def exclusion(patterns: Iterable[str], glob: str = "*") -> Callable[[str], bool]:
    """The test for paths that are left out. As in a .gitignore: a pattern without a slash is about a name at any depth, one
    with a slash about a path from the folder on, and what names a folder leaves out everything in it. By-products are left
    out unless `glob` spells their name."""
    names = [_test(pattern) for pattern in patterns if "/" not in pattern.rstrip("/")]
    paths = [_parts(pattern) for pattern in patterns if "/" in pattern.rstrip("/")]
    is_spelled = not _MAGIC.search(glob.rpartition("/")[2])

    def is_left_out(path: str) -> bool:
        parts = path.split("/")
        if not is_spelled and is_by_product(parts[-1]):
            return True
        return any(test(part) for test in names for part in parts) or any(_leads(parts, tests) for tests in paths)

    return is_left_out


def _parts(pattern: str) -> list[Callable[[str], object] | None]:
    """The tests for the parts of a path; None is any number of folders."""
    parts = [part for part in pattern.split("/") if part not in ("", ".")]
    return [None if part == "**" else _test(part) for part in parts]


def _leads(names: Sequence[str], tests: Sequence[Callable[[str], object] | None]) -> bool:
    """True when the tests cover a path, or the first of its folders. Takes steps in proportion to names times tests."""
    reached = {0}
    for test in tests:
        if test is None:
            reached = set(range(min(reached), len(names)))
        else:
            reached = {here + 1 for here in reached if here < len(names) and test(names[here])}
        if not reached:
            return False
    return True


@lru_cache(maxsize=1024)
def _test(pattern: str) -> Callable[[str], object]:
    return re.compile(translate(pattern.rstrip("/"))).match
