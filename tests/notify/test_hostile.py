"""Hostile text in notices: what others worded is reported, and does nothing."""

from __future__ import annotations

import json
import re

import jsonschema
from hypothesis import given, settings
from hypothesis import strategies as st

from kvsync.app.json_schema import notice_schema
from kvsync.config.model import NoticeFormat, NoticeKind
from kvsync.model.entry import Target
from kvsync.notify.message import MessageFormatter, Sender
from kvsync.notify.model import Fact, Notice
from tests.support.examples import examples
from tests.support.hostile_text import HOSTILE, MARK, is_harmless

hostile = st.sampled_from(HOSTILE) | st.lists(st.sampled_from(HOSTILE), min_size=2, max_size=3).map("".join)


def notices(evil: str) -> list[Notice]:
    target = Target(evil, evil)
    facts = [
        Fact(NoticeKind.FAILED, 0, error=evil, attempts=2),
        Fact(NoticeKind.PARKED, 0, "sha256:" + "0" * 64, reasons=(evil, evil)),
        Fact(NoticeKind.DRIFT, 0, drift={"drifted": 1}),
    ]
    return [*(Notice(target, fact) for fact in facts), Notice(target, ended=(NoticeKind.FAILED,))]


def written(form: NoticeFormat, evil: str) -> bytes:
    return MessageFormatter(form, Sender(evil, evil), str).write(notices(evil), 0)[1]


@given(evil=hostile)
@settings(max_examples=examples(100))
def test_slack(evil: str) -> None:
    """In a message for people, what others worded stands in code, in its own line, and calls and links nothing."""
    text = json.loads(written(NoticeFormat.SLACK, evil))["text"]
    lines = text.split("\n")
    assert len(lines) == 5
    assert all(map(is_harmless, lines))
    assert not re.search(r"[<>]|&(?!amp;|lt;|gt;)", text)
    for line in lines:
        assert line.count("`") % 2 == 0
        assert MARK not in re.sub("`[^`]*`", "", line)


@given(evil=hostile)
@settings(max_examples=examples(100))
def test_webhook(evil: str) -> None:
    """For programs it is one JSON document by its schema, in ASCII, and its sentences are visible in one line."""
    body = written(NoticeFormat.WEBHOOK, evil).decode("ascii")
    assert is_harmless(body)
    document = json.loads(body)
    jsonschema.validate(document, notice_schema())
    failed, parked, *_ = document["notices"]
    assert all(map(is_harmless, (failed["error"], *parked["reasons"])))
