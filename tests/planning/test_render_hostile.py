"""Hostile text in every part of a plan, through every renderer."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from kvsync.errors import InvalidInput, Kind, Origin, Problem
from kvsync.model.change import Action, Class, Outcome, OutcomeKind, Refusal
from kvsync.model.entry import Content, Identity, Target
from kvsync.model.plan import Plan, TargetReport, make_plan
from kvsync.rendering import findings, markdown, text
from kvsync.rendering import json as json_
from kvsync.rendering.saved_plan import load, save
from kvsync.rendering.style import Style
from kvsync.util.escaping import escape_name
from tests.planning.plans import change, seal, stored, target_plan, wanted
from tests.support.examples import examples
from tests.support.hostile_text import HOSTILE, MARK, is_harmless

hostile = st.sampled_from(HOSTILE) | st.lists(st.sampled_from(HOSTILE), min_size=2, max_size=3).map("".join)
_OURS = (
    "      ",
    "  + ",
    "  ~ ",
    "  - ",
    "  ! ",
    "  problem: ",
    "  parked: ",
    "  error: ",
    "  caution: ",
    "edge/",
    '"edge/',
)
"""What a line may begin with, besides the name of a target: it is set in, or has a sign or a word of kvsync's."""
_COLOR = re.compile(r"\x1b\[[0-9;]*m")


def plan_with(evil: str) -> Plan:
    """A plan that says it wherever a plan says anything."""
    data = evil.encode("utf-8", "surrogatepass").decode("utf-8", "replace")
    where = Origin(evil, 7, 3)
    content = Content(data.encode(), evil, ((evil, evil),), json.dumps({evil: evil}))
    document = Content(json.dumps({evil: [evil]}).encode(), "application/json")
    entry = replace(wanted(evil, content, evil), origin=where)
    changes = [
        replace(change(None, entry), origin=where),
        replace(
            change(stored(evil, data), wanted(evil, content), ("value", "tags", "metadata", "content_type")),
            origin=where,
        ),
        change(stored(evil, document, "l"), wanted(evil, Content(b'{"b": 1}', "application/json"), "l", json=True)),
        change(stored(f"{evil}2", f"one\n{data}\ntwo\n"), wanted(f"{evil}2", f"one\n{data}{data}\n{data}\n")),
        replace(change(stored(f"{evil}3", "v"), None), moved_to=Identity(evil, evil), reasons=(evil,)),
        change(stored(f"{evil}4", "v", owner=evil), wanted(f"{evil}4", "w", sensitive=True)),
    ]
    refusals = [Refusal(Identity(evil, evil), Class.TAKEN, Action.UPDATE, evil, where)]
    problem = Problem(evil, where, evil)
    full = target_plan(
        *changes, target=Target(evil, evil), refused=refusals, reported=tuple(changes[:2]), parked=(evil, evil), type=evil,
        problems=(problem,), error=evil,
    )  # fmt: skip
    quiet = target_plan(change(stored("a", data), None), target=Target("edge", evil), type=evil, compare_and_set=False)
    return make_plan(b"key", evil, [full, quiet], source=evil)


def reports_of(plan: Plan, evil: str) -> list[TargetReport]:
    outcomes = [Outcome(Identity(evil, evil), Action.UPDATE, kind, evil) for kind in OutcomeKind]
    return [TargetReport(target, tuple(outcomes), evil) for target in plan.targets]


@given(evil=hostile, color=st.booleans(), full=st.booleans(), width=st.sampled_from([60, 200]))
@settings(max_examples=examples(150))
def test_text(evil: str, color: bool, full: bool, width: int) -> None:
    """In text, each line is kvsync's own, and everything in it is visible; a terminal sees no code but colours."""
    plan, style = plan_with(evil), Style(color, width, full)
    for shown in (
        text.render_plan(plan, style),
        text.render_drift(plan, style),
        text.render_report(reports_of(plan, evil), style),
    ):
        lines = _COLOR.sub("", shown).split("\n")
        assert all(map(is_harmless, lines))
        title = escape_name(f"{evil}/{evil}")
        assert not [line for line in lines if MARK in line and not line.startswith((title, *_OURS))]
        assert color or "\x1b" not in shown


@given(evil=hostile)
@settings(max_examples=examples(100))
def test_json(evil: str) -> None:
    """As JSON, a plan is one line of ASCII that strict parsers take."""
    plan = plan_with(evil)
    for shown in (json_.render_plan(plan, seal), json_.render_report(plan, reports_of(plan, evil), seal)):
        (line,) = shown.splitlines()
        assert is_harmless(line)
        assert line.isascii()
        json.dumps(json.loads(line), ensure_ascii=False).encode()


@given(evil=hostile)
@settings(max_examples=examples(100))
def test_a_saved_plan_comes_back(evil: str) -> None:
    """A plan with hostile names is saved and read back, or refused as one of ours that is damaged."""
    saved = save(plan_with(evil), seal, evil)
    try:
        assert not load(saved).is_altered(seal)
    except InvalidInput:
        assert [char for char in evil if "\ud800" <= char <= "\udfff"]


@given(evil=hostile)
@settings(max_examples=examples(100), deadline=None)
def test_markdown(evil: str) -> None:
    """In a comment there is no element, link or image but ours, every row has its five cells, and fences are closed."""
    plan = plan_with(evil)
    for shown in (markdown.render_plan(plan), markdown.render_report(plan, reports_of(plan, evil))):
        tokens = MarkdownIt("gfm-like").disable("linkify").parse(shown)
        inside = [*tokens, *(child for token in tokens for child in token.children or ())]
        assert not {token.type for token in inside} & {"link_open", "image", "em_open", "s_open"}
        assert {token.content for token in inside if token.type == "code_inline"} <= {"kvsync plan"}  # ours
        assert {token.tag for token in inside if token.type == "heading_open"} <= {"h3", "h4"}
        content = "".join(token.content for token in inside if token.type in ("html_inline", "html_block"))
        tags = re.findall(r"<(/?[a-z]+)([^>]*)>", content)
        assert {name.removeprefix("/") for name, _ in tags} <= {"code", "sub", "details", "summary"}
        assert {attributes for _, attributes in tags} <= {"", ' dir="auto"'}
        assert not re.search(
            r"[@#](?=\w)", re.sub(r"&#\d+;|```diff\n.*?\n```", "", shown, flags=re.DOTALL).replace("###", "")
        )
        fenced = [token.content for token in tokens if token.type == "fence"]
        assert all(line[:1] in "+-! @" for block in fenced for line in block.split("\n") if line)


@given(evil=hostile, kind=st.sampled_from(list(Kind)))
def test_findings(evil: str, kind: Kind) -> None:
    """For SARIF, GitHub and GitLab a problem is one finding, whatever its file and its message are called."""
    found = [findings.CiFinding(evil, 3, 4, kind, evil)]
    (line,) = findings.github(found).splitlines()
    assert re.fullmatch(r"::error file=[^,:]*,line=3,col=4,title=kvsync%3A [a-z-]+::.*", line)
    assert is_harmless(line.removeprefix("::"))
    documents: list[Any] = [findings.sarif(found, "1.0"), findings.gitlab(found)]
    for document in documents:
        for said in _texts(document):
            assert is_harmless(said) or said == evil
    (result,) = documents[0]["runs"][0]["results"]
    assert "](" not in result["message"]["text"].replace("\\]", "")


def _texts(data: Any) -> list[str]:
    members = data.values() if isinstance(data, dict) else data if isinstance(data, list) else ()
    return [data] if isinstance(data, str) else [said for member in members for said in _texts(member)]
