"""Public names of a package, each of which is imported from its module when it is first used.

A package that imports all of its modules makes every command pay for what one of them needs.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping


def lazy_names(package: str, names: Mapping[str, str]) -> Callable[[str], object]:
    """Return the `__getattr__` of a package. `names` maps each of its modules to the public names in it, separated by
    blanks."""
    homes = {name: module for module, listed in names.items() for name in listed.split()}

    def imported(name: str) -> object:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        # `importlib.import_module` would hide the module from `python -X importtime`.
        found: object = getattr(__import__(f"{package}.{homes[name]}", fromlist=[name]), name)
        setattr(sys.modules[package], name, found)
        return found

    return imported
