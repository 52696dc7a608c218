"""A plan as a comment on a pull request."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from markdown_it import MarkdownIt

from kvsync.errors import Problem
from kvsync.model.change import Action, Class, Refusal
from kvsync.model.entry import Identity, Target
from kvsync.model.plan import Cost
from kvsync.rendering.markdown import MAX_LENGTH, marker, render_plan
from tests.planning.plans import change, plan, plan_of, stored, target_plan, wanted

REFUSAL = Refusal(Identity("vip"), Class.PROTECTED, Action.DELETE, "it is protected")


def test_whole_comment() -> None:
    """A comment has a marker, a summary, a table a target, and longer differences folded away."""
    changes = [
        change(None, wanted("greeting", "Hello"), line=6),
        change(stored("page", "one\ntwo\n"), wanted("page", "one\n2\n"), line=7),
    ]
    target = target_plan(*changes, refused=[REFUSAL], unchanged=5, cost=Cost(2, 40), parked=("too many",))
    made = plan(target, target_plan(target=Target("x", "calm"), unchanged=1))
    assert render_plan(made) == (
        "<!-- kvsync-plan -->\n"
        "### kvsync plan: 1 to create, 1 to update, 0 to delete, 1 refused, 6 unchanged, 0 foreign\n"
        "\n"
        "#### <code>edge/web</code> (sqlite)\n"
        "\n"
        "> **parked:** too many [KV5101]  \n"
        f"> approve with: <code>kvsync approve {target.digest[7:19]}</code>  \n"
        "\n"
        "| | key | class | what | where |\n"
        "|-|-----|-------|------|-------|\n"
        '| <code>+</code> | <code>greeting</code> | new | create: <code>"Hello"</code> | <code>state/web.yaml:6:3</code> |\n'
        "| <code>&#126;</code> | <code>page</code> | changed | update: see below | <code>state/web.yaml:7:3</code> |\n"
        "| <code>!</code> | <code>vip</code> | protected | delete refused: it is protected [KV4103] |  |\n"
        "\n"
        "Cost: 2 requests, 40 bytes.\n"
        "\n"
        "<details><summary><code>edge/web</code>: 1 longer difference</summary>\n"
        "\n"
        "<code>page</code>\n"
        "\n"
        "```diff\n"
        "@@ -1,2 +1,2 @@\n"
        "  one\n"
        "- two\n"
        "+ 2\n"
        "```\n"
        "\n"
        "</details>\n"
        "\n"
        f"<sub>owner <code>shop</code>, plan <code>{made.digest[7:19]}</code></sub>\n"
    )


def test_nothing_to_do() -> None:
    """Where there is nothing to do the comment still replaces the last one, and says so."""
    text = render_plan(plan_of(unchanged=7))
    assert text.startswith(f"{marker(None)}\n### kvsync plan: nothing to do, 7 unchanged, 0 foreign\n")
    assert "|" not in text


@pytest.mark.parametrize(
    "evil",
    [
        "a|b",
        "`x`",
        "<script>alert(1)</script>",
        "[a](b)",
        "**a**",
        "@someone",
        "#12",
        "_a_",
        "a\n\n# b",
        "https://x.y",
        "&lt;",
    ],
)
def test_escaping(evil: str) -> None:
    """A key, value or reason makes no markup, no table cell, no mention and no link."""
    target = target_plan(
        change(stored(evil, evil), wanted(evil, "x")),
        refused=[Refusal(Identity(evil), Class.TAKEN, Action.UPDATE, evil)],
        error=evil,
    )
    text = render_plan(plan(target))
    body = text.removeprefix(marker(None)).replace("&#", "").replace("<!-- -->", "¤")
    assert evil not in body
    assert not re.search(r"[@#](?=\w)", body)
    assert {row.count("|") for row in text.splitlines() if row.startswith("| ")} == {6}


def test_fences() -> None:
    """A value that holds a code fence does not end ours."""
    text = render_plan(plan_of(change(None, wanted("k", "a\n````\n<b>\n"))))
    assert "\n`````diff\n+ a\n+ ````\n+ <b>\n`````\n" in text


def test_long_plans_are_bounded() -> None:
    """The comment keeps inside its limit, counts what it leaves out, and leaves no table or fold open."""
    page = "".join(f"line {number}\n" for number in range(60))
    targets = [
        target_plan(
            *(change(None, wanted(f"key{number:04}", page)) for number in range(300)),
            target=Target("store", name),
            problems=(Problem("bad " * 500),) * 100,
        )
        for name in ("a", "b", "c")
    ]
    text = render_plan(plan(*targets))
    assert len(text) <= MAX_LENGTH
    assert "**Too long for one comment; not shown: " in text
    assert text.count("<details>") == text.count("</details>")
    assert text.count("```") % 2 == 0
    assert all(f"<code>store/{name}</code>" in text for name in "abc")


def test_one_huge_key() -> None:
    """A single key or reason of any length does not break the limit either."""
    huge = "<" * 200_000
    target = target_plan(
        change(stored(huge, "v"), None), refused=[Refusal(Identity(huge), Class.TAKEN, Action.UPDATE, huge)], error=huge
    )
    assert len(render_plan(plan(target))) <= MAX_LENGTH


@pytest.mark.parametrize(
    "evil",
    [
        "</code></details><img src=x onerror=y>",
        "[a](http://b)",
        "<http://b>",
        "![i](j)",
        "`</code>` | x",
        "\n```\n<b>",
        "*a* ~~b~~",
    ],
)
def test_nothing_hostile_is_markup(evil: str) -> None:
    """Read by a Markdown parser, the comment has no link, no image and no HTML but our own, whatever stands in
    keys, values and reasons."""
    target = target_plan(
        change(stored(evil, evil), wanted(evil, f"{evil}\n{evil}")),
        refused=[Refusal(Identity(evil), Class.TAKEN, Action.UPDATE, evil)],
        error=evil,
    )
    tokens = MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(render_plan(plan(target)))
    inside = [*tokens, *(child for token in tokens for child in token.children or ())]
    assert not {token.type for token in inside} & {"link_open", "image", "em_open", "s_open", "code_inline"}
    html = "".join(token.content for token in inside if token.type in ("html_inline", "html_block"))
    assert set(re.findall(r"</?([a-z]+)[^>]*>", html)) <= {"code", "sub", "details", "summary"}
    assert not re.search(r"<\w+\s", html)


def test_each_environment_has_its_own_comment() -> None:
    """The comment of one environment does not replace another's, and no name of one ends the marker."""
    (dev, prod) = (render_plan(replace(plan_of(unchanged=1), environment=name)) for name in ("dev", "a --> b"))
    assert dev.startswith("<!-- kvsync-plan dev -->\n### kvsync plan (dev): nothing to do")
    assert prod.startswith("<!-- kvsync-plan a_--__b -->\n")
