"""The page without a browser: what it says, what cannot get into it, and how it is served."""

from __future__ import annotations

import asyncio
import gzip
import json
import re
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import aiohttp
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from yarl import URL

from kvsync.daemon.ports import LoadedTargets
from kvsync.errors import Origin, Problem
from kvsync.model.entry import Target
from kvsync.rendering.difference import Line
from kvsync.state import DriftPoint
from kvsync.status.page import words
from kvsync.status.page.assets import load
from kvsync.status.page.events import Events, EventTiming
from kvsync.status.page.headline import ORDER, Urgency, headline, level_of, word
from kvsync.status.page.listing import MOST, MOST_ROWS, MOST_ROWS_EACH, listing
from kvsync.status.page.query import Query, address_of, parsed
from kvsync.status.page.render import Renderer
from kvsync.status.page.timeline import COLUMNS, timeline
from kvsync.status.plan_views import PendingRow, PendingRowKind
from kvsync.status.snapshot import EndView, ParkedView, PauseView, State, StatusSnapshot, TargetView
from kvsync.util.escaping import escape_text
from kvsync.util.redaction import Redactor
from tests.daemon.support import BOUND, until
from tests.status.snapshots import HOSTILE, NOW, snapshot, target
from tests.status.support import BEARER, RUN, InProcessDaemon, live
from tests.support.command import ROOT
from tests.support.examples import examples
from tests.support.memory_repository import MemoryRepository

IN_SYNC = TargetView(Target("main", "web"), state=State.IN_SYNC, attempted_at=NOW, unchanged=3, passes=1)


@cache
def renderer(redact: Callable[[str], str] = str) -> Renderer:
    return Renderer(load(), str, redact)


def home(shown: StatusSnapshot, query: Query | None = None, redact: Callable[[str], str] = str) -> str:
    return renderer(redact).home(shown, query or Query()).body.decode()


def one(shown: StatusSnapshot) -> str:
    return renderer().target(shown, shown.targets[0]).body.decode()


def with_targets(*views: TargetView, **fields: Any) -> StatusSnapshot:
    return replace(snapshot(1), targets=views, problems=(), **fields)


class PageTags(HTMLParser):
    """The tags of a page with the names of their attributes, and its text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, tuple[str, ...]]] = []
        self.text = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, tuple(name for name, _ in attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


# -- what it says ---------------------------------------------------------------------------------------------------------


def test_a_target_says_which_wave_it_waits_for() -> None:
    """Where all targets are listed, too."""
    early = "waits for wave 1 of 3 (main/dev-*): baking until 12:17"
    shown = with_targets(replace(IN_SYNC, state=State.PENDING, pending=5, early=early))
    assert f"5 changes not applied; <bdi>{early}</bdi>" in home(shown)


@pytest.mark.parametrize(
    ("states", "level", "text"),
    [
        ((), Urgency.IDLE, "No targets"),
        ((State.IN_SYNC,), Urgency.GOOD, "The target is in sync"),
        ((State.IN_SYNC, State.IN_SYNC), Urgency.GOOD, "All 2 targets are in sync"),
        ((State.WAITING, State.IN_SYNC), Urgency.IDLE, "Starting: 1 target of 2 not checked yet"),
        ((State.PAUSED, State.IN_SYNC), Urgency.NOTE, "1 of 2 targets in sync"),
        ((State.DENIED, State.PENDING), Urgency.NOTE, "0 of 2 targets in sync"),
        ((State.DRIFTED, State.WAITING), Urgency.LOOK, "1 of 2 targets needs attention"),
        ((State.PARKED, State.FAILING, State.IN_SYNC), Urgency.BAD, "2 of 3 targets need attention"),
        ((State.HELD, State.PARKED), Urgency.BAD, "2 of 2 targets need attention"),
    ],
)
def test_the_headline_says_whether_all_is_well(states: tuple[State, ...], level: Urgency, text: str) -> None:
    """One sentence and one level represent all targets, those that need attention before everything else."""
    full = target("main", "web")
    shown = with_targets(*(replace(IN_SYNC, state=state, parked=full.parked, pause=full.pause) for state in states))
    said = headline(shown)
    assert (said.level, said.text) == (level, text)
    assert f'<h1 id="headline">{text}</h1>' in home(shown)


def test_problems_in_files_are_not_calm() -> None:
    """Where all targets are in sync and a file is broken, the headline speaks of the file."""
    shown = replace(with_targets(IN_SYNC), problems=(Problem("wrong", Origin("state/web.yaml", 7, 3), "mend it"),))
    assert headline(shown) == replace(headline(shown), level=Urgency.BAD, text="1 problem in the files")
    text = PageTags(home(shown)).text
    assert all(part in text for part in ("state/web.yaml:7:3", "wrong", "mend it"))


def test_what_is_refused_needs_a_person() -> None:
    """A pending target with refused entries is one to look at, another one is on its way."""
    view = target("main", "web", list(State).index(State.PENDING))
    assert view.plan is not None
    refused = replace(view, plan=replace(view.plan, counts={"refused": 1}))
    assert (level_of(view), level_of(refused)) == (Urgency.NOTE, Urgency.LOOK)


def test_every_state_has_its_word_and_its_shape() -> None:
    """Each state is shown by a word and by an icon of its own that exists, and not by its colour alone."""
    shapes = re.findall(r'<symbol id="i-([\w-]+)"[^>]*>(.*?)</symbol>', home(snapshot()))
    drawn = dict(shapes)
    assert len({drawn[state.value] for state in State}) == len(State)
    for state in State:
        view = replace(target("main", "web"), state=state)
        html = home(with_targets(view))
        assert f'href="#i-{state}"/></svg>{state.value.replace("-", " ")}</span>' in html


def test_every_state_is_documented() -> None:
    """The documentation says of each state what it means, in the order of urgency."""
    text = (ROOT / "docs/monitoring.md").read_text()
    named = re.findall(r"^\| ([a-z ]+) \| ", text.partition("## The page")[2].partition("## Hooks")[0], re.MULTILINE)
    assert named == ["state", *(word(state) for state in ORDER)]


def test_those_that_need_a_person_come_first() -> None:
    """Targets are sorted by how urgent they are, then by name."""
    views = [replace(IN_SYNC, target=Target("main", f"{n}"), state=state) for n, state in enumerate(reversed(ORDER))]
    twin = replace(views[-1], target=Target("main", "a"))
    found = listing(with_targets(*views, twin), Query()).targets
    assert [view.state for view in found] == [ORDER[0], *ORDER]
    assert [view.target.namespace for view in found[:2]] == ["9", "a"]


def test_a_thousand_targets_are_pages_of_fifty() -> None:
    """A page holds so many targets and rows and no more, whatever there is; all pages together hold every target once."""
    rows = (PendingRow(PendingRowKind.CHANGE, "+", "create", "new", "key"),) * 100
    views = [target("main", f"{number:04}", number) for number in range(1000)]
    full = with_targets(*(replace(view, plan=view.plan and replace(view.plan, rows=rows)) for view in views))
    pages = [listing(full, Query(page=number)) for number in range(1, 21)]
    assert sorted(view.target for page in pages for view in page.targets) == [view.target for view in full.targets]
    for page in pages:
        shown = [len(view.plan.rows) for view in page.targets if view.plan]
        assert (len(page.targets), page.pages) == (MOST, 20)
        assert max(shown) <= MOST_ROWS_EACH
        assert sum(shown) <= MOST_ROWS
    assert listing(full, Query(page=99)).page == 20
    assert len(home(full)) < 250_000


def test_filters_are_words_and_states() -> None:
    """A target is listed when it is in one of the states and holds every word, in whatever case, in name, error or entries."""
    web, api = target("main", "web", 0), replace(target("edge", "api", 1), error="Connection Refused", plan=None)
    shown = with_targets(web, api)

    def found(query: Query) -> list[str]:
        return [view.target.namespace for view in listing(shown, query).targets]

    assert found(Query(text="MAIN greet")) == ["web"]
    assert found(Query(text="refused api")) == ["api"]
    assert found(Query(text="refused web")) == []
    assert found(Query(frozenset({State.HELD}))) == ["api"]
    assert "No target matches" in home(shown, Query(text="nothing like it"))


@given(st.frozensets(st.sampled_from(State)), st.text(max_size=50), st.integers(1, 999_999))
def test_a_query_is_its_address(states: frozenset[State], text: str, page: int) -> None:
    """What a query asks for can be kept as a link; what makes no sense in a link is left out."""
    asked = Query(states, text.strip(), page)
    url = URL("http://localhost" + asked.address)
    assert parsed(url.query.items()) == asked
    assert parsed([("state", "no-such"), ("page", "-1"), ("page", "x"), ("other", "1")]) == Query()


def test_the_drawing_of_drift_shows_the_most_at_once() -> None:
    """Drift of several targets adds up, a short one is still seen, and what was healed is gone after it."""
    a, b = Target("main", "a"), Target("main", "b")
    points = [
        DriftPoint(NOW - 3000, a, {"drifted": 2}),
        DriftPoint(NOW - 2000, b, {"drifted": 3, "missing": 1}),
        DriftPoint(NOW - 1999, b, {}),
        DriftPoint(NOW - 1000, a, {}),
    ]
    drawn = timeline(points, NOW)
    assert drawn is not None
    assert (drawn.since, drawn.until, drawn.most) == (NOW - 3600, NOW, 6)
    assert [area.cause for area in drawn.areas] == ["drifted", "missing"]
    assert [point.at for point in drawn.points] == [NOW - 1000, NOW - 1999, NOW - 2000, NOW - 3000]
    ups = {
        at: float(height)
        for at, height in re.findall(r"H(\d+)V([\d.]+)", drawn.areas[0].path.partition(f"H{COLUMNS}")[0])
    }
    assert ups == {
        "0": 100,
        "40": pytest.approx(66.7),
        "106": pytest.approx(16.7),
        "107": pytest.approx(66.7),
        "174": 100,
    }
    assert timeline(points[2:3], NOW) is None


@given(st.lists(st.tuples(st.integers(0, 10_000), st.sampled_from("abc"), st.integers(0, 9)), min_size=1))
def test_the_drawing_never_hides_the_most(given_points: list[tuple[int, str, int]]) -> None:
    """Whatever the points, the height of the drawing is the most that was drifted at once."""
    points = [
        DriftPoint(NOW - at, Target("s", name), {"drifted": n}) for at, name, n in sorted(given_points, reverse=True)
    ]
    standing: dict[str, int] = {}
    totals = []
    for point in points:
        standing[point.target.namespace] = point.counts["drifted"]
        totals.append(sum(standing.values()))
    drawn = timeline(points, NOW)
    assert (drawn.most if drawn else 0) == max(totals)


def test_moments_and_sizes_are_for_people() -> None:
    """Times are relative in the largest unit, with the moment itself next to them; sizes have units."""
    assert [words.relative(NOW - ago, NOW) for ago in (0.5, 59, 61, 7300, -90)] == [
        "now",
        "59 s ago",
        "1 min ago",
        "2 h ago",
        "in 1 min",
    ]
    assert [words.took(seconds) for seconds in (0.0124, 1.44, 90)] == ["12 ms", "1.4 s", "1 min"]
    assert [words.size(number) for number in (812, 1_400_000)] == ["812 bytes", "1.4 MB"]
    html = home(with_targets(IN_SYNC))
    assert '<time datetime="2027-01-15T08:00:00Z" title="2027-01-15 08:00:00 UTC" data-as="relative">now</time>' in html


@pytest.mark.parametrize(
    "state", [State.FAILING, State.IN_SYNC, State.DENIED, State.UNDONE, State.PENDING, State.DRIFTED]
)
def test_what_is_not_known_is_not_a_number(state: State) -> None:
    """A target that was never compared, or that another replica works on, has no count of 0, and no empty plan."""
    view = TargetView(Target("main", "web"), state=state, drift={"drifted": 2}, passes=1)
    said = PageTags(one(with_targets(view))).text
    assert "Not known yet." in said
    what = said.partition("main/web")[2].partition("Store type")[0]
    assert not re.search(r"\b0\b|^ *,", what, re.MULTILINE), what


def test_the_page_of_a_target_has_all_of_it() -> None:
    """A target's own page has its error, problems, reasons, commands, plan, lifetimes and totals."""
    text = PageTags(one(snapshot(1))).text
    for part in (
        "state/web.yaml:1:2",
        "mend it",
        "too much",
        "kvsync approve 000000000000",
        "because",
        "kvsync resume main",
        "greeting",
        "drifted",
        "+ y",
        "state/web.yaml:3:1",
        "delete, failed: 1",
        "20270115-080000-000",
        "2 more are not shown",
    ):
        assert part in text, part


# -- what cannot get into it ----------------------------------------------------------------------------------------------


def hostile(text: str) -> StatusSnapshot:
    """A snapshot on which everything that someone else worded says this."""
    escaped = escape_text(text)  # as the rows of a snapshot are
    row = PendingRow(
        PendingRowKind.CHANGE, "~", "update", "drifted", escaped, False, (escaped,), (Line("+", escaped),), escaped
    )
    full = target(text, text)
    assert full.plan is not None
    view = replace(
        full,
        state=State.PARKED,
        type=text,
        error=text,
        plan=replace(full.plan, rows=(row, replace(row, kind=PendingRowKind.REFUSED))),
        problems=(),
        parked=ParkedView("sha256:0", (text,), NOW, None, text),
        pause=PauseView(text, text, NOW, text),
        nearest_end=EndView(escaped, NOW),
    )
    shown = snapshot(1)
    process = replace(shown.process, owner=text, environment=f"e{text}", commit=f"c{text}", window=f"w{text}")
    problem = Problem(text, Origin(text, 1, 1), f"h{text}")
    runs = tuple(replace(run, id=text, target=view.target, source=f"s{text}") for run in shown.runs)
    stores = tuple(replace(store, name=text, type=text, error=f"e{text}") for store in shown.stores)
    drift = (DriftPoint(NOW, view.target, {"drifted": 1}),)
    return replace(shown, process=process, targets=(view,), problems=(problem,), runs=runs, stores=stores, drift=drift)


@settings(max_examples=examples(40))
@given(
    st.text(max_size=40)
    | st.sampled_from([HOSTILE, '"><script>alert(1)</script>', "' onload='x", "{{ 7 * 7 }}", "</pre>"])
)
def test_no_text_changes_the_page_but_text(text: str) -> None:
    """Whatever a store, a file or a person words, the page has the same tags and attributes as with a harmless word."""
    for page in (home, one):
        assert PageTags(page(hostile("x" + text))).tags == PageTags(page(hostile("word"))).tags


def test_what_is_not_printable_is_spelled_out() -> None:
    """A character that changes the direction of text, or a terminal code, is shown by its number."""
    html = home(hostile("a\u202eb\x1bc"))
    assert "a\\u202eb\\x1bc" in html
    assert "\u202e" not in html
    assert "\x1b" not in html


def test_what_the_redactor_knows_is_on_no_page() -> None:
    """A secret that an error, a problem, a reason or a pause quotes is taken out, also where it has signs that HTML escapes."""
    secret = "s3cret-'<&>\"-value"
    redactor = Redactor()
    redactor.register(secret)
    quoting = hostile("x")
    (view,) = quoting.targets
    said = f"quotes {secret}"
    view = replace(
        view,
        error=said,
        parked=ParkedView("sha256:0", (said,), NOW, None, "kvsync approve 0"),
        pause=PauseView("main", said, NOW, "kvsync resume main"),
    )
    stores = tuple(replace(store, error=said) for store in quoting.stores)
    shown = replace(quoting, targets=(view,), problems=(Problem(said, None, said),), stores=stores)
    made = renderer(redactor.redact)
    for page in (made.home(shown, Query()), made.target(shown, view)):
        assert "***" in page.body.decode()
        assert secret not in PageTags(page.body.decode()).text


def test_nothing_stands_inline() -> None:
    """No page has a script, a style or a handler in its text, and no address that leads elsewhere: the policy forbids them."""
    shown = snapshot(60)
    pages = (renderer().home(shown, Query()), *(renderer().target(shown, view) for view in shown.targets[:9]))
    for page in pages:
        shape, html = PageTags(page.body.decode()), page.body.decode()
        names = {name for _, attributes in shape.tags for name in attributes}
        assert not [name for name in names if name.startswith("on")]
        assert "style" not in names | {tag for tag, _ in shape.tags}
        assert re.findall(r"<script\b([^>]*)>(.*?)</script>", html) == [
            (f' src="{load()["page.js"].address}" defer', "")
        ]
        links = re.findall(r'(?:href|src|action)="([^"]*)"', html)
        assert all(link.startswith(("/", "#")) and not link.startswith("//") for link in links)


def test_an_installed_kvsync_has_its_page(tmp_path: Path) -> None:
    """A wheel holds every template, style, script and icon."""
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True, timeout=60)
    with ZipFile(next(tmp_path.glob("*.whl"))) as wheel:
        packed = set(wheel.namelist())
    page = ROOT / "kvsync/status/page"
    made_of = {
        str(file.relative_to(ROOT)) for file in page.rglob("*") if file.suffix in (".html", ".css", ".js", ".svg")
    }
    assert len(made_of) > 10
    assert made_of <= packed


# -- how it is served -----------------------------------------------------------------------------------------------------


@pytest.fixture
async def daemon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[InProcessDaemon]:
    repo = MemoryRepository(tmp_path, monkeypatch)
    repo.configure(more=RUN.replace("every: 1h", "every: 1h, watch: false"))  # what tests put in the collector stays
    repo.want({"a": 1})
    async with live(repo) as running:
        await running.becomes("in-sync")
        yield running


async def test_a_page_is_html_that_may_do_nothing_else(daemon: InProcessDaemon) -> None:
    """The page comes with a policy without exceptions, is never kept, and is compressed for those who ask for that."""
    page = await daemon.get("/")
    assert page.status == 200
    assert page.headers["Content-Type"] == "text/html; charset=utf-8"
    assert page.headers["Cache-Control"] == "no-store"
    policy = page.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; ")
    assert set(re.findall(r"'[\w-]+'|https?:|data:|\*", policy)) == {"'none'", "'self'"}
    packed = await daemon.get("/", Accept_Encoding="gzip, br")
    assert packed.headers["Content-Encoding"] == "gzip"
    assert "The target is in sync" in gzip.decompress(packed.body).decode()
    assert (await daemon.ask("HEAD", "/")).body == b""


async def test_assets_are_kept_by_their_fingerprint(daemon: InProcessDaemon) -> None:
    """Style, script and icons are served with their types, forever under the address that the page names; others are not."""
    html = (await daemon.get("/")).text
    for name, asset in load().items():
        reply = await daemon.get(asset.address)
        assert (reply.status, reply.body) == (200, asset.body)
        assert reply.headers["Content-Type"] == f"{asset.content_type}; charset=utf-8"
        assert "immutable" in reply.headers["Cache-Control"]
        assert (await daemon.get(f"/assets/{name}?v=old")).headers["Cache-Control"] == "no-store"
    assert all(load()[name].address in html for name in ("page.css", "page.js", "good.svg"))
    for path in ("/assets/other.css", "/assets/..%2Fpaths.py", "/assets/"):
        assert (await daemon.get(path)).status == 404


NAMESPACES = ("web", "a/b/c", "..", "a/../b", ".", "a//b", "/", "a?b#c&d=e", "100%", "%2F", "ä ö", HOSTILE, "-")


async def test_every_target_has_an_address(daemon: InProcessDaemon) -> None:
    """Whatever a namespace is called, the list links to its page, and the page is of that very target."""
    targets = frozenset(Target("main", namespace) for namespace in NAMESPACES)
    daemon.collector.files_loaded(targets, LoadedTargets({}))
    html = (await daemon.get("/")).text
    for name in targets:
        address = address_of(name)
        assert f'<a href="{address.replace("&", "&amp;")}">' in html
        page = await daemon.get(address)
        assert page.status == 200, name
        assert PageTags(page.text).text.count(escape_text(str(name))) >= 2  # title and headline
    gone = await daemon.get("/targets/main/nobody%3Cscript%3E")
    assert gone.status == 404
    assert "No target <bdi>main/nobody&lt;script&gt;</bdi>" in gone.text


async def test_filters_come_by_address(daemon: InProcessDaemon) -> None:
    """The list can be filtered without a script: by the form's own address, and by links."""
    targets = frozenset(Target("main", f"n{number:03}") for number in range(120)) | {Target("main", "web")}
    daemon.collector.files_loaded(targets, LoadedTargets({}))
    shown = (await daemon.get("/?state=waiting&page=3")).text
    assert "101 to 120 of 120 targets" in shown
    assert "Page 3 of 3" in shown
    assert 'href="/?state=waiting&amp;page=2#targets"' in shown
    assert "1 to 1 of 1 target" in (await daemon.get("/?q=WEB")).text
    assert (await daemon.get("/?state=nonsense&page=x&q=")).status == 200


async def event(stream: aiohttp.StreamReader) -> dict[str, str]:
    """The next event, as its fields."""
    async with asyncio.timeout(BOUND):
        lines = (await stream.readuntil(b"\n\n")).decode().strip().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def stamp(html: str) -> str:
    found = re.search(r'data-stamp="([^"]+)"', html)
    assert found
    return found[1]


async def test_news_are_reported_and_end_with_the_daemon(daemon: InProcessDaemon) -> None:
    """Who listens hears which version is the newest, hears of the next one, and is let go when the daemon leaves."""
    async with daemon.session.get(daemon.url + "/events") as stream:
        assert stream.headers["Content-Type"].startswith("text/event-stream")
        first = await event(stream.content)
        assert (first["event"], first["data"]) == ("version", stamp((await daemon.get("/")).text))
        daemon.collector.changed()
        second = await event(stream.content)
        assert second["data"] == stamp((await daemon.get("/")).text) != first["data"]
        daemon.collector.stopping()
        async with asyncio.timeout(BOUND):
            await stream.content.read()


def paced(daemon: InProcessDaemon, **pace: Any) -> Events:
    """Let the daemon's `/events` go at this pace."""
    assert daemon.serving is not None
    assert daemon.serving._server is not None
    app: Any = daemon.serving._server._runner.app
    (route,) = (each for each in app.router.routes() if each.method == "GET" and each.resource.canonical == "/events")
    events = route.handler.__self__
    assert isinstance(events, Events)
    events._pace = EventTiming(**pace)
    return events


async def test_a_storm_is_few_words_and_silence_is_beats(daemon: InProcessDaemon) -> None:
    """Many events at once are one version, the newest; while nothing happens there are beats."""
    paced(daemon, gap=0.05, beat=0.05)
    async with daemon.session.get(daemon.url + "/events") as stream:
        await event(stream.content)
        for _ in range(1000):
            daemon.collector.changed()
        newest = stamp((await daemon.get("/")).text)
        told: list[str] = []
        while not told or told[-1] != newest:
            told.append((await event(stream.content)).get("data", ""))
        assert len([data for data in told if data]) <= 2
        assert (await event(stream.content))["event"] == "beat"


async def test_there_is_room_for_so_many(daemon: InProcessDaemon) -> None:
    """One more than there is room for learns when to come back, and comes in when another has left."""
    events = paced(daemon, most=2)
    async with daemon.session.get(daemon.url + "/events"), daemon.session.get(daemon.url + "/events") as second:
        full = await daemon.get("/events")
        assert (full.status, full.headers["Retry-After"]) == (503, "30")
        assert json.loads(full.body)["error"]["kind"] == "unavailable"
        second.close()
        daemon.collector.changed()
        await until(lambda: events.listening == 1)
        async with daemon.session.get(daemon.url + "/events") as third:
            assert third.status == 200


async def test_who_does_not_read_is_let_go(daemon: InProcessDaemon) -> None:
    """A client that never reads is cut off once some thousand bytes wait for it, while others go on."""
    events = paced(daemon, gap=0.0, beat=0.001, unread=0)
    host, port = daemon.url.removeprefix("http://").split(":")
    with socket.socket() as deaf:
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
        deaf.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(deaf, (host, int(port)))
        await loop.sock_sendall(deaf, b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await until(lambda: events.listening == 1)
        await until(lambda: events.listening == 0)
    assert (await daemon.get("/")).status == 200


async def test_a_page_that_stays_open_asks_again(daemon: InProcessDaemon) -> None:
    """A stream ends after its time, so that a withdrawn token is noticed; a HEAD is answered at once."""
    paced(daemon, life=0.05)
    async with daemon.session.get(daemon.url + "/events") as stream, asyncio.timeout(BOUND):
        assert b"event: version" in await stream.content.read()
    assert (await daemon.ask("HEAD", "/events")).body == b""


@pytest.mark.parametrize("path", ["/", "/targets/main/web", "/events", "/assets/page.js"])
async def test_beyond_loopback_the_page_takes_the_token(daemon: InProcessDaemon, path: str) -> None:
    """Where other machines can reach it, no part of the page is shown without the token; a browser is asked for it."""
    assert daemon.serving is not None
    assert daemon.serving._server is not None
    daemon.serving._server._parts.access.loopback = False
    refused = await daemon.get(path)
    assert refused.status == 401
    assert "Basic" in refused.headers["WWW-Authenticate"]
    async with daemon.session.get(daemon.url + path, headers=BEARER) as shown:
        assert shown.status == 200
