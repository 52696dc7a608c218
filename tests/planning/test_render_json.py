"""A plan as programs read it."""

from __future__ import annotations

import json

from kvsync.errors import Origin, Problem
from kvsync.model.change import Action, Class, OutcomeKind, Refusal
from kvsync.model.entry import Identity, Mark, Target
from kvsync.model.plan import Cost, Stats
from kvsync.rendering.json import change_document, plan_document, render_plan, render_report, report_document
from kvsync.util.json_pieces import StreamedList, json_pieces
from tests.planning.plans import (
    OWNER,
    TARGET,
    change,
    outcome,
    plan,
    plan_of,
    report,
    seal,
    stored,
    target_plan,
    wanted,
)

DRIFTED = change(stored("greeting", "Hullo"), wanted("greeting", "Hello!"), line=6, cause=Class.DRIFTED)
REFUSAL = Refusal(Identity("vip", "eu"), Class.TAKEN, Action.UPDATE, "it belongs to another owner")


def test_whole_document() -> None:
    """The document has exactly the members that are promised, in that order."""
    made = plan(
        target_plan(DRIFTED, refused=[REFUSAL], unchanged=120, foreign=3, cost=Cost(2, 812, 0.5)),
        stats=Stats(4, 10312, 0.21),
    )
    before, after = DRIFTED.before, DRIFTED.after
    assert before is not None
    assert before.fingerprint is not None
    assert after is not None
    expected = {
        "schema": "kvsync.plan/1",
        "digest": made.digest,
        "owner": OWNER,
        "targets": [
            {
                "store": "edge",
                "type": "sqlite",
                "namespace": "web",
                "complete": True,
                "parked": [],
                "approved": False,
                "changes": [
                    {
                        "action": "update",
                        "class": "drifted",
                        "key": "greeting",
                        "label": None,
                        "reasons": ["value"],
                        "etag": "etag-1",
                        "before": {"fingerprint": before.fingerprint.hex(), "size": 5},
                        "after": {"fingerprint": after.fingerprint.hex(), "size": 6},
                        "origin": "state/web.yaml:6:3",
                    }
                ],
                "refused": [
                    {
                        "action": "update",
                        "class": "taken",
                        "key": "vip",
                        "label": "eu",
                        "reason": "it belongs to another owner",
                        "code": "KV4102",
                        "reasons": [],
                        "origin": None,
                    }
                ],
                "foreign": 3,
                "unchanged": 120,
                "cost": {"requests": 2, "bytes": 812, "seconds": 0.5},
                "digest": made.targets[0].digest,
                "reported": [],
                "ignored": 0,
                "expired": 0,
                "orphans": 0,
                "problems": [],
                "error": None,
                "place": None,
                "moved_from": None,
            }
        ],
        "summary": {
            "create": 0,
            "update": 1,
            "renew": 0,
            "adopt": 0,
            "delete": 0,
            "unchanged": 120,
            "foreign": 3,
            "refused": 1,
        },
        "stats": {"requests": 4, "bytes_received": 10312, "seconds": 0.21},
    }
    assert json.dumps(plan_document(made, seal)) == json.dumps(expected)


def test_sides() -> None:
    """A create has no before, a delete no after; lifetimes, ends and the other half of a move are reported where they are."""
    made = plan_of(
        change(None, wanted("a", "v", ttl=60)),
        change(stored("b", "v", expires_at=60.5, mark=Mark(OWNER, b"", ttl=60)), None, moved_to=Identity("a")),
        change(stored("c", "v", fingerprint=None, content=None, size=9), wanted("c", "v", expires_at=60)),
    )
    create, delete, update = plan_document(made, seal)["targets"][0]["changes"]
    assert create["before"] is None
    assert create["after"]["ttl"] == 60
    assert delete["after"] is None
    assert delete["before"]["ttl"] == 60
    assert delete["before"]["expires_at"] == "1970-01-01T00:01:00Z"
    assert delete["moved_to"] == {"key": "a", "label": None}
    assert update["before"] == {"fingerprint": None, "size": 9}
    assert update["after"]["expires_at"] == "1970-01-01T00:01:00Z"


def test_sensitive() -> None:
    """Of a sensitive value the document has a sealed fingerprint and no size, on both sides, and says that it is one."""
    one = change(stored("k", "old"), wanted("k", "secret", sensitive=True))
    (told,) = plan_document(plan_of(one), seal)["targets"][0]["changes"]
    assert one.before is not None
    assert one.before.fingerprint is not None
    assert one.after is not None
    assert told["sensitive"] is True
    assert told["before"] == {"fingerprint": seal(one.before.fingerprint), "size": None}
    assert told["after"] == {"fingerprint": seal(one.after.fingerprint), "size": None}


def test_troubled_target() -> None:
    """Problems come with their place, next to the error, the reasons to be parked, and drift that is only reported."""
    target = target_plan(
        problems=(Problem("bad", Origin("f.yaml", 1, 2), "fix it"),),
        error="down",
        parked=("why",),
        reported=(DRIFTED,),
        complete=False,
    )
    (told,) = plan_document(plan(target), seal)["targets"]
    assert told["problems"] == ["f.yaml:1:2: bad (fix it)"]
    assert (told["error"], told["parked"], told["complete"]) == ("down", ["why"], False)
    assert [one["key"] for one in told["reported"]] == ["greeting"]


def test_report() -> None:
    """After an apply every target has its outcomes, and the summary counts every kind, exactly and next to the plan's
    counts."""
    first = target_plan(DRIFTED, refused=[REFUSAL], unchanged=120)
    second = target_plan(target=Target("x", "y"))
    made = plan(first, second)
    reports = [report(first, outcome(DRIFTED, OutcomeKind.UNCHANGED), error="gone")]
    document = report_document(made, reports, seal)
    told = {(each["store"], each["namespace"]): each for each in document["targets"]}
    assert told[TARGET.store, TARGET.namespace]["outcomes"] == [
        {"key": "greeting", "label": None, "action": "update", "outcome": "unchanged", "error": None}
    ]
    assert told[TARGET.store, TARGET.namespace]["error"] == "gone"
    assert told["x", "y"]["outcomes"] == []
    summary = document["summary"]
    assert summary["outcomes"] == {kind.value: int(kind is OutcomeKind.UNCHANGED) for kind in OutcomeKind}
    assert (summary["unchanged"], summary["refused"], summary["update"]) == (121, 1, 1)
    assert all(summary[kind.value] == 0 for kind in OutcomeKind if kind.value not in ("unchanged", "refused"))


def test_text() -> None:
    """The document is one line of ASCII: no character in a key can fool a terminal."""
    made = plan_of(change(stored("k\x1b\u202e\x9b", "v"), None))
    for text in (render_plan(made, seal), render_report(made, [], seal)):
        assert text.isascii()
        assert text.count("\n") == 1
        assert text.endswith("}\n")
        assert json.loads(text)["targets"][0]["changes"][0]["key"] == "k\x1b\u202e\x9b"


def test_entries_share_the_texts_of_their_actions() -> None:
    """A document of very many changes has the word of an action and of a class once, and not once for each change."""
    described = change_document(change(None, wanted("a", "v")), seal)
    assert described["action"] is Action.CREATE.value
    assert described["class"] is Class.NEW.value


def test_a_long_plan_is_described_while_it_is_written() -> None:
    """With streamed lists, the text is the same, and the changes of a target are described a few at a time, also those that
    were reported or applied."""
    changes = [change(None, wanted(f"key-{number}", "x", sensitive=True)) for number in range(600)]
    target = target_plan(*changes, reported=changes)
    made, reports = plan(target), [report(target, *(outcome(one, OutcomeKind.APPLIED) for one in changes))]
    described: list[bytes] = []

    def counting(fingerprint: bytes) -> str:
        described.append(fingerprint)
        return seal(fingerprint)

    pieces = json_pieces(report_document(made, reports, counting, StreamedList))
    assert not described
    texts = [next(piece for piece in pieces if "key-0" in piece)]
    assert len(described) == texts[0].count('"key"') < 300
    whole = "".join(json_pieces(report_document(made, reports, counting, StreamedList)))
    assert whole == json.dumps(report_document(made, reports, seal))
