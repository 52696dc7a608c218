"""Complete the documentation site with pages outside of docs/ (a hook of MkDocs; see `make site`).

Pages in docs/ link to the changelog, the examples and other files of the repository. The site includes the Markdown files among
them as pages. A link to any other file becomes the path of that file. A link to a file that does not exist stays, so that
`mkdocs build --strict` fails.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parent.parent
OUTSIDE = ("CHANGELOG.md", "CONTRIBUTING.md", "README.md", "SECURITY.md", "examples/*/README.md")
TOUR = "tour.md"
"""The path of README.md in the site, where the start is docs/index.md."""

_FENCE = re.compile(r"(^[ \t]*```.*?^[ \t]*```$)", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\[([^\[\]]+)\]\(([^)#\s:]+)(#[^)\s]*)?\)")
_IMAGE = re.compile(r'\b(src|srcset)="(?!https:)([^"]+)"')
_TABLE_ROW = re.compile(r"^\|.*\|$", re.MULTILINE)
_CODE = re.compile(r"`[^`\n]+`")


def outside_pages() -> dict[str, str]:
    """The pages outside of docs/: their paths in the site, by their paths in the repository."""
    found = (file.relative_to(ROOT).as_posix() for pattern in OUTSIDE for file in sorted(ROOT.glob(pattern)))
    return {path: TOUR if path == "README.md" else path for path in found}


def site_text(text: str, path: str, pages: Mapping[str, str]) -> str:
    """The Markdown of a page with links and tables as the site needs them.

    `path` is that of the page in the repository, `pages` gives the path in the site of each page by its path in the repository.
    """

    def link(match: re.Match[str]) -> str:
        shown, target, anchor = match[1], match[2], match[3] or ""
        there = posixpath.normpath(posixpath.join(posixpath.dirname(path), target))
        if there in pages:
            return f"[{shown}]({posixpath.relpath(pages[there], posixpath.dirname(pages[path]))}{anchor})"
        if not (ROOT / there).exists():
            return match[0]
        return shown if there in shown else f"{shown} (`{there}`)"

    def image(match: re.Match[str]) -> str:
        there = posixpath.normpath(posixpath.join(posixpath.dirname(path), match[2])).removeprefix("docs/")
        return f'{match[1]}="{posixpath.relpath(there, posixpath.dirname(pages[path]))}"'

    parts = _FENCE.split(text)
    shown = (part if number % 2 else _rows(_LINK.sub(link, part)) for number, part in enumerate(parts))
    return _IMAGE.sub(image, "".join(shown))


def _rows(text: str) -> str:
    """Without the backslash that GitHub needs before a `|` in the code of a table, and that Python-Markdown shows."""
    return _TABLE_ROW.sub(lambda row: _CODE.sub(lambda code: code[0].replace("\\|", "|"), row[0]), text)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages outside of docs/."""
    from mkdocs.structure.files import File

    for path, place in outside_pages().items():
        files.append(File.generated(config, place, abs_src_path=str(ROOT / path)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:  # noqa: ARG001  MkDocs names them
    """Rewrite the links of a page."""
    outside = outside_pages()
    inside = {f"docs/{file.src_uri}": file.src_uri for file in files.documentation_pages()}
    pages = {path: place for path, place in inside.items() if place not in outside.values()} | outside
    path = next(path for path, place in pages.items() if place == page.file.src_uri)
    return site_text(markdown, path, pages)
