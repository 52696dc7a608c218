"""Values and processes that several tests use."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from kvsync.model.canonical import fingerprint
from kvsync.model.change import Action, Class, Outcome, OutcomeKind
from kvsync.model.entry import Actual, Applied, Content, Identity, Mark, Target
from kvsync.state import Intent, Settled, StateDir
from tests.support.places import key_of, located

WEB = Target("edge", "web")
WEB_AT, WEB_KEY = located(WEB), key_of(WEB)
KEY = Identity("greeting")
OWNER = "payments-gitops"


def content(text: str) -> Content:
    return Content(text.encode())


def print_of(text: str) -> bytes:
    return fingerprint(content(text))


def applied(text: str, *, sensitive: bool = False, etag: str | None = "7") -> Applied:
    return Applied(Mark(OWNER, print_of(text), sensitive=sensitive), etag)


def actual(identity: Identity, text: str, *, sensitive: bool = False, etag: str = "7") -> Actual:
    mark = Mark(OWNER, print_of(text), sensitive=sensitive)
    return Actual(identity, etag, print_of(text), content(text), len(text), mark=mark)


def update(identity: Identity, before: str, after: str, *, sensitive: bool = False) -> Intent:
    return Intent(
        identity,
        Action.UPDATE,
        Class.CHANGED,
        actual(identity, before, sensitive=sensitive),
        print_of(after),
        sensitive,
        "state/web.yaml:6:3",
    )


def done(identity: Identity, after: str, *, etag: str = "8") -> Settled:
    outcome = Outcome(identity, Action.UPDATE, OutcomeKind.APPLIED, etag=etag)
    return Settled(outcome, applied(after, etag=etag))


def apply_one(state: StateDir, identity: Identity, before: str, after: str) -> str:
    """A whole run of one update; returns its id."""
    run = state.journal.begin("apply")
    run.intend(WEB_AT, [update(identity, before, after)])
    run.settle(WEB_AT, [done(identity, after)])
    run.finish({"applied": 1})
    return run.id


PRELUDE = """
import os, signal, sys
from pathlib import Path
from kvsync.util.clock import Clock
from kvsync.model.entry import *
from kvsync.errors import *
from kvsync.state import *
from tests.state.examples import *
path = Path(sys.argv[1])
"""


def start(script: str, path: Path, *, wrapper: tuple[str, ...] = ()) -> subprocess.Popen[str]:
    """Start a process that runs `script` over the state directory."""
    root = Path(__file__).parents[2]
    return subprocess.Popen(
        [*wrapper, sys.executable, "-c", PRELUDE + script, str(path)],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def run(script: str, path: Path, *, wrapper: tuple[str, ...] = ()) -> str:
    """What a process that runs `script` over the state directory prints."""
    with start(script, path, wrapper=wrapper) as process:
        output, _ = process.communicate(timeout=60)
    return output
