"""Figures show what was measured, and nothing else."""

from __future__ import annotations

from pathlib import Path

import yaml

from tests.benchmarks.measure import NO_GOAL, Figure, by_call, python, run
from tests.benchmarks.page import Part, render, with_page


def test_the_page_has_every_figure_with_its_goal() -> None:
    """The page shows met and missed goals, figures without a goal, and parts that ended early."""
    figures = (
        Figure("cold plan", 0.5, 0.7, detail="1 s against 2 s"),
        Figure("one edit", 90, 60, " ms"),
        Figure("a | b", 3, NO_GOAL, " MiB"),
        Figure("creates, requests", 1007, 1004, ""),
        Figure("against the SDK", 0.8, 2 / 3),
    )
    page = render([Part("plan", "Planning", figures), Part("azure", "Azure", (), "OSError: no\nnetwork")], "a machine")
    assert page.startswith("# Performance\n")
    assert "\nMachine: a machine.\n" in page
    assert "\n## Planning\n" in page
    assert "\n| cold plan | 0.50x | 0.7x, met | 1 s against 2 s |\n" in page
    assert "\n| one edit | 90.00 ms | 60 ms, missed |  |\n" in page
    assert "\n| a \\| b | 3.00 MiB |  |  |\n" in page
    assert "\n| creates, requests | 1,007 | 1,004, missed |  |\n" in page
    assert "\n| against the SDK | 0.80x | 0.6667x, missed |  |\n" in page
    assert page.endswith(
        "\n## Azure\n\n`make bench BENCH=azure`; load average before the run: 0.0\n"
        "\nNot measured to the end: OSError: no network\n"
    )


def test_a_page_of_some_parts_does_not_look_like_one_of_all() -> None:
    """Parts that were not measured now keep their sections; those that never were are named."""
    names = ["plan", "apply", "azure"]
    first = render([Part("apply", "Applying", (Figure("creates", 2, 6),))], "a machine", names)
    assert first.endswith("\n## Not measured\n\nThese parts were left out: `plan`, `azure`.\n")
    second = render([Part("plan", "Planning", (Figure("cold", 1, 2),))], "a machine", names, first)
    assert second.index("## Planning") < second.index("## Applying")
    assert "| creates | 2.00x |" in second
    assert second.endswith("These parts were left out: `azure`.\n")
    whole = render([Part("azure", "Azure", (), load=1.25), Part("apply", "Applying", ())], "a machine", names, second)
    assert "left out" not in whole
    assert "| creates" not in whole
    assert "\n## Azure\n\n`make bench BENCH=azure`; load average before the run: 1.2\n" in whole


def test_calls_are_shown_as_text() -> None:
    """Details name each call after its number, not as a dictionary of Python."""
    assert by_call({"GET /keys": 1100, "PUT /bulk": 10}) == "1,100 of `GET /keys`, 10 of `PUT /bulk`"


def test_the_page_is_in_the_navigation_once() -> None:
    """Writing the page enters it in the navigation of the site, and a second time changes nothing."""
    text = (Path(__file__).parents[2] / "mkdocs.yml").read_text(encoding="utf-8")
    entered = with_page(text)
    assert entered.count("performance.md") == 1
    assert with_page(entered) == entered
    assert str(yaml.safe_load(entered)["nav"]).count("'performance.md'") == 1


def test_the_memory_of_a_command_is_its_own(tmp_path: Path) -> None:
    """Not that of the process which starts it."""
    ballast = b"x" * (200 << 20)
    assert run(python("pass"), tmp_path).rss < 100
    assert len(ballast) >> 20 == 200
