"""Make the pictures of README.md and docs/ (`make screenshots`): a plan in a terminal, and the status page, light and dark.

Both show a shop whose files and store have changed since the last run. The terminal is drawn by rich from what `kvsync plan`
prints, the page by Chromium. Next to the pictures is the text that they show, so that a test can tell when they are out of
date.
"""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from html.parser import HTMLParser
from io import StringIO
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
IMAGES: Final = ROOT / "docs/images"
THEMES: Final = ("light", "dark")
COLUMNS: Final = 110
LABELS: Final = frozenset({"h1", "h2", "h3", "dt", "th"})
"""The elements of the page whose text is compared. What they hold does not depend on the time."""

KVSYNC: Final = (sys.executable, "-m", "kvsync")

CONFIG: Final = """\
version: 1
owner: tea-shop
environments: [dev, prod]
environment: prod
state: ["state/*.yaml"]
stores:
  edge: {type: sqlite, path: edge.db}
policy: {prune: owned}
run: {every: 1h, listen: '127.0.0.1:0'}
"""

WEB: Final = """\
store: edge
namespace: web
keys:
  greeting: Welcome to the tea shop
  limits: {json: {rps: 10, burst: 25}}
  old_banner: Summer sale
  token: {value: kettle-9-on, sensitive: true}
"""

WEB_CHANGED: Final = """\
store: edge
namespace: web
keys:
  greeting: Good morning
  limits: {json: {rps: 20, burst: 25}}
  token: {value: kettle-8-on, sensitive: true}
  promo: {value: "10 % off green tea", ttl: 2h}
"""

FLAGS: Final = """\
store: edge
namespace: flags
policy: {drift: report}
keys:
  checkout-v2: {json: {enabled: false}}
  gift-cards: {json: {enabled: true}}
"""

PRICES: Final = "store: edge\nnamespace: prices\nkeys: {assam: 8.40, lapsang: 11.20, rooibos: 6.90}\n"
PRICES_CHANGED: Final = "store: edge\nnamespace: prices\nkeys: {}\n"


def main() -> None:
    """Write all pictures, and their texts."""
    IMAGES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="kvsync-") as folder:
        shop = write_shop(Path(folder))
        printed = plan(shop)
        for theme in THEMES:
            (IMAGES / f"plan-{theme}.svg").write_text(drawn(printed, theme), encoding="utf-8")
        with page(shop) as url:
            photograph(url)
            (IMAGES / "page.txt").write_text(labels(url), encoding="utf-8")
    (IMAGES / "plan.txt").write_text(plain(printed), encoding="utf-8")


# -- what is shown ----------------------------------------------------------------------------------------------------


def write_shop(folder: Path, program: Sequence[str] = KVSYNC) -> Path:
    """A repository that was applied, and then changed: in the files, and in the store. `program` runs kvsync."""
    state = folder / "state"
    state.mkdir()
    (folder / "kvsync.yaml").write_text(CONFIG, encoding="utf-8")
    for name, text in (("web", WEB), ("flags", FLAGS), ("prices", PRICES)):
        (state / f"{name}.yaml").write_text(text, encoding="utf-8")
    subprocess.run([*program, "apply", "--yes"], cwd=folder, env=environment(), stdout=subprocess.DEVNULL, check=True)
    (state / "web.yaml").write_text(WEB_CHANGED, encoding="utf-8")
    (state / "prices.yaml").write_text(PRICES_CHANGED, encoding="utf-8")
    with closing(sqlite3.connect(folder / "edge.db")) as store, store:
        store.execute("UPDATE entries SET value = '{\"enabled\":true}' WHERE key = 'checkout-v2'")
    return folder


def plan(shop: Path, program: Sequence[str] = KVSYNC) -> str:
    """What `kvsync plan` prints, with its colours."""
    command = [*program, "--color", "always", "plan"]
    text = subprocess.run(command, cwd=shop, env=environment(), stdout=subprocess.PIPE, text=True, check=False).stdout
    return f"$ kvsync plan\n{text}"


def plain(printed: str) -> str:
    """The same without colours, and without the hash of the plan, which each state directory computes with its own key."""
    return re.sub(r"approve [0-9a-f]{12}", "approve HASH", re.sub(r"\x1b\[[0-9;]*m", "", printed))


@contextmanager
def page(shop: Path) -> Iterator[str]:
    """The address of the page of a daemon that has looked at everything, and writes nothing."""
    command = [*KVSYNC, "--log-format", "json", "run", "--observe"]
    with subprocess.Popen(command, cwd=shop, env=environment(), stderr=subprocess.PIPE, text=True) as daemon:
        assert daemon.stderr is not None
        try:
            url = ""
            for line in daemon.stderr:
                found = re.search(r'"http.listening", "url": "([^"]+)"', line)
                url = found[1] if found else url
                if '"daemon.ready"' in line:
                    break
            yield url
        finally:
            daemon.terminate()


def labels(url: str) -> str:
    """The headings and labels of the page, one a line."""
    reader = _LabelReader()
    with urllib.request.urlopen(url, timeout=30) as answer:
        reader.feed(answer.read().decode())
    return "".join(re.sub(r" parked (now|\d.*)$", "", " ".join(text.split())) + "\n" for text in reader.found)


class _LabelReader(HTMLParser):
    """Collects the text of the elements in `LABELS`, as far as they have any."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self._text: str | None = None

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag in LABELS:
            self._text = ""

    def handle_data(self, data: str) -> None:
        if self._text is not None:
            self._text += data

    def handle_endtag(self, tag: str) -> None:
        if tag in LABELS and self._text is not None:
            self.found += [self._text] if self._text.strip() else []
            self._text = None


def environment() -> dict[str, str]:
    """The environment of the commands: nothing of it changes what they print."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("KVSYNC_", "NO_COLOR"))}
    return kept | {"PYTHONPATH": str(ROOT)}


# -- how it is drawn --------------------------------------------------------------------------------------------------


def drawn(printed: str, theme: str) -> str:
    """The picture of a terminal, which asks no other server for a font."""
    from rich.console import Console
    from rich.terminal_theme import DEFAULT_TERMINAL_THEME, DIMMED_MONOKAI
    from rich.text import Text

    console = Console(record=True, width=COLUMNS, file=StringIO(), force_terminal=True)
    console.print(Text.from_ansi(printed.rstrip()), soft_wrap=False)
    colours = DEFAULT_TERMINAL_THEME if theme == "light" else DIMMED_MONOKAI
    svg = console.export_svg(title="kvsync plan", theme=colours, unique_id=f"plan-{theme}")
    return re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL)


def photograph(url: str) -> None:
    """The pictures of the page."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        program = shutil.which("chromium") or playwright.chromium.executable_path
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-gpu"])
        for theme in THEMES:
            context = browser.new_context(color_scheme=theme, viewport={"width": 1120, "height": 820})
            view = context.new_page()
            view.goto(url)
            view.wait_for_selector("#live:has-text('Live')")
            time.sleep(0.5)  # until what fades in has done so
            view.screenshot(path=str(IMAGES / f"page-{theme}.png"))
        browser.close()


if __name__ == "__main__":
    main()
