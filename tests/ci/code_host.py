"""The parts of the GitHub and GitLab APIs that the workflows use: comments, issues, artifacts and packages.

It listens on a socket in the file system, over which GitHub's own command line can be sent, and on loopback.
"""

from __future__ import annotations

import asyncio
import io
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from aiohttp import web

PULL = 7
"""The number of the one pull request."""

Document = dict[str, Any]


class CodeHost:
    """What it holds. Comments are those of the pull request; `elsewhere` marks artifacts of a fork."""

    def __init__(self) -> None:
        self.comments: list[Document] = []
        self.issues: list[Document] = []
        self.artifacts: list[Document] = []
        self.packages: dict[str, bytes] = {}
        self.url = ""

    def keep(self, name: str, content: bytes, *, fork: bool = False) -> None:
        """What the action that uploads artifacts does."""
        number = len(self.artifacts) + 1
        self.artifacts.append(
            {
                "id": number,
                "name": name,
                "expired": False,
                "size_in_bytes": len(content),
                "created_at": f"2026-01-01T00:00:{number:02}Z",
                "archive_download_url": f"http://api.github.localhost/zip/{number}",
                "workflow_run": {"id": number, "repository_id": 1, "head_repository_id": 2 if fork else 1},
                "content": content,
            }
        )

    def application(self) -> web.Application:
        """Everything under the paths that the two have."""
        github, gitlab = "/repos/o/r", "/api/v4/projects/1"
        app = web.Application()
        app.add_routes(
            [
                web.get(f"{github}/issues/{PULL}/comments", self._list_comments),
                web.post(f"{github}/issues/{PULL}/comments", self._add_comment),
                web.patch(github + "/issues/comments/{id}", self._change_comment),
                web.get(f"{github}/actions/artifacts", self._list_artifacts),
                web.get(github + "/actions/runs/{id}/artifacts", self._list_artifacts),
                web.get("/zip/{id}", self._zip),
                web.get(github + "/commits/{sha}/pulls", self._pulls),
                web.get(f"{github}/issues", self._list_issues),
                web.post(f"{github}/issues", self._add_issue),
                web.patch(github + "/issues/{id}", self._change_issue),
                web.get("/api/v4/user", self._user),
                web.get(f"{gitlab}/merge_requests/{PULL}/notes", self._list_comments),
                web.post(f"{gitlab}/merge_requests/{PULL}/notes", self._add_comment),
                web.put(f"{gitlab}/merge_requests/{PULL}/notes" + "/{id}", self._change_comment),
                web.put(gitlab + "/packages/generic/kvsync-plan/{tree}/plan.json", self._put_package),
                web.get(gitlab + "/packages/generic/kvsync-plan/{tree}/plan.json", self._get_package),
                web.get(gitlab + "/repository/commits/{sha}/merge_requests", self._pulls),
                web.get(f"{gitlab}/issues", self._list_issues),
                web.post(f"{gitlab}/issues", self._add_issue),
                web.put(gitlab + "/issues/{id}", self._change_issue),
            ]
        )
        return app

    async def _fields(self, request: web.Request) -> Document:
        sent: Document = await request.json() if "json" in request.content_type else dict(await request.post())
        return {{"description": "body"}.get(name, name): value for name, value in sent.items()}

    async def _list_comments(self, _request: web.Request) -> web.Response:
        return web.json_response(self.comments)

    async def _add_comment(self, request: web.Request) -> web.Response:
        fields = await self._fields(request)
        assert len(fields["body"]) <= 65_536
        ours = {"login": "github-actions[bot]", "id": 99}
        self.comments.append({"id": len(self.comments) + 1, "user": ours, "author": ours, **fields})
        return web.json_response(self.comments[-1], status=201)

    async def _change_comment(self, request: web.Request) -> web.Response:
        self.comments[int(request.match_info["id"]) - 1].update(await self._fields(request))
        return web.json_response({})

    async def _list_artifacts(self, request: web.Request) -> web.Response:
        name, run = request.query.get("name"), request.match_info.get("id")
        found = [one for one in self.artifacts if name in (None, one["name"]) and run in (None, str(one["id"]))]
        shown = [{key: value for key, value in one.items() if key != "content"} for one in found]
        return web.json_response({"total_count": len(shown), "artifacts": shown})

    async def _zip(self, request: web.Request) -> web.Response:
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w") as archive:
            archive.writestr("plan.json", self.artifacts[int(request.match_info["id"]) - 1]["content"])
        return web.Response(body=packed.getvalue(), content_type="application/zip")

    async def _pulls(self, _request: web.Request) -> web.Response:
        return web.json_response([{"number": PULL, "iid": PULL}])

    async def _list_issues(self, _request: web.Request) -> web.Response:
        return web.json_response([one for one in self.issues if one["state"] == "open"])

    async def _add_issue(self, request: web.Request) -> web.Response:
        number = len(self.issues) + 1
        self.issues.append({"number": number, "iid": number, "state": "open", **await self._fields(request)})
        return web.json_response(self.issues[-1], status=201)

    async def _change_issue(self, request: web.Request) -> web.Response:
        fields = await self._fields(request)
        if fields.pop("state_event", None) == "close":
            fields["state"] = "closed"
        self.issues[int(request.match_info["id"]) - 1].update(fields)
        return web.json_response({})

    async def _user(self, _request: web.Request) -> web.Response:
        return web.json_response({"id": 99})

    async def _put_package(self, request: web.Request) -> web.Response:
        self.packages[request.match_info["tree"]] = await request.read()
        return web.json_response({}, status=201)

    async def _get_package(self, request: web.Request) -> web.Response:
        found = self.packages.get(request.match_info["tree"])
        return web.Response(status=404) if found is None else web.Response(body=found)


@contextmanager
def serving(code_host: CodeHost, socket: Path) -> Iterator[CodeHost]:
    """Serve it from a thread, so that programs can be waited for meanwhile."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    async def start() -> web.AppRunner:
        runner = web.AppRunner(code_host.application())
        await runner.setup()
        await web.UnixSite(runner, str(socket)).start()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        code_host.url = f"http://127.0.0.1:{runner.addresses[-1][1]}"
        return runner

    runner = asyncio.run_coroutine_threadsafe(start(), loop).result(60)
    try:
        yield code_host
    finally:
        asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(60)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(60)
        loop.close()
