"""Words that kvsync does not use in code, documentation and README, so that its texts stay plain technical English."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted(
    page
    for pattern in ("*.md", "docs/**/*.md", "examples/**/*.md", "tests/*.md", "deploy/**/*.md", ".github/**/*.md")
    for page in ROOT.glob(pattern)
)
FOLDERS = sorted({file.parent for file in (ROOT / "kvsync").rglob("*.py")})
TEST_FOLDERS = sorted({file.parent for file in (ROOT / "tests").rglob("*.py")})

INSTEAD = {
    "anew": "again",
    "as asked": "as requested",
    "are the most": "the limit is",
    "at rest": "idle, unchanged",
    "at the far side": "remote",
    "beside": "next to, besides",
    "by itself": "automatically, on its own",
    "for ever": "forever",
    r"heed(?:s|ed|ing)?": "follow, handle",
    "in vain": "failed, without effect",
    r"(?<!here )(?:is|are) no(?! longer| more| such)": "is not a, are not",
    r"(?<!a )look(?:s|ed|ing)? after": "maintain",
    "shall": "must, should",
    "so long": "as long as, for this long",
    "somebody": "someone",
    r"stands? for": "represent, mean",
    "the former": "repeat the noun",
    "told apart": "distinguished",
    r"(?:is|are|was|were|be) told(?! to)": "receive, report",
    "what is so": "name the facts",
    r"wish(?:es|ed)?": "request",
}
"""What not to write, as a pattern, and what to write instead."""

INSTEAD_ON_PAGES = {
    r"(?:is|are) to be": "must be, will be",
    "half-way": "halfway",
    "misspelt": "misspelled",
    "whoever": "anyone who",
    "without a word": "silently",
}
"""What pages do not use either: they are for people who do not read code."""


def _pattern(phrase: str) -> re.Pattern[str]:
    """The phrase as whole words, over line breaks too, and not in the names that backquotes mark."""
    gaps = re.sub(r"(?<!here)(?<!<!a) ", r"(?:\\s|\\n[ \\t]*[#>])+", phrase)
    return re.compile(rf"(?<![\w`.-])(?:{gaps})(?![\w`(=-])", re.IGNORECASE)


BANNED = {phrase: _pattern(phrase) for phrase in INSTEAD}
ON_PAGES = {phrase: _pattern(phrase) for phrase in INSTEAD_ON_PAGES}
ANY = re.compile("|".join(pattern.pattern for pattern in BANNED.values()), re.IGNORECASE)
"""Finds out quickly that a text uses none of them."""


_PLACEHOLDER = re.compile(r"\{[^{}\n]*\}")


def found_in(text: str, line: int = 1) -> Iterator[str]:
    """Every banned phrase of a text that begins at `line`."""
    for phrase, pattern in BANNED.items() if ANY.search(text) else ():
        for match in pattern.finditer(text):
            at = line + text.count("\n", 0, match.start())
            yield f"{at}: {' '.join(match[0].split())!r} (write: {INSTEAD[phrase]})"


def texts_of(source: str) -> Iterator[tuple[int, str]]:
    """Comments, docstrings and messages of a module, with their lines. A string without a blank is a name or a value."""
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        is_text = token.type == tokenize.COMMENT or (token.type == tokenize.STRING and " " in token.string)
        if is_text or token.type == getattr(tokenize, "FSTRING_MIDDLE", None):
            yield token.start[0], _PLACEHOLDER.sub("{}", token.string)


def texts_of_tests(source: str) -> Iterator[tuple[int, str]]:
    """Comments, docstrings and names of tests, with their lines. Other strings are data, which may hold any word."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield getattr(node, "lineno", 1), ast.get_docstring(node, clean=False) or ""
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
            yield node.lineno, node.name.replace("_", " ")
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string


def prose_of(page: str) -> str:
    """A page without its code blocks; lines keep their numbers."""
    return re.sub(r"^```.*?^```$", lambda block: "\n" * block[0].count("\n"), page, flags=re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.relative_to(ROOT).as_posix())
def test_code_is_written_in_plain_words(folder: Path) -> None:
    """No comment, docstring or message of a package uses a banned phrase."""
    assert [
        f"{file.relative_to(ROOT)}:{found}"
        for file in sorted(folder.glob("*.py"))
        for line, text in texts_of(file.read_text(encoding="utf-8"))
        for found in found_in(text, line)
    ] == []


@pytest.mark.parametrize("folder", TEST_FOLDERS, ids=lambda folder: folder.relative_to(ROOT).as_posix())
def test_tests_are_written_in_plain_words(folder: Path) -> None:
    """No comment, docstring or name of a test uses a banned phrase."""
    assert [
        f"{file.relative_to(ROOT)}:{found}"
        for file in sorted(folder.glob("*.py"))
        for line, text in texts_of_tests(file.read_text(encoding="utf-8"))
        for found in found_in(text, line)
    ] == []


METAPHORS = {"bench", "crew", "door", "herald", "lookout", "scene", "shelf", "told", "town", "turmoil", "world"}


def test_fixtures_are_named_for_what_they_simulate() -> None:
    """No class or fixture of the tests is named with a metaphor."""
    definitions = [
        (f"{file.relative_to(ROOT)}:{node.lineno}", node.name)
        for file in sorted((ROOT / "tests").rglob("*.py"))
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.ClassDef)
        or (isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and _is_fixture(node))
    ]
    assert len(definitions) > 100
    assert [found for found in definitions if found[1].lower() in METAPHORS] == []


def _is_fixture(node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    return any("fixture" in ast.unparse(decorator) for decorator in node.decorator_list)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_pages_are_written_in_plain_words(page: Path) -> None:
    """No page uses a banned phrase."""
    text = prose_of(page.read_text(encoding="utf-8"))
    assert [f"{page.relative_to(ROOT)}:{found}" for found in found_in(text)] == []
    assert [phrase for phrase, pattern in ON_PAGES.items() if pattern.search(text)] == []


@pytest.mark.parametrize(
    ("text", "phrase"),
    [
        ("It is read anew.", "anew"),
        ("ends by\n    itself", "by itself"),
        ("# what stands\n# for it", "stands # for"),
        ("This is no\nerror", "is no"),
    ],
)
def test_phrases_are_found_over_line_breaks(text: str, phrase: str) -> None:
    """A phrase is found wherever a line ends."""
    assert [found.split("'")[1] for found in found_in(text)] == [phrase]


@pytest.mark.parametrize(
    "text", ["there is no file", "it is no longer there", "`wish` and self._wish", "a look after it"]
)
def test_plain_words_and_names_are_left_alone(text: str) -> None:
    """Neither correct English nor names in code count."""
    assert list(found_in(text)) == []
