"""Measure, and print ratios with their goals: `python -m tests.benchmarks [PART...]`, with the parts in `PARTS`."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.benchmarks import (
    apify,
    applying,
    azure,
    cloudflare,
    daemon,
    planning,
    production,
    servers,
    starting,
    voximplant,
)
from tests.benchmarks.measure import Figure

PARTS: dict[str, Callable[[Path], Iterator[Figure]]] = {
    "start": starting.measure,
    "plan": planning.measure,
    "apply": applying.measure,
    "daemon": daemon.measure,
    "production": production.measure,
    "azure": azure.measure,
    "cloudflare": cloudflare.measure,
    "apify": apify.measure,
    "voximplant": voximplant.measure,
    "etcd": servers.measure_etcd,
    "vault": servers.measure_vault,
}


def main(wanted: list[str]) -> None:
    """Run the parts asked for, all by default, and print a line a figure."""
    for name in wanted or PARTS:
        with tempfile.TemporaryDirectory(prefix="kvsync-bench-") as folder:
            for figure in PARTS[name](Path(folder)):
                print(figure, flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
