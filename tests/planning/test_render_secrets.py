"""What must never be shown is shown nowhere: not by any renderer, not in a saved plan, not by a repr."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from urllib.parse import quote

from hypothesis import given
from hypothesis import strategies as st

from kvsync.model.change import Action, Change, Class, OutcomeKind
from kvsync.model.entry import Content, Mark
from kvsync.model.plan import Plan, TargetPlan
from kvsync.rendering import json as as_json
from kvsync.rendering import markdown, text
from kvsync.rendering.plan_selection import select
from kvsync.rendering.saved_plan import load, save
from kvsync.rendering.style import Style
from tests.planning.plans import OWNER, change, configured, outcome, plan, report, seal, stored, target_plan, wanted

SECRET = "hunter2-S3CRET"
TYPES = st.sampled_from([None, "application/json", "text/html"])


@st.composite
def contents(draw: st.DrawFn, secret: str = SECRET) -> Content:
    """A content that holds the secret everywhere a content can hold something."""
    pass_context = draw(
        st.sampled_from(["{}", "a\n{}\nb\n", '{{"password": "{}"}}', "x" * 200 + "{}", "{}" + "\n" * 40])
    )
    value = pass_context.format(secret).encode() + draw(st.sampled_from([b"", b"\xff\x00"]))
    return Content(value, draw(TYPES), (("pass", secret),), f'{{"p":"{secret}"}}')


@st.composite
def hidden_changes(draw: st.DrawFn) -> Change:
    """A change of which one side or the other is secret: sensitive now, sensitive before, or not ours."""
    secret, plain = draw(contents()), draw(contents("harmless"))
    how = draw(st.sampled_from(["desired", "marked", "both", "unowned", "taken"]))
    lifetime = draw(st.sampled_from([None, 60]))
    if how == "desired":
        before = draw(st.none() | st.just(stored("k", secret)))
        return change(before, wanted("k", secret, sensitive=True, ttl=lifetime), ("value", "tags"))
    sensitive = how in ("marked", "both")
    owner = "another" if how == "taken" else OWNER
    mark = None if how == "unowned" else Mark(owner, b"print", sensitive=sensitive)
    before = stored("k", secret, mark=mark)
    after = draw(st.none() | st.just(wanted("k", secret if how == "both" else plain, sensitive=how == "both")))
    action = Action.DELETE if after is None else draw(st.sampled_from([Action.UPDATE, Action.ADOPT]))
    return change(before, after, draw(st.sampled_from([(), ("value", "metadata")])), action=action, cause=Class.DRIFTED)


def outputs(made: Plan, target: TargetPlan, one: Change) -> Iterator[str]:
    """Everything that can be made of a plan."""
    reports = [report(target, outcome(one, OutcomeKind.CONFLICT, "changed by another writer"))]
    for style in (Style(), Style(color=True, width=200, full=True)):
        yield text.render_plan(made, style)
        yield text.render_report(reports, style)
    yield markdown.render_plan(made)
    yield as_json.render_plan(made, seal)
    yield as_json.render_report(made, reports, seal)
    saved = save(made, seal, "prod")
    yield saved
    yield repr(load(saved))
    yield repr(select(load(saved), made, seal, configured))
    yield repr(made)
    yield repr(reports)


def spellings(secret: str) -> list[str]:
    return [secret, quote(secret), base64.b64encode(secret.encode()).decode(), secret.encode().hex(), secret[:9]]


@given(hidden_changes(), st.booleans())
def test_no_secret_is_shown(one: Change, reported: bool) -> None:
    """The content of a sensitive entry, and what the store holds of an entry that is not ours, is in no output at all."""
    target = target_plan(reported=(one,)) if reported else target_plan(one)
    for output in outputs(plan(target), target, one):
        assert not any(spelling in output for spelling in spellings(SECRET))


@given(hidden_changes())
def test_sensitive_fingerprints_are_sealed(one: Change) -> None:
    """The bare fingerprint of a sensitive value, from which it could be guessed, is in no output either."""
    prints = [side.fingerprint for side in (one.before, one.after) if side is not None and side.fingerprint is not None]
    target = target_plan(one)
    told = list(outputs(plan(target), target, one))[:-2]  # a repr is for those who hold the values anyway
    if one.sensitive:
        assert not any(print_.hex()[:8] in output for print_ in prints for output in told)


@given(hidden_changes())
def test_the_entry_itself_is_shown(one: Change) -> None:
    """What is hidden is the content: that the entry changes is shown by every renderer, the same way each time."""
    target = target_plan(one)
    made = plan(target)
    told = list(outputs(made, target, one))
    assert "  ".join([" k"]) in told[0]
    assert "<code>k</code>" in told[4]
    assert '"key": "k"' in told[5]
    assert told == list(outputs(made, target, one))


@given(st.lists(st.text(min_size=1, max_size=12), unique=True, max_size=30), st.integers(0, 2))
def test_every_change_appears(keys: list[str], kind: int) -> None:
    """Every change of a plan appears in text and in JSON, whatever its key."""
    make = [
        lambda k: change(None, wanted(k, "v")),
        lambda k: change(stored(k, "v"), None),
        lambda k: change(stored(k, "v"), wanted(k, "w")),
    ]
    changes = [make[kind](key) for key in keys]
    told = text.render_plan(plan(target_plan(*changes)), Style(full=True))
    assert sum(line.startswith(("  + ", "  - ", "  ~ ")) for line in told.splitlines()) == len(keys)
    document = as_json.plan_document(plan(target_plan(*changes)), seal)
    assert [each["key"] for each in document["targets"][0]["changes"]] == keys
