"""A real browser for tests, where there is one."""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser, Page, Playwright, async_playwright

from tests.emulators.npm import installed

_HERE = Path(__file__).parent
_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)
_LOOK = (_HERE / "js/look.js").read_text()


def _program(playwright: Playwright) -> str:
    """Chromium: the one in `$KVSYNC_TEST_CHROMIUM`, on the path, or playwright's own. Skips, and says so, without one."""
    own = playwright.chromium.executable_path
    found = [os.environ.get("KVSYNC_TEST_CHROMIUM"), *map(shutil.which, _NAMES), own if Path(own).exists() else None]
    program = next(filter(None, found), None)
    if program is None:
        pytest.skip("the page is not tried in a browser: install Chromium, or run `playwright install chromium`")
    return program


@asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    """A browser without a window."""
    async with async_playwright() as playwright:
        program = _program(playwright)
        browser = await playwright.chromium.launch(executable_path=program, args=_ARGUMENTS)
        try:
            yield browser
        finally:
            await browser.close()


class BrowserPage:
    """One page in a context of its own. `wrong` is everything that a person would find in the console, `asked` every address
    that the page asked for."""

    def __init__(self, page: Page, url: str) -> None:
        self.page, self.url = page, url
        self.wrong: list[str] = []
        self.asked: list[str] = []
        page.on("console", lambda message: self.wrong.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: self.wrong.append(str(error)))
        page.on("dialog", lambda dialog: self.wrong.append(f"dialog: {dialog.message}"))
        page.on("request", lambda request: self.asked.append(request.url))

    async def go(self, path: str = "/") -> None:
        """Load a path."""
        await self.page.goto(self.url + path)

    async def look(self, name: str) -> Any:
        """Call a function of `js/look.js`."""
        return await self.page.evaluate(f"{_LOOK}.{name}()")

    async def axe(self) -> list[str]:
        """What axe-core finds against WCAG 2.2 A and AA, and its own good practice."""
        modules = installed(str(_HERE / "axe.json"), "axe-core")
        await self.page.evaluate((modules / "axe-core/axe.min.js").read_text())
        found = await self.page.evaluate("axe.run(document, {resultTypes: ['violations']})")
        return [f"{one['id']}: {node['html'][:150]}" for one in found["violations"] for node in one["nodes"]]


@asynccontextmanager
async def visit(
    browser: Browser, url: str, *, script: bool = True, width: int = 1280, **options: Any
) -> AsyncIterator[BrowserPage]:
    """A visitor who has seen nothing yet."""
    context = await browser.new_context(java_script_enabled=script, viewport={"width": width, "height": 800}, **options)
    context.set_default_timeout(20_000)
    try:
        yield BrowserPage(await context.new_page(), url)
    finally:
        await context.close()
