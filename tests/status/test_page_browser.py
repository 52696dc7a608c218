"""The page in Chromium, of a daemon that runs, over stores in which everything has gone wrong."""

from __future__ import annotations

import asyncio
import shutil
import socket
from collections.abc import AsyncIterator
from itertools import pairwise
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser, expect

from kvsync.model.entry import Target
from kvsync.status.page.query import address_of
from tests.status.browsing import BrowserPage, chromium, visit
from tests.status.page_repository import CANARY, ENV, HOSTILE, IMAGE, AllStatesRepository, state
from tests.status.support import DaemonProcess, process

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.system]  # drives Chromium

STATES = {
    "broken/edge": "failing",
    f"main/{HOSTILE}": "drifted",
    "main/calm": "in sync",
    "main/drift": "drifted",
    "main/held": "held",
    "main/lives": "in sync",
    "main/parked": "parked",
    "main/paused": "paused",
    "main/refused": "pending",
    "main/secret": "parked",
    "main/web": "in sync",
}

PATHS = (
    "/",
    *(address_of(Target(*name.split("/", 1))) for name in STATES),
    "/targets/main/nobody",
    "/?q=nothing+like+it",
)

"""Every page there is."""

KINDS = ("/", "/targets/main/drift", "/targets/main/paused", "/targets/main/held", PATHS[2], PATHS[-2], PATHS[-1])
"""One page of each kind."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def all_states(tmp_path_factory: pytest.TempPathFactory) -> AllStatesRepository:
    return await asyncio.to_thread(AllStatesRepository, tmp_path_factory.mktemp("everything"))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def daemon(all_states: AllStatesRepository) -> AsyncIterator[DaemonProcess]:
    async with process(all_states.root, **ENV) as running:
        await running.listens()
        for name, word in STATES.items():
            await running.becomes(word.replace(" ", "-"), name)
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    async with chromium() as running:
        yield running


async def states(seen: BrowserPage) -> dict[str, str]:
    """The targets that are listed, with the word for their state."""
    script = "rows => rows.map(row => ['h3', '.badge'].map(name => row.querySelector(name).textContent.trim()))"
    return dict(await seen.page.locator(".target").evaluate_all(script))


async def test_everything_is_shown_and_nothing_comes_from_elsewhere(browser: Browser, daemon: DaemonProcess) -> None:
    """The page tells the state of every target and what to do; the console stays empty, and only the daemon is asked."""
    async with visit(browser, daemon.url) as seen:
        await seen.go()
        await expect(seen.page.locator("#live")).to_have_text("Live")
        assert await states(seen) == STATES
        await expect(seen.page.get_by_role("heading", level=1)).to_have_text("7 of 11 targets need attention")
        await seen.look("openAll")
        text = await seen.page.locator("main").inner_text()
        for part in (
            "set path to a file",  # the error of a store
            "state/held.yaml:6:",  # the place of a problem
            "would delete 6 of 12 entries (50 %)",
            "kvsync approve ",
            "kvsync resume main/paused",
            "- line five of the template",
            "+ line 5 of the template",
            "/burst/2: 3",
            "(sensitive)",
            "policy.adopt is never",
            "promo",  # ends next
            "49 applied",  # the last run
            "reported only",
        ):
            assert part in text, part
        assert seen.wrong == []
        assert all(address.startswith(daemon.url) for address in seen.asked)


async def test_without_script_the_page_is_complete(browser: Browser, daemon: DaemonProcess) -> None:
    """Without JavaScript the same is there, details open, filters and links work, and no button is dead."""
    async with visit(browser, daemon.url, script=False) as seen:
        await seen.go()
        page = seen.page
        assert await states(seen) == STATES
        assert await page.locator(".copy:visible").count() == 0
        summary = page.locator(".target", has_text="main/drift").locator("summary")
        await summary.click()
        await expect(page.get_by_text("line five of the template")).to_be_visible()
        await page.get_by_label("Text").fill("edge")
        await page.get_by_role("button", name="Filter").click()
        assert list(await states(seen)) == ["broken/edge"]
        await page.get_by_role("link", name="Show all").click()
        await page.get_by_role("list", name="Filter by state").get_by_role("link", name="parked").click()
        assert list(await states(seen)) == ["main/parked", "main/secret"]
        await page.locator(".target").get_by_role("link", name="main/parked").click()
        await expect(page.get_by_role("heading", level=1)).to_have_text("main/parked parked")
        await expect(page.locator("noscript meta")).to_have_count(1)


async def test_news_appear_without_loading_the_page_again(
    browser: Browser, daemon: DaemonProcess, all_states: AllStatesRepository
) -> None:
    """When a file changes the page follows on its own, and what a person opened, typed and focused stays; the headline is said
    aloud when it changes."""
    async with visit(browser, daemon.url) as seen:
        await seen.go()
        page = seen.page
        await expect(page.locator("#live")).to_have_text("Live")
        await page.evaluate("window.mark = 'the same page'")
        details = page.locator(".target", has_text="main/drift").locator("details")
        await details.locator("summary").click()
        await page.locator(".target", has_text="main/web").get_by_role("link").focus()
        row = page.locator(".target", has_text="main/web")
        try:
            all_states.files(web=state("web", "  greeting: Hi\n  logo: plain\n  third: 3\n"))
            await expect(row).to_contain_text("3 entries")
            await expect(page.locator("#runs")).to_contain_text("2 applied")
            all_states.files(web=state("web", "  greeting: [1\n"))
            await expect(row).to_contain_text("keeps its last good state")
            await expect(page.get_by_role("status")).to_have_text("8 of 11 targets need attention")
            await expect(page).to_have_title("8 of 11 targets need attention · kvsync payments-gitops")
        finally:
            all_states.files(web=state("web", "  greeting: Hello\n  logo: plain\n"))
            await expect(row).to_contain_text("2 entries")
        assert await page.evaluate("window.mark") == "the same page"
        assert await details.get_attribute("open") is not None
        assert await page.evaluate("document.activeElement.textContent") == "main/web"
        assert seen.wrong == []


async def test_typing_filters_at_once_and_can_be_gone_back(browser: Browser, daemon: DaemonProcess) -> None:
    """With JavaScript the list follows the typing and the states, in the address too, without loading the page again."""
    async with visit(browser, daemon.url) as seen:
        await seen.go()
        page = seen.page
        await page.evaluate("window.mark = 'the same page'")
        await page.get_by_role("list", name="Filter by state").get_by_role("link", name="drifted").click()
        await expect(page.locator(".target")).to_have_count(2)
        await page.get_by_label("Text").press_sequentially("page")
        await expect(page.locator(".target")).to_have_count(1)
        assert page.url.endswith("/?state=drifted&q=page")
        assert await page.get_by_label("Text").input_value() == "page"
        await page.go_back()
        await expect(page.locator(".target")).to_have_count(len(STATES))
        assert await page.evaluate("window.mark") == "the same page"
        assert seen.wrong == []


async def test_a_command_is_copied(browser: Browser, daemon: DaemonProcess) -> None:
    """The button next to a command puts exactly that command on the clipboard, and says so."""
    async with visit(browser, daemon.url, permissions=["clipboard-read", "clipboard-write"]) as seen:
        await seen.go()
        await seen.page.get_by_role("button", name="Copy: kvsync resume main/paused").first.click()
        await expect(seen.page.get_by_role("status")).to_have_text("Copied")
        assert await seen.page.evaluate("navigator.clipboard.readText()") == "kvsync resume main/paused"


async def test_a_lost_connection_is_reported_and_found_again(
    browser: Browser, all_states: AllStatesRepository, tmp_path: Path
) -> None:
    """When the daemon goes the page says that it is not live, and when it is back it goes on."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    root = tmp_path / "copy"
    shutil.copytree(all_states.root, root)
    config = (root / "kvsync.yaml").read_text()
    (root / "kvsync.yaml").write_text(config.replace("127.0.0.1:0", f"127.0.0.1:{port}"))
    async with process(root, **ENV) as first:
        await first.listens()
        async with visit(browser, first.url) as seen:
            await seen.go()
            await expect(seen.page.locator("#live")).to_have_text("Live")
            first.process.terminate()
            await first.over()
            await expect(seen.page.locator("#live")).to_contain_text("Connection lost")
            async with process(root, **ENV) as second:
                await second.listens()
                await expect(seen.page.locator("#live")).to_have_text("Live")
                await expect(seen.page.locator("footer")).to_contain_text(f"process {second.process.pid}")


async def test_hostile_names_and_values_are_text(browser: Browser, daemon: DaemonProcess) -> None:
    """A namespace, a key, a value, a reason and a file that hold HTML are shown as they are written, and do nothing."""
    async with visit(browser, daemon.url) as seen:
        for path in KINDS:
            await seen.go(path)
            await seen.look("openAll")
            assert await seen.page.title() != "1"
            assert await seen.page.locator("#page script, #page img, #page iframe, #page [onerror]").count() == 0
        await seen.go()
        await seen.look("openAll")
        text = await seen.page.locator("main").text_content() or ""
        assert all(part in text for part in (f"main/{HOSTILE}", f"until Monday {IMAGE}", IMAGE.replace('"', '\\"')))
        assert [message for message in seen.wrong if "404" not in message] == []


async def test_no_sensitive_value_is_in_any_byte(daemon: DaemonProcess) -> None:
    """Neither a sensitive value nor the token is in any answer, headers included."""
    for path in (*PATHS, "/status", "/metrics", "/?state=parked", "/events"):
        if path == "/events":
            async with daemon.session.get(daemon.url + path) as stream:
                answer = str(stream.headers) + (await stream.content.readuntil(b"\n\n")).decode()
        else:
            reply = await daemon.get(path)
            answer = str(reply.headers) + reply.text
        assert CANARY not in answer
        assert ENV["TOKEN"] not in answer


async def test_the_keyboard_is_enough(browser: Browser, daemon: DaemonProcess) -> None:
    """The first tab offers to skip to the content, every thing that can be used is reached and shows that it has the focus,
    and details open with a key."""
    async with visit(browser, daemon.url) as seen:
        await seen.go()
        page = seen.page
        await page.keyboard.press("Tab")
        skip = page.get_by_role("link", name="Skip to the content")
        await expect(skip).to_be_focused()
        await expect(skip).to_be_in_viewport()
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("main")).to_be_focused()
        usable = "a[href], button, input:not([type=hidden]), summary"
        count = await page.locator("main, footer").locator(usable).locator("visible=true").count()
        reached = set()
        for _ in range(count + 20):
            await page.keyboard.press("Tab")
            focus = await seen.look("focused")
            if focus["number"]:
                reached.add(focus["number"])
                assert focus["outline"] == "solid 2px"
        assert len(reached) >= count
        summary = page.locator(".target", has_text="main/drift").locator("summary")
        await summary.focus()
        await page.keyboard.press("Enter")
        await expect(page.get_by_text("line five of the template")).to_be_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_everything_can_be_read_in_both_schemes(browser: Browser, daemon: DaemonProcess, scheme: str) -> None:
    """Every text has a contrast of 4.5 or more to its ground, in light and in dark, which follow what the system says."""
    async with visit(browser, daemon.url, color_scheme=scheme) as seen:
        for path in KINDS:
            await seen.go(path)
            await seen.look("openAll")
            assert await seen.look("faint") == []
        assert (await seen.look("brightness") > 0.5) == (scheme == "light")


@pytest.mark.parametrize("script", [True, False])
async def test_a_phone_is_wide_enough(browser: Browser, daemon: DaemonProcess, script: bool) -> None:
    """At 360 pixels nothing reaches beyond the edge, with everything open, on every page."""
    async with visit(browser, daemon.url, script=script, width=360, has_touch=True) as seen:
        for path in KINDS:
            await seen.go(path)
            await seen.look("openAll")
            assert await seen.look("wide") == []
            assert await seen.page.evaluate("document.documentElement.scrollWidth") == 360


async def test_the_structure_can_be_heard(browser: Browser, daemon: DaemonProcess) -> None:
    """Each page has its landmarks, one main heading and no skipped level, and a name for everything that can be used."""
    async with visit(browser, daemon.url) as seen:
        for path in KINDS:
            await seen.go(path)
            await seen.look("openAll")
            page = seen.page
            for role in ("banner", "main", "contentinfo"):
                await expect(page.get_by_role(role)).to_have_count(1)
            levels = await page.locator("h1, h2, h3, h4").evaluate_all("all => all.map(one => Number(one.tagName[1]))")
            assert levels[0] == 1
            assert levels.count(1) == 1
            assert all(after <= before + 1 for before, after in pairwise(levels))
            assert await seen.look("unnamed") == []
            ids = await page.locator("[id]").evaluate_all("all => all.map(one => one.id)")
            assert len(ids) == len(set(ids))


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_axe_finds_nothing(browser: Browser, daemon: DaemonProcess, scheme: str) -> None:
    """axe-core, which knows what stands in the way of people with assistive technology, has nothing to say."""
    async with visit(browser, daemon.url, color_scheme=scheme) as seen:
        for path in ("/", "/targets/main/drift", "/targets/main/parked", "/targets/main/nobody"):
            await seen.go(path)
            await seen.look("openAll")
            assert await seen.axe() == []
