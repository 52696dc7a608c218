"""The part of the Kubernetes API that leases use, for machines without a cluster.

Written along the reference of coordination.k8s.io/v1 and what the real server was seen to do: TLS with a CA of its own, bearer
tokens, RBAC by verb, `Status` bodies, a `resourceVersion` that grows with every write and must be given to update, 409 for an
older one and for a name that exists, 404, 422 for a spec that makes no sense. Not here: watches, server-side apply, admission.
"""

from __future__ import annotations

import json
import re
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import trustme
from aiohttp import web

_MICRO_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")
_VERBS = {"GET": "get", "POST": "create", "PUT": "update"}
_LEASES = "/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases"


@dataclass
class Cluster:
    """The server's memory, and the service account's folder. `allowed` are the verbs that the account may use on leases."""

    folder: Path
    environ: dict[str, str] = field(default_factory=dict)
    tokens: set[str] = field(default_factory=lambda: {"token-1"})
    allowed: set[str] = field(default_factory=lambda: {"get", "create", "update"})
    objects: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    namespaces: set[str] = field(default_factory=lambda: {"kvsync"})
    seen: list[tuple[str, str, int]] = field(default_factory=list)
    version: int = 1000

    def rotate(self, token: str) -> None:
        """Replace the token, as the kubelet does, and end the old one."""
        self.tokens = {token}
        (self.folder / "token").write_text(token)

    def spec(self, name: str = "kvsync") -> dict[str, Any]:
        """What the lease says."""
        spec: dict[str, Any] = self.objects["kvsync", name]["spec"]
        return spec

    def edit(self, name: str = "kvsync", **spec: Any) -> None:
        """Write as someone else does."""
        self.version += 1
        found = self.objects["kvsync", name]
        found["spec"] |= spec
        found["metadata"]["resourceVersion"] = str(self.version)

    # -- what it answers ----------------------------------------------------------------------------------------------

    @web.middleware
    async def guard(self, request: web.Request, handler: Any) -> web.StreamResponse:
        """Who is it, and may it? Then the answer is noted."""
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme != "Bearer" or token not in self.tokens:
            answer = status(401, "Unauthorized", "Unauthorized")
        elif "leases" in request.path and (verb := _verb(request)) not in self.allowed:
            answer = self._forbidden(verb, request.match_info["namespace"])
        else:
            answer = await handler(request)
        self.seen.append((request.method, request.path, answer.status))
        return answer

    async def get(self, request: web.Request) -> web.Response:
        found = self.objects.get((request.match_info["namespace"], request.match_info["name"]))
        return self._missing(request.match_info["name"]) if found is None else web.json_response(found)

    async def list(self, request: web.Request) -> web.Response:
        namespace = request.match_info["namespace"]
        items = [found for (where, _), found in sorted(self.objects.items()) if where == namespace]
        return web.json_response({"kind": "LeaseList", "apiVersion": "coordination.k8s.io/v1", "items": items})

    async def create(self, request: web.Request) -> web.Response:
        namespace, body = request.match_info["namespace"], await request.json()
        name = body["metadata"]["name"]
        if namespace not in self.namespaces:
            return status(404, "NotFound", f'namespaces "{namespace}" not found')
        if (namespace, name) in self.objects:
            return status(409, "AlreadyExists", f'leases.coordination.k8s.io "{name}" already exists')
        return invalid(name, body) or self._keep(namespace, name, body, 201)

    async def update(self, request: web.Request) -> web.Response:
        namespace, name, body = request.match_info["namespace"], request.match_info["name"], await request.json()
        found, version = self.objects.get((namespace, name)), body["metadata"].get("resourceVersion")
        if found is None:
            return self._missing(name)
        if not version:
            return status(
                422, "Invalid", f'Lease "{name}" is invalid: metadata.resourceVersion: must be specified for an update'
            )
        if version != found["metadata"]["resourceVersion"]:
            message = (
                f'Operation cannot be fulfilled on leases.coordination.k8s.io "{name}": the object has been modified'
            )
            return status(409, "Conflict", f"{message}; please apply your changes to the latest version and try again")
        return invalid(name, body) or self._keep(namespace, name, body, 200)

    async def review(self, request: web.Request) -> web.Response:
        body = await request.json()
        asked = body["spec"]["resourceAttributes"]
        assert (asked["group"], asked["resource"]) == ("coordination.k8s.io", "leases")
        return web.json_response(body | {"status": {"allowed": asked["verb"] in self.allowed}}, status=201)

    def _keep(self, namespace: str, name: str, body: dict[str, Any], code: int) -> web.Response:
        self.version += 1
        kept = {"uid": f"uid-{name}", "resourceVersion": str(self.version), "namespace": namespace, "name": name}
        found = {"kind": "Lease", "apiVersion": "coordination.k8s.io/v1", "metadata": {**body["metadata"], **kept}}
        self.objects[namespace, name] = json.loads(json.dumps(found | {"spec": body["spec"]}))
        return web.json_response(self.objects[namespace, name], status=code)

    def _missing(self, name: str) -> web.Response:
        return status(404, "NotFound", f'leases.coordination.k8s.io "{name}" not found')

    def _forbidden(self, verb: str, namespace: str) -> web.Response:
        user = f"system:serviceaccount:{namespace}:default"
        message = f'User "{user}" cannot {verb} resource "leases" in API group "coordination.k8s.io"'
        return status(
            403, "Forbidden", f'leases.coordination.k8s.io is forbidden: {message} in the namespace "{namespace}"'
        )


def status(code: int, reason: str, message: str) -> web.Response:
    """A failure as the API words it."""
    body = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure"}
    return web.json_response(body | {"message": message, "reason": reason, "code": code}, status=code)


def invalid(name: str, body: dict[str, Any]) -> web.Response | None:
    """What is wrong with a spec."""
    spec = body["spec"]
    seconds = spec.get("leaseDurationSeconds")
    if not isinstance(seconds, int) or seconds <= 0:
        return status(422, "Invalid", f'Lease "{name}" is invalid: spec.leaseDurationSeconds: must be greater than 0')
    for moment in ("acquireTime", "renewTime"):
        if moment in spec and not _MICRO_TIME.fullmatch(spec[moment]):
            return status(400, "BadRequest", f'Lease in version "v1" cannot be handled: parsing time {spec[moment]}')
    return None


@asynccontextmanager
async def cluster(folder: Path) -> AsyncIterator[Cluster]:
    """Serve until the end of the block, with a service account's files in `folder`."""
    found, authority = Cluster(folder), trustme.CA()
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(tls)
    authority.cert_pem.write_to_path(str(folder / "ca.crt"))
    (folder / "token").write_text("token-1")
    (folder / "namespace").write_text("kvsync")
    app = web.Application(middlewares=[found.guard])
    app.router.add_get(f"{_LEASES}/{{name}}", found.get)
    app.router.add_get(_LEASES, found.list)
    app.router.add_post(_LEASES, found.create)
    app.router.add_put(f"{_LEASES}/{{name}}", found.update)
    app.router.add_post("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", found.review)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
        await site.start()
        host, port = runner.addresses[0][:2]
        found.environ = {"KUBERNETES_SERVICE_HOST": host, "KUBERNETES_SERVICE_PORT": str(port)}
        yield found
    finally:
        await runner.cleanup()


def _verb(request: web.Request) -> str:
    """What RBAC calls it."""
    return "list" if request.method == "GET" and "name" not in request.match_info else _VERBS[request.method]
