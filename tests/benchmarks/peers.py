"""Programs of others that are measured next to kvsync, installed from npm on first use."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.emulators.npm import installed


def packages(manifest: str, what: str) -> Path | None:
    """The folder `node_modules` with what a manifest in `tests/emulators/js` names. None, after a line that says why, if that
    cannot be had."""
    try:
        return installed(manifest, what)
    except pytest.skip.Exception as reason:
        print(f"{what} is left out: {reason}", flush=True)
        return None
