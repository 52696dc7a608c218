"""Measure, and print ratios with their goals: `python -m tests.benchmarks [--write FILE] [PART...]`, with the parts in `PARTS`.

With `--write`, everything that was measured goes to a Markdown page, with the machine and the method, and the page is entered
in the navigation of the site. Of parts that were not asked for, the page keeps what it has, or says that it lacks them. A part
that cannot be measured is named there, too, and makes the exit code 1.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.benchmarks import (
    apify,
    applying,
    azure,
    cloudflare,
    daemon,
    growth,
    planning,
    production,
    servers,
    starting,
    voximplant,
    writing,
)
from tests.benchmarks.measure import Figure
from tests.benchmarks.page import Part, render, with_page
from tests.benchmarks.page import machine as this_machine

PARTS: dict[str, Callable[[Path], Iterator[Figure]]] = {
    "start": starting.measure,
    "plan": planning.measure,
    "apply": applying.measure,
    "growth": growth.measure,
    "growth-large": growth.measure_large,
    "daemon": daemon.measure,
    "production": production.measure,
    "writing": writing.measure,
    "azure": azure.measure,
    "cloudflare": cloudflare.measure,
    "apify": apify.measure,
    "voximplant": voximplant.measure,
    "etcd": servers.measure_etcd,
    "vault": servers.measure_vault,
}


def main(arguments: list[str]) -> int:
    """Run the parts asked for, all by default, and print a line a figure. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks")
    parser.add_argument("--write", type=Path, metavar="FILE", help="write the figures to this Markdown page, too")
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}; all by default")
    chosen = parser.parse_args(arguments)
    unknown = [name for name in chosen.parts if name not in PARTS]
    if unknown:
        parser.error(f"unknown part {unknown[0]!r}; known are {', '.join(PARTS)}")
    measured = [_measured(name) for name in chosen.parts or PARTS]
    if chosen.write is not None:
        before = chosen.write.read_text(encoding="utf-8") if chosen.write.exists() else ""
        chosen.write.write_text(render(measured, this_machine(), list(PARTS), before), encoding="utf-8")
        _enter(chosen.write.parent.parent / "mkdocs.yml")
    return int(any(part.error for part in measured))


def _enter(navigation: Path) -> None:
    if navigation.exists():
        navigation.write_text(with_page(navigation.read_text(encoding="utf-8")), encoding="utf-8")


def _measured(name: str) -> Part:
    """One part. What it could not measure does not stop the others."""
    module = PARTS[name].__module__
    purpose = (sys.modules[module].__doc__ or "").partition("\n")[0].partition(": `")[0].rstrip(".")
    if sum(part.__module__ == module for part in PARTS.values()) > 1:
        purpose = f"{purpose} ({name})"
    figures: list[Figure] = []
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="kvsync-bench-") as folder:
        try:
            for figure in PARTS[name](Path(folder)):
                print(figure, flush=True)
                figures.append(figure)
        except Exception as error:  # noqa: BLE001 - the other parts are measured all the same
            traceback.print_exc()
            return Part(name, purpose, tuple(figures), f"{type(error).__name__}: {error}", load)
    return Part(name, purpose, tuple(figures), load=load)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
