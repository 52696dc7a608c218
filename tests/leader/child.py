"""What a forked replica does first: the service account of its pod is in the folder that the environment names."""

from __future__ import annotations

import os
from pathlib import Path

from kvsync.leader.in_cluster import in_cluster


def prepare() -> None:
    """Find the service account there."""
    in_cluster.__defaults__ = (Path(os.environ["SERVICE_ACCOUNT"]),)
