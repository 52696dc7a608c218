"""What a person can do on the page: only with the token, from the page itself, and exactly what was shown."""

from __future__ import annotations

import html
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode

import pytest

from kvsync.model.digest import SHORTEST_HASH
from kvsync.model.result import Trigger
from tests.daemon.support import Log
from tests.status.support import BEARER, RUN, TOKEN, InProcessDaemon, Reply, live
from tests.support.memory_repository import MemoryRepository

HERE = {"Sec_Fetch_Site": "same-origin"}


@pytest.fixture
def repo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MemoryRepository:
    repo = MemoryRepository(tmp_path, monkeypatch)
    repo.configure(more=RUN)
    repo.want({"a": 1, "b": 2})
    return repo


@pytest.fixture
async def daemon(repo: MemoryRepository, log: Log) -> AsyncIterator[InProcessDaemon]:
    async with live(repo) as running:
        await running.becomes("in-sync")
        yield running


@dataclass
class Person:
    """Someone with a browser: keeps the cookie, and finds the proof that forms carry in the page."""

    daemon: InProcessDaemon
    cookie: str = ""

    async def sign_in(self, token: str = TOKEN) -> Reply:
        reply = await self.daemon.post("/sign-in", urlencode({"token": token, "back": "/targets/main/web"}), **HERE)
        self.cookie = reply.headers.get("Set-Cookie", "").partition(";")[0]
        return reply

    async def see(self, path: str = "/") -> str:
        return (await self.daemon.get(path, Cookie=self.cookie, Accept="text/html")).text

    async def act(self, do: str, **fields: str) -> str:
        """Send a form as the page would; returns what the next page tells."""
        reply = await self.send(do, **fields)
        assert (reply.status, reply.headers["Location"]) == (303, "/")
        (note,) = re.findall(r'id="note"[^>]*>(.*?)</p>', await self.see())
        return html.unescape(re.sub("<[^>]*>", "", note))

    async def send(self, do: str, site: str = "same-origin", **fields: str) -> Reply:
        proof = re.search(r'name="csrf" value="([^"]+)"', await self.see())
        form = {"csrf": proof[1] if proof else "", "do": do} | fields
        return await self.daemon.post("/act", urlencode(form), Cookie=self.cookie, Sec_Fetch_Site=site)


@pytest.fixture
async def person(daemon: InProcessDaemon, monkeypatch: pytest.MonkeyPatch) -> Person:
    original = daemon.session._request

    async def without_redirects(*args: object, **given: object) -> object:
        return await original(*args, **{**given, "allow_redirects": False})  # type: ignore[arg-type]

    monkeypatch.setattr(daemon.session, "_request", without_redirects)
    found = Person(daemon)
    assert (await found.sign_in()).headers["Location"] == "/targets/main/web"
    return found


async def test_the_session_is_for_this_browser_alone(person: Person) -> None:
    """The cookie is out of reach for scripts and other sites, and holds nothing of the token."""
    reply = await person.sign_in()
    flags = {part.strip() for part in reply.headers["Set-Cookie"].split(";")[1:]}
    assert {"HttpOnly", "SameSite=Strict", "Path=/", "Max-Age=28800"} <= flags
    assert TOKEN not in str(reply.headers)
    assert "Sign out" in await person.see()
    stranger = Person(person.daemon)
    assert 'action="/act"' not in await stranger.see()
    assert "Sign in" in await stranger.see()


async def test_a_wrong_token_opens_nothing(person: Person) -> None:
    """It leads back to the form, which still knows the page to return to, and guessing is slowed down."""
    reply = await person.sign_in("not-the-token")
    form = "/sign-in?wrong=1&back=%2Ftargets%2Fmain%2Fweb"
    assert (reply.status, reply.headers["Location"], person.cookie) == (303, form, "")
    assert 'name="back" value="/targets/main/web"' in await person.see(form)
    assert "/sign-in?back=/targets/main/web" in await person.see("/targets/main/web")
    statuses = [(await person.sign_in("not-the-token")).status for _ in range(12)]
    assert statuses[-1] == 429


async def test_forms_of_others_are_refused(person: Person, repo: MemoryRepository) -> None:
    """A form that another site sends, that has not this session's proof, or that comes without a session does nothing."""
    pause = {"target": "main/web"}
    sites = ("cross-site", "same-site", "none")
    assert [(await person.send("pause", site, **pause)).status for site in sites] == [403, 403, 403]
    foreign = {"Origin": "http://evil.example", "Cookie": person.cookie}
    assert (await person.daemon.post("/act", urlencode({"do": "pause"} | pause), **foreign)).status == 403
    assert (await person.send("pause", csrf="guessed", target="main/web")).status == 403
    assert (await Person(person.daemon, "kvsync_session=guessed").send("pause", **pause)).status == 401
    assert (await person.daemon.post("/act", "do=pause&target=main", **HERE, **BEARER)).status == 401
    async with repo.open(None) as workspace:
        assert workspace.state.pauses.all() == []


async def test_a_person_pauses_and_resumes(person: Person) -> None:
    """What a person writes is shown as text, and leads nowhere else."""
    assert await person.act("pause", target="main/web", reason="<b>moving</b>") == "main/web is paused"
    await person.daemon.becomes("paused")
    page = await person.see("/targets/main/web")
    assert "&lt;b&gt;moving" in page
    assert "<b>moving" not in page
    assert await person.act("resume", target="main/web", back="//evil.example") == "main/web is resumed"
    assert "not done: unknown target" in await person.act("pause", target="nowhere/web")
    assert "not done: unknown action" in await person.act("explode")


async def test_one_target_gets_a_pass(person: Person) -> None:
    """`Check now` of a target makes a pass of that one; of a target that has none here it says so."""
    before = (await person.daemon.target())["passes"]
    assert await person.act("pass", target="main/web") == "a pass over main/web was requested"
    assert (await person.daemon.becomes("in-sync", passes=before + 1))["triggers"] == ["hook"]
    assert "makes no passes over it" in await person.act("pass", target="main/nowhere")


async def test_exactly_the_plan_that_was_shown_is_approved(repo: MemoryRepository, person: Person) -> None:
    """The digest of the plan travels with the form: one that is no longer the plan releases nothing."""
    repo.configure("{guard: {max_delete_pct: 10, min_existing: 1}}", more=RUN)
    repo.want({"a": 1})
    assert person.daemon.daemon is not None
    person.daemon.daemon.trigger(Trigger.CONFIG)
    await person.daemon.becomes("parked")
    (digest,) = set(re.findall(r'name="digest" value="([^"]+)"', await person.see("/targets/main/web")))
    other = digest[:-SHORTEST_HASH] + "0" * SHORTEST_HASH
    assert "not done: no plan" in await person.act("approve", digest=other)
    assert await person.act("approve", digest=digest) == "approved: main/web"
    await person.daemon.becomes("in-sync")
    assert repo.values() == {"a": "1"}


async def test_a_run_is_undone_as_it_was_shown(repo: MemoryRepository, person: Person) -> None:
    """The preview is for those who may act, shows what would be done, and what changed since is not undone unseen."""
    run = (await person.daemon.status())["runs"][0]["run"]
    assert (await person.daemon.get(f"/undo?run={run}")).status == 303
    page = await person.see(f"/undo?run={run}")
    assert "2 to delete" in page
    (digest,) = set(re.findall(r'name="digest" value="([^"]+)"', page))
    assert "preview the undo again" in await person.act("undo", run=run, digest="sha256:" + "0" * 64)
    stale = await person.send("undo", run=run, digest="sha256:0", back=f"/undo?run={run}")
    assert stale.headers["Location"] == f"/undo?run={run}"
    done = await person.send("undo", run=run, digest=digest, back=f"/undo?run={run}")
    assert done.headers["Location"] == "/"
    assert f"undo of {run} was requested" in await person.see()
    await person.daemon.becomes("undone")
    assert repo.values() == {}
    newest = (await person.daemon.status())["runs"][0]
    assert (newest["command"], newest["outcomes"]) == ("undo", {"applied": 2})


async def test_another_token_and_signing_out_end_the_session(person: Person) -> None:
    """A token that is replaced because others know it lets nobody in who showed the old one."""
    other = Person(person.daemon)
    await other.sign_in()
    assert (await person.daemon.post("/sign-out", "", Cookie=other.cookie, **HERE)).status == 403
    proof = re.search(r'name="csrf" value="([^"]+)"', await other.see())
    assert proof is not None
    form = urlencode({"csrf": proof[1]})
    assert (await person.daemon.post("/sign-out", form, Cookie=other.cookie, **HERE)).status == 303
    assert "Sign out" not in await other.see()
    serving = person.daemon.serving
    assert serving is not None
    serving._environ["TOKEN"] = "a-new-and-longer-token"  # type: ignore[index]
    assert "Sign out" not in await person.see()
