"""What the tests that boot systems and build images share: both are made once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deploy import parts


@pytest.fixture(scope="session")
def debian(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A bootstrapped Debian; whoever changes it works on a copy."""
    parts.need(["mmdebstrap"])
    with parts.large(tmp_path_factory.mktemp("debian")) as folder:
        yield parts.debian(folder / "root")


@pytest.fixture(scope="session")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheels of kvsync and all it stands on."""
    return parts.wheels(tmp_path_factory.mktemp("wheels"))
