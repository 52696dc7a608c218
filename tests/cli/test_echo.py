"""A server that repeats what it was sent, in errors and headers: nothing of a sensitive value is shown or kept."""

from __future__ import annotations

import http.client
import json
import threading
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import cycle
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from kvsync.emulators.server import Running
from tests.cli.conftest import CONFIGURATION, Repo
from tests.support.emulator import emulator

SECRET = 'Sesame-0pen "4711" please! 7f3a9c2e'

ECHOES: dict[str, Callable[[str], str]] = {
    "whole": str,
    "first half": lambda secret: secret[:17],
    "from the middle": lambda secret: secret[9:20] + "...",
    "escaped twice": lambda secret: json.dumps(json.dumps({"value": secret})),
    "upper case": str.upper,
    "base64": lambda secret: b64encode(secret.encode()).decode(),
    "hexadecimal": lambda secret: secret.encode().hex(),
    "letter by letter": " ".join,
    "without blanks": lambda secret: secret.replace(" ", "").replace('"', ""),
}
PIECES = [SECRET[start : start + 6].lower() for start in range(len(SECRET) - 5)]
FORMS = [
    *PIECES,
    b64encode(SECRET.encode()).decode()[:12].lower(),
    SECRET.encode().hex()[:16],
    " ".join(SECRET[:6]).lower(),
]

STORES = {
    "azure-appconfig": "{type: azure-appconfig, connection_string: {env: CONNECTION}}",
    "cloudflare-kv": "{type: cloudflare-kv, account_id: {account}, token: {env: CLOUDFLARE_API_TOKEN}, create_namespaces: true,"
    " endpoint: '{url}'}",
    "apify": "{type: apify, token: {env: APIFY_TOKEN}, create_namespaces: true, endpoint: '{url}'}",
    "voximplant": "{type: voximplant, credentials: {env: VOXIMPLANT_CREDENTIALS}, application_id: 1, endpoint: '{url}'}",
}


def configuration(store: str) -> str:
    """A configuration with that store, whose state files may name the secret."""
    return CONFIGURATION.replace("{type: sqlite, path: .kvsync/store.db}", store).replace("env: [", "env: [SECRET, ")


KEYS = {f"secret{number}": {"env": "SECRET"} for number in range(len(ECHOES))}


def names_the_secret(_handler: BaseHTTPRequestHandler, body: bytes) -> str | None:
    """The secret, if a request has it."""
    return SECRET if b"4711" in body else None


@contextmanager
def echoing(
    server: Running, status: int, heard: Callable[[BaseHTTPRequestHandler, bytes], str | None] = names_the_secret
) -> Iterator[str]:
    """A proxy before an emulator. It answers every request in which it has `heard` a secret by an error that repeats it, in one
    form after the other."""
    forms, upstream = cycle(ECHOES.values()), urlsplit(server.url)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_arguments: Any) -> None:
            return

        def handle_any(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            if (secret := heard(self, body)) is not None:
                self.refuse(next(forms)(secret))
                return
            with closing(http.client.HTTPConnection(upstream.hostname or "", upstream.port, timeout=60)) as connection:
                connection.request(self.command, self.path, body, dict(self.headers))
                answer = connection.getresponse()
                self.reply(answer.status, answer.read(), dict(answer.headers))

        do_GET = do_PUT = do_POST = do_DELETE = handle_any  # noqa: N815 - names of the library

        def refuse(self, said: str) -> None:
            text = f"the value {said} is not valid"
            error = {"type": "bad", "code": 497, "msg": text, "message": text}
            answer = {
                "title": "bad",
                "detail": text,
                "errors": [error],
                "error": error,
                "success": False,
                "message": text,
            }
            named = ("x-ms-request-id", "x-request-id", "cf-ray", "X-Reason")
            headers = {**dict.fromkeys(named, said), "WWW-Authenticate": f'HMAC error_description="{said}"'}
            self.reply(status, json.dumps(answer).encode(), {"Content-Type": "application/json", **headers})

        def reply(self, status: int, body: bytes, headers: dict[str, str]) -> None:
            self.send_response_only(status)
            for name, value in headers.items():
                if name.lower() not in ("content-length", "transfer-encoding", "connection"):
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    proxy = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=proxy.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{proxy.server_port}{upstream.path}"
    finally:
        proxy.shutdown()
        proxy.server_close()
        thread.join()


def leaks(text: str) -> list[str]:
    return [form for form in FORMS if form in text.lower()]


@pytest.mark.parametrize("type_", STORES)
@pytest.mark.parametrize("status", [400, 403])
def test_no_server_repeats_a_sensitive_value(repo: Repo, type_: str, status: int) -> None:
    """Whatever a store says when it refuses a sensitive value, in its error or in a header: the status is reported, and
    nothing of what it said is shown, logged, or kept."""
    with emulator(type_) as server, echoing(server, status) as url:
        store = STORES[type_].replace("{url}", url).replace("{account}", server.env.get("CLOUDFLARE_ACCOUNT_ID", ""))
        repo.write("kvsync.yaml", configuration(store))
        repo.write(
            "state/web.yaml", json.dumps({"store": "local", "namespace": "web", "keys": {"plain": "yes", **KEYS}})
        )
        connection = server.env.get("AZURE_APPCONFIG_CONNECTION_STRING", "").replace(server.url, url)
        env = {**server.env, "CONNECTION": connection, "SECRET": SECRET}
        done = [
            repo.run("--log-level", "debug", "apply", "--yes", *form, env=env, code=None)
            for form in ((), ("-o", "json"))
        ]
        done += [repo.run(command, "-o", "json", env=env) for command in ("history", "status")]
        shown = "".join(one.stdout + one.stderr for one in done)
        assert done[0].returncode != 0
        assert f"{status}" in shown or status == 403
        assert leaks(shown) == []
        for file in (repo.root / ".kvsync").rglob("*"):
            if file.is_file():
                assert leaks(file.read_bytes().decode("latin-1")) == [], file


SIGN_INS = {
    "secret": ("AZURE_AUTHORITY_HOST", "AZURE_TENANT_ID", "AZURE_CLIENT_ID", "AZURE_CLIENT_SECRET"),
    "federated token": ("AZURE_AUTHORITY_HOST", "AZURE_TENANT_ID", "AZURE_CLIENT_ID", "AZURE_FEDERATED_TOKEN_FILE"),
    "app service": ("IDENTITY_ENDPOINT", "IDENTITY_HEADER"),
    "machine": ("AZURE_POD_IDENTITY_AUTHORITY_HOST",),
}
TALKING = ["plan", "apply --yes -o json", "--log-format json run --once", "doctor -o json"]


@pytest.mark.parametrize("kind", [*list(SIGN_INS)[:3], pytest.param("machine", marks=pytest.mark.system)])
def test_no_token_leaves(repo: Repo, kind: str) -> None:
    """kvsync signs in to App Configuration with Entra ID and writes. When the store or the authority then repeats what proves
    who kvsync is, nothing of it is shown, logged or kept."""
    secrets: list[str] = []

    def proof(handler: BaseHTTPRequestHandler, body: bytes) -> str | None:
        secret = handler.headers["Authorization"].split()[1] if "/kv" in handler.path else None
        if secret is None and len(secrets) % 3 == 2:  # one authority in three is as talkative as the store
            form = parse_qs(body.decode())
            sent = form.get("client_secret") or form.get("client_assertion")
            secret = sent[0] if sent else handler.headers["X-IDENTITY-HEADER"]
        secrets.extend([secret] if secret else [])
        return secret

    with emulator("azure-appconfig") as server, echoing(server, 400, proof) as url:
        given = {name: server.env[name] for name in SIGN_INS[kind]}
        repo.write("kvsync.yaml", configuration(f"{{type: azure-appconfig, endpoint: '{server.url}'}}"))
        assert "Done: 3 applied." in repo.run("apply", "--yes", env=given).stdout
        repo.write("kvsync.yaml", configuration(f"{{type: azure-appconfig, endpoint: '{url}'}}"))
        given = {name: text.replace(server.url, url) for name, text in given.items()}
        done = [repo.run("--log-level", "debug", *one.split(), env=given, code=None) for one in TALKING]
    kept = [file.read_bytes().decode("latin-1") for file in (repo.root / ".kvsync").rglob("*") if file.is_file()]
    assert len(secrets) > 3
    for text in (*kept, *(one.stdout + one.stderr for one in done)):
        assert not [secret for secret in secrets for piece in pieces_of(secret) if piece in text.lower()]


def pieces_of(secret: str) -> Iterator[str]:
    """Every eighth piece of 16 characters, in the forms of an echo. The header of a token is the same for all of them."""
    own = secret[40:] if secret.startswith("eyJ") else secret
    for start in range(0, len(own) - 15, 8):
        yield own[start : start + 16].lower()
        yield own[start : start + 16].encode().hex()
        yield " ".join(own[start : start + 16]).lower()
