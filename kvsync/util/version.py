"""Version of kvsync as people see it."""

from __future__ import annotations

import os.path

from kvsync import __version__

_RECORD = os.path.join(os.path.dirname(os.path.dirname(__file__)), "COMMIT")  # noqa: PTH118, PTH120 - pathlib takes long


def version_text() -> str:
    """The name, the version, and the commit of an installation that was built from a Git checkout."""
    commit = _recorded_commit()
    return f"kvsync {__version__}" + (f" (commit {commit})" if commit else "")


def _recorded_commit() -> str | None:
    """What `scripts/build_hook.py` recorded in the package; None in a checkout."""
    try:
        with open(_RECORD, encoding="ascii") as file:  # noqa: PTH123 - pathlib takes long
            return file.read().strip()
    except OSError:
        return None
