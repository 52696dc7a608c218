"""What an installation rests on: pinned, hashed, and from nowhere in particular."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PINS = sorted(ROOT.glob("requirements*.txt"))


@pytest.mark.parametrize("pins", PINS, ids=lambda path: path.name)
def test_every_package_is_pinned_by_hash_and_no_index_is_named(pins: Path) -> None:
    """Each requirement has one exact version and at least one hash, and no line says where packages come from."""
    text = pins.read_text(encoding="utf-8")
    requirements = re.split(r"\n(?=\S)", text.strip())
    assert all(re.match(r"[a-z0-9.-]+==\S+ ", requirement) for requirement in requirements)
    assert all("--hash=sha256:" in requirement for requirement in requirements)
    assert "://" not in text


def test_pins_agree() -> None:
    """A package has the same version for running, building and testing."""
    versions: dict[str, set[str]] = {}
    for pins in PINS:
        for name, version in re.findall(r"^([a-z0-9.-]+)==(\S+)", pins.read_text(encoding="utf-8"), re.MULTILINE):
            versions.setdefault(name, set()).add(version)
    assert {name: found for name, found in versions.items() if len(found) > 1} == {}
