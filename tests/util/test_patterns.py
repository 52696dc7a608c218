"""Patterns that are compiled when they are first used."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from kvsync.util.patterns import LazyPattern, lazy_pattern


def test_a_pattern_is_compiled_with_its_first_use(monkeypatch: pytest.MonkeyPatch) -> None:
    """Making one compiles nothing; what is used once is not looked up again."""
    compiled: list[str] = []
    real = re.compile

    def note(pattern: str, flags: int) -> re.Pattern[str]:
        compiled.append(pattern)
        return real(pattern, flags)

    monkeypatch.setattr(re, "compile", note)
    one = lazy_pattern(r"(a+)b", re.IGNORECASE)
    assert compiled == []
    assert [one.sub(r"<\1>", "xAAb"), one.sub("", "ab"), one.pattern] == ["x<AA>", "", "(a+)b"]
    assert compiled == ["(a+)b"] * 2


def test_bytes_and_misses_are_those_of_a_pattern() -> None:
    """Bytes are searched as text is, and an attribute that no pattern has is an error."""
    one = LazyPattern(rb"\d+")
    assert [match[0] for match in one.finditer(b"1 22")] == [b"1", b"22"]
    with pytest.raises(AttributeError, match="serach"):
        one.serach(b"1")


def test_a_short_command_compiles_few_patterns() -> None:
    """Importing the command line compiles none of kvsync's own patterns."""
    code = """
import re, sys
real, found = re.compile, []
def note(*given):
    name = sys._getframe(1).f_globals.get("__name__", "")
    if name.startswith("kvsync"):
        found.append((name, given[0]))
    return real(*given)
re.compile = note
import kvsync.cli.main, kvsync.util.escaping, kvsync.util.redaction
print(found)
"""
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout == "[]\n"
