"""No secret in anything that is shown, wherever it comes from."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from kvsync.daemon.ports import LoadedTargets
from kvsync.errors import Origin, Problem
from kvsync.model.change import Action, Class, Refusal
from kvsync.model.entry import Identity, Target
from kvsync.model.plan import TargetPlan, TargetReport
from kvsync.model.result import PassResult, Trigger
from kvsync.state import StateDir
from kvsync.status.assemble import assemble
from kvsync.status.collector import Collector
from kvsync.status.document import snapshot_document, status_document
from kvsync.status.metrics import exposition
from kvsync.status.snapshot import ProcessView
from kvsync.status.target_reports import CollectorSettings
from kvsync.util.clock import Clock
from kvsync.util.redaction import Redactor
from tests.status.support import BEARER, RUN, SECRET, TOKEN, live
from tests.status.test_collector import CollectorArguments
from tests.support.examples import examples
from tests.support.memory_repository import MemoryRepository

WEB = Target("main", "web")


def shown(state: StateDir, secret: str, redactor: Redactor) -> str:
    """Everything that is shown of a target whose store, files and refusals all quote something."""
    collector = Collector(
        CollectorSettings(ProcessView(1, "0", "apply", 0.0), state, Clock(), redactor.redact), CollectorArguments()
    )
    problem = Problem(f"quotes {secret}", Origin("state/web.yaml", 1, 1), f"not {secret}")
    collector.files_loaded(frozenset({WEB}), LoadedTargets({WEB: ""}, {WEB: (problem,)}, problems=(problem,)))
    refusal = Refusal(Identity("greeting"), Class.TAKEN, Action.UPDATE, f"the store said {secret}")
    plan = TargetPlan(WEB, "sqlite", "sha256:0", refused=(refusal,))
    told = {"error": f"failed with {secret}", "parked": (f"too much {secret}",), "report": TargetReport(plan)}
    collector.pass_done(PassResult(WEB, **told, pending=1, triggers=(Trigger.HOOK,), at=1.0, seconds=0.1))  # type: ignore[arg-type]
    snapshot = assemble(collector._snapshot_input())
    rows = repr([view.plan for view in snapshot.targets])
    return (
        redactor.clean_text(snapshot_document(status_document(state, 0), snapshot))
        + rows
        + exposition(snapshot).body.decode()
    )


@settings(max_examples=examples(40), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(secret=st.text(st.characters(codec="utf-8"), min_size=6, max_size=40))
def test_what_the_redactor_knows_is_nowhere(secret: str, tmp_path: Path) -> None:
    """Whatever secret a store, a file or a refusal quotes, in whatever characters: it is in no answer and no row."""
    with StateDir.open(tmp_path / "state", writable=True) as state:
        forms = {secret, json.dumps(secret)[1:-1], repr(secret)[1:-1]}
        assume(not any(form in shown(state, "", Redactor()) for form in forms))
        redactor = Redactor()
        redactor.register(secret)
        text = shown(state, secret, redactor)
    assert not any(form in text for form in forms)
    assert "***" in text


SENSITIVE = "sensitive-7f3a9c"
STATES = {
    "in sync": {"s": f"{{value: {SENSITIVE}, sensitive: true}}"},
    "changed": {"s": f"{{value: {SENSITIVE}-new, sensitive: true}}"},
    "laid open": {"s": "plain"},
}


@pytest.mark.parametrize("wanted", STATES)
@pytest.mark.parametrize("observe", [False, True])
async def test_a_sensitive_value_is_nowhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wanted: str, observe: bool
) -> None:
    """A value that is sensitive on either side of a change, its credential or the server's own is in no byte of any answer."""
    repo = MemoryRepository(tmp_path, monkeypatch)
    repo.configure(more=RUN)
    await repo.settle({"s": f"{{value: {SENSITIVE}, sensitive: true}}", "other": 1})
    repo.want(STATES[wanted] | {"other": 2})
    async with live(repo, observe=observe) as daemon:
        await daemon.becomes("pending" if observe else "in-sync", passes=1)
        paths = ("/status", "/metrics", "/healthz", "/readyz", "/nope")
        bodies = [(await daemon.get(path, **BEARER)).body for path in paths]
        bodies.append(repr(await daemon.collector.snapshot()).encode())
        bodies.append((await daemon.post("/pause/" + TOKEN, **BEARER)).body)
    assert not [body for body in bodies for secret in (SENSITIVE, SECRET) if secret.encode() in body]
    assert not [body for body in bodies[:-1] if TOKEN.encode() in body]
