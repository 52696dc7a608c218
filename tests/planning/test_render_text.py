"""A plan as a person at a terminal sees it."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvsync.errors import Origin, Problem
from kvsync.model.change import Action, Change, Class, OutcomeKind, Refusal
from kvsync.model.entry import Content, Identity, Target
from kvsync.model.plan import Cost
from kvsync.rendering.markdown import render_report as render_markdown_report
from kvsync.rendering.style import Style
from kvsync.rendering.text import render_plan, render_report
from tests.planning.plans import change, outcome, plan, plan_of, report, stored, target_plan, wanted

ANSI = re.compile("\x1b\\[[0-9;]*m")
REFUSAL = Refusal(Identity("vip"), Class.PROTECTED, Action.DELETE, "it is protected", Origin("state/web.yaml", 9, 3))
MANY = [change(None, wanted(f"key{number:05}", "v")) for number in range(5000)]


def lines_of(*changes: Change, style: Style | None = None) -> list[str]:
    """The lines that tell of changes: those below the head of the target, up to the cost."""
    text = render_plan(plan_of(*changes), style or Style(width=200))
    return text.split("\n  cost:")[0].splitlines()[1:]


def json_content(text: str) -> Content:
    return Content(text.encode(), "application/json")


def test_whole_plan() -> None:
    """A plan reads from the head of each target down to one line that sums it up."""
    changes = [
        change(None, wanted("greeting", "Hello"), line=6),
        change(stored("timeout", "30", "prod"), wanted("timeout", "60", "prod"), line=7, cause=Class.DRIFTED),
        change(stored("old", "bye"), None),
    ]
    web = target_plan(*changes, refused=[REFUSAL], unchanged=120, foreign=3, cost=Cost(2, 812, 7.6))
    mail = target_plan(target=Target("local", "mail"), problems=(Problem("bad", Origin("state/mail.yaml", 3, 1)),))
    calm = target_plan(target=Target("local", "calm"), unchanged=4)
    assert render_plan(plan(web, mail, calm)) == (
        "edge/web (sqlite): 1 to create, 1 to update, 1 to delete, 1 refused\n"
        '  + greeting  "Hello"  state/web.yaml:6:3\n'
        '  ~ timeout [prod]  drifted  "30" -> "60"  state/web.yaml:7:3\n'
        '  - old  "bye"\n'
        "  ! vip  protected, not deleted: it is protected  state/web.yaml:9:3  [KV4103]\n"
        "  cost: 2 requests, 812 bytes, about 8 s at the store's rate\n"
        "\n"
        "local/mail (sqlite): left unchanged\n"
        "  problem: state/mail.yaml:3:1: bad [KV1101]\n"
        "\n"
        "Plan: 1 to create, 1 to update, 1 to delete, 1 refused, 124 unchanged, 3 foreign; "
        "1 target left unchanged because of problems\n"
    )


def test_nothing_to_do() -> None:
    """Where there is nothing to do, one line says so."""
    assert render_plan(plan_of(unchanged=1200, foreign=3)) == "Nothing to do: 1,200 unchanged, 3 foreign.\n"


def test_parked() -> None:
    """A parked target gives its reasons, and the command that releases exactly this plan."""
    target = target_plan(change(stored("a", "v"), None), parked=("too many",))
    text = render_plan(plan(target))
    assert "  parked: too many [KV5101]\n" in text
    assert f"  approve with: kvsync approve {target.digest[7:19]}\n" in text
    assert "; 1 target parked\n" in text


def test_reported() -> None:
    """Drift that is only reported is distinguished from what will be written."""
    drift = change(stored("a", "1"), wanted("a", "2"), cause=Class.DRIFTED)
    text = render_plan(plan_of(reported=(drift,)))
    assert '  reported only, not written:\n  ~ a  drifted  "1" -> "2"  state/web.yaml:1:3\n' in text
    assert text.endswith("Plan: 0 to create, 0 to update, 0 to delete, 0 unchanged, 0 foreign; 1 reported only\n")


@pytest.mark.parametrize(
    ("one", "shown"),
    [
        (change(None, wanted("k", "v", ttl=9000)), ['  + k  "v"  ttl: 2h30m']),
        (change(None, wanted("k", "v", expires_at=1_798_070_400)), ['  + k  "v"  expires_at: 2026-12-24T00:00:00Z']),
        (change(None, wanted("k", 'a"b\\c\n')), [r'  + k  "a\"b\\c\n"']),
        (change(None, wanted("k", "one\ntwo\n")), ["  + k", "      + one", "      + two"]),
        (change(stored("k", "one\ntwo\n"), None), ["  - k", "      - one", "      - two"]),
        (
            change(stored("k", "one\ntwo\nsix"), wanted("k", "one\ntwo \nsix\n")),
            [
                "  ~ k",
                "      @@ -1,4 +1,3 @@",
                "        one",
                "      - two",
                "      + two ",
                "        six",
                "      - \\ no newline at the end",
            ],
        ),
        (
            change(stored("k", b"\xff\x00"), wanted("k", b"\xff\x01\x02")),
            ["  ~ k  binary (2 bytes, 2e09f56e) -> binary (3 bytes, 9c6f5eb7)"],
        ),
        (
            change(stored("k", json_content('{"rps":10}')), wanted("k", json_content('{"rps": 1.5e1}'), json=True)),
            ["  ~ k  /rps: 10 -> 15"],
        ),
        (
            change(
                stored("k", json_content('{"a":[1,2,3],"b":{"c":1}}')),
                wanted("k", json_content('{"a":[1,9,2],"b":{}}')),
            ),
            ["  ~ k", "      + /a/1: 9", "      - /a/2: 3", "      - /b/c: 1"],
        ),
        (
            change(stored("k", json_content("[1]")), wanted("k", json_content('{"a/b":1}'))),
            ['  ~ k  [1] -> {"a/b": 1}'],
        ),
        (
            change(stored("k", json_content("{")), wanted("k", json_content("{}"))),
            ['  ~ k  "{" -> "{}"'],
        ),
        (
            change(
                stored("k", Content(b"v", "text/plain", (("a", "1"), ("b", "2")), '{"r":1}')),
                wanted("k", Content(b"v", None, (("a", "9"),), '{"r":2}')),
                ("content_type", "tags", "metadata"),
            ),
            ['  ~ k  content_type: text/plain -> none  tag a: "1" -> "9"  tag b: "2" -> none  metadata: /r: 1 -> 2'],
        ),
        (
            change(stored("k", "v", expires_at=0.5), wanted("k", "v", expires_at=60), ("expires_at",)),
            ["  ~ k  expires_at: 1970-01-01T00:00:00Z -> 1970-01-01T00:01:00Z"],
        ),
        (change(stored("k", "v"), wanted("k", "v", ttl=86400), ("ttl",)), ["  ~ k  ttl: 1d"]),
        (change(stored("k", "v"), None, moved_to=Identity("n", "l")), ['  - k  "v"  moved to n [l]']),
        (
            change(stored("k", "v"), wanted("k", "v"), ("mark",), action=Action.ADOPT, cause=Class.UNOWNED),
            ["  = k  unowned  mark"],
        ),
        (
            change(stored("k", "v", content=None, size=7), wanted("k", "new")),
            ['  ~ k  (7 bytes, c1df7b64) -> "new"'],
        ),
    ],
)
def test_values(one: Change, shown: list[str]) -> None:
    """Each kind of change is shown in the form that a person reads fastest."""
    lines = [line.removesuffix("  state/web.yaml:1:3") for line in lines_of(one)]
    assert [re.sub(r"[0-9a-f]{8}\)", "#)", line) for line in lines] == [
        re.sub(r"[0-9a-f]{8}\)", "#)", line) for line in shown
    ]


def test_long_lines_show_the_difference() -> None:
    """Of a long line that part is shown where the two sides part."""
    (line, *_) = lines_of(change(stored("k", "x" * 300 + "old" + "y" * 90), wanted("k", "x" * 300 + "new" + "y" * 90)))
    assert "xold" in line
    assert "xnew" in line
    assert len(line) < 200


def test_long_texts_are_bounded() -> None:
    """A long text is cut, with a count of what is left out; the full style shows all of it."""
    one = change(None, wanted("k", "".join(f"line {number}\n" for number in range(100))))
    assert lines_of(one)[-1] == "        … 80 more lines"
    assert len(lines_of(one, style=Style(full=True))) == 101


def test_huge_texts() -> None:
    """Two texts of very many lines are distinguished without being compared line by line."""
    old, new = "a\n" * 5000, "a\n" * 4000 + "b\n"
    (line,) = lines_of(change(stored("k", old), wanted("k", new)))[1:]
    assert line == "      ~ 5,000 lines -> 4,001 lines, first difference in line 4001"


def test_many_changes_are_bounded() -> None:
    """Of thousands of changes some are shown, the others counted; the full style shows every one."""
    text = render_plan(plan_of(*MANY))
    assert "  … 4,800 more are not shown\n" in text
    assert len(text.splitlines()) < 250
    full = render_plan(plan_of(*MANY), Style(full=True))
    assert all(f"+ {one.identity.key} " in full for one in MANY)


@pytest.mark.parametrize("width", [80, 120, 200])
def test_width(width: int) -> None:
    """Pieces that do not fit next to each other go below, inside the width."""
    changes = [
        change(
            stored(f"a-rather-long-key-{number}", "some value or other"),
            wanted(f"a-rather-long-key-{number}", "x" * 40),
        )
        for number in range(3)
    ]
    assert max(map(len, lines_of(*changes, style=Style(width=width)))) <= width


def test_colour() -> None:
    """Colour adds codes and nothing else."""
    told = plan(
        target_plan(
            *MANY[:3], change(stored("a", "1"), wanted("a", "2\n3\n")), refused=[REFUSAL], parked=("why",), error="down"
        )
    )
    coloured = render_plan(told, Style(color=True))
    assert coloured != render_plan(told)
    assert ANSI.sub("", coloured) == render_plan(told)


@given(st.text(max_size=30), st.text(max_size=60), st.text(max_size=60))
def test_nothing_controls_the_terminal(key: str, old: str, new: str) -> None:
    """Whatever keys, labels and values hold, nothing but printable characters, tabs and our own line ends comes out."""
    one = change(
        stored(key, old.encode(errors="replace").decode(), key), wanted(key, new, key) if new.isprintable() else None
    )
    refusal = Refusal(Identity(key, old), Class.TAKEN, Action.UPDATE, new)
    target = target_plan(one, refused=[refusal], error=new, parked=(old,), target=Target(key, old))
    text = render_plan(plan(target)) + render_report([report(target, outcome(one, OutcomeKind.FAILED, new), error=old)])
    assert all(char.isprintable() or char in "\n\t" for char in text)


def test_report() -> None:
    """After an apply the counts are reported, and of every change that was not applied why."""
    target = target_plan(*MANY[:4])
    outcomes = [
        outcome(MANY[0]),
        outcome(MANY[1], OutcomeKind.UNCHANGED),
        outcome(MANY[2], OutcomeKind.FAILED, "the value is too large"),
        outcome(MANY[3], OutcomeKind.CONFLICT, "changed by another writer since the plan"),
    ]
    assert render_report([report(target, *outcomes, error="the store refuses the credential")]) == (
        "edge/web (sqlite): 1 applied, 1 unchanged, 1 conflict, 1 failed\n"
        "  error: the store refuses the credential\n"
        "  + key00003  conflict  changed by another writer since the plan  [KV4201]\n"
        "  + key00002  failed  the value is too large  [KV4204]\n"
        "\n"
        "Done: 1 applied, 1 unchanged, 1 conflict, 1 failed.\n"
    )


def test_outcomes_read_as_english() -> None:
    """The words of outcomes are those of people: without hyphens, and in the plural where there are several."""
    waits = [outcome(one, OutcomeKind.NOT_ATTEMPTED, "it waits") for one in MANY[:2]]
    others = [outcome(one, OutcomeKind.CONFLICT, "changed") for one in MANY[2:4]]
    text = render_report([report(target_plan(*MANY[:4]), *waits, *others)])
    assert "  + key00000  not attempted  it waits\n" in text
    assert text.endswith("\nDone: 2 conflicts, 2 not attempted.\n")
    page = render_markdown_report(plan(target_plan(*MANY[:4])), [report(target_plan(*MANY[:4]), *waits, *others)])
    assert "</code> | not attempted | it waits |" in page


def test_report_of_nothing() -> None:
    """When nothing was applied the report says so, and how a parked target is released."""
    assert render_report([report(target_plan())]) == "Done: nothing was applied.\n"
    text = render_report([report(target_plan(MANY[0], parked=("too many",)))])
    assert "  parked: too many [KV5101]\n  approve with: kvsync approve " in text


def test_report_of_a_parked_target() -> None:
    """What a guard held back is one reason and the way out at the end, not a line for each change that was not attempted."""
    parked = target_plan(*MANY, parked=("too many",))
    untried = [outcome(one, OutcomeKind.NOT_ATTEMPTED, "the target is parked") for one in MANY]
    text = render_report([report(parked, *untried)])
    assert "  parked: too many [KV5101]\n  approve with: kvsync approve " in text
    assert text.count("\n") < 8
    assert MANY[0].identity.key not in text
