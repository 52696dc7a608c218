"""A package imports its modules when their names are first used."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

PACKAGE = """
from kvsync.util.lazy_names import lazy_names

__all__ = ["First", "Second"]
__getattr__ = lazy_names(__name__, {"one": "First", "two": "Second"})
"""


def test_a_module_is_imported_with_its_first_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Using one name imports its module and no other; the name is then an attribute, and others do not exist."""
    folder = tmp_path / "lazily"
    folder.mkdir()
    (folder / "__init__.py").write_text(PACKAGE)
    (folder / "one.py").write_text("class First: ...\n")
    (folder / "two.py").write_text("class Second: ...\n")
    monkeypatch.syspath_prepend(tmp_path)
    package = __import__("lazily")
    try:
        assert "lazily.one" not in sys.modules
        assert package.First.__module__ == "lazily.one"
        assert "First" in vars(package)
        assert "lazily.two" not in sys.modules
        with pytest.raises(AttributeError, match="module 'lazily' has no attribute 'Third'"):
            assert package.Third
        names: dict[str, object] = {}
        exec("from lazily import *", names)
        assert {"First", "Second"} <= names.keys()
    finally:
        for name in [name for name in sys.modules if name.partition(".")[0] == "lazily"]:
            del sys.modules[name]
