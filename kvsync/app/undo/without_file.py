"""Undo on a machine that has only the address of the shared state: replicas read the stores and carry it out."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from kvsync.app.state_access import DSN, open_without_file
from kvsync.app.workspace import Workspace
from kvsync.desired import DesiredState, Source
from kvsync.errors import KvsyncError, Problem
from kvsync.reconcile import PassContext
from kvsync.util.clock import Clock
from kvsync.util.redaction import REDACTOR


@contextmanager
def open_state_workspace(environment: str | None) -> Iterator[tuple[Workspace, DesiredState]]:
    """A workspace that knows the shared state, but neither files nor stores, and what the files ask: nothing that is known.
    Raises StateDirError, AuthError."""
    with open_without_file(environment, writable=False) as (config, state):
        context = PassContext(config.owner, state, Clock(), writable=False, writing=False)
        source = Source(config, {}, None, os.environ)
        yield Workspace(config, {}, source, context, REDACTOR), source.without_files(Problem("there is no kvsync.yaml"))


def no_replica() -> KvsyncError:
    """Why an undo is refused here while no replica is alive."""
    return KvsyncError(
        "without a kvsync.yaml on this machine, a replica has to carry out the undo, and none is running; start one, or run the"
        " command where the kvsync.yaml is"
    )


def no_preview() -> KvsyncError:
    """Why an undo cannot be previewed here."""
    return KvsyncError(
        f"a preview reads the stores, and this machine has only {DSN}; preview the undo on the status page of a replica,"
        " or run the command where the kvsync.yaml is"
    )
