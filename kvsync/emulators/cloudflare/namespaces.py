"""Namespace operations: list, create, rename, delete."""

from __future__ import annotations

import json
import secrets
from dataclasses import asdict, replace
from typing import Any, Final

from kvsync.emulators.cloudflare.checks import encode, refusal
from kvsync.emulators.cloudflare.contents import Contents
from kvsync.emulators.cloudflare.envelope import done, refused
from kvsync.emulators.cloudflare.model import LARGEST_TITLE, MOST_NAMESPACES, Namespace
from kvsync.emulators.model import Answer, Request
from kvsync.emulators.storage import Storage

_KIND: Final = "namespace"
_PAGE: Final = 20
_LARGEST_PAGE: Final = 1_000
_INVALID: Final = 10001
_JURISDICTIONS: Final = ("eu", "fedramp", "us")


class Namespaces:
    """Answers `/storage/kv/namespaces` and what is one level below it."""

    def __init__(self, storage: Storage, *, url_encoding: bool) -> None:
        self._storage, self._url_encoding = storage, url_encoding
        known = (Namespace(**json.loads(document)) for _, document in storage.items(_KIND))
        self._known = {namespace.id: namespace for namespace in known}
        self._contents = {id_: Contents(storage, id_) for id_ in self._known}

    def clear(self) -> None:
        """Forget all of them, with what they hold."""
        for contents in self._contents.values():
            contents.clear()
        self._known, self._contents = {}, {}
        self._storage.clear(_KIND)

    def find(self, id_: str, operation: str) -> tuple[Namespace, Contents]:
        """A namespace and what it holds. Raises Refused (404)."""
        if id_ not in self._known:
            raise refusal(operation, 404, 10013, "namespace not found")
        return self._known[id_], self._contents[id_]

    def list(self, request: Request) -> Answer:
        """One page; a page past the end is empty."""
        asked = dict(request.query)
        page = _number(asked, "page", 1, 10**9)
        size = _number(asked, "per_page", _PAGE, _LARGEST_PAGE)
        order = _choice(asked, "order", ("id", "title"))
        down = _choice(asked, "direction", ("asc", "desc")) == "desc"
        everything = sorted(self._known.values(), key=lambda found: (getattr(found, order), found.id), reverse=down)
        shown = [found.document() for found in everything[(page - 1) * size : page * size]]
        pages = -(-len(everything) // size)
        info = {"page": page, "per_page": size, "count": len(shown), "total_count": len(everything)}
        return done(shown, info | {"total_pages": pages})

    def get(self, id_: str) -> Answer:
        """One namespace."""
        return done(self.find(id_, "get namespace")[0].document())

    def create(self, request: Request) -> Answer:
        """Make one; its title must be free."""
        operation = "create namespace"
        document = _body(request)
        title = self._free(_title(operation, document), operation)
        if len(self._known) >= MOST_NAMESPACES:
            raise refusal(operation, 400, 10018, f"an account may have at most {MOST_NAMESPACES} namespaces")
        jurisdiction = document.get("jurisdiction")
        if jurisdiction not in (None, *_JURISDICTIONS):
            raise refusal(operation, 400, _INVALID, f"jurisdiction is one of {', '.join(_JURISDICTIONS)}")
        made = Namespace(secrets.token_hex(16), title, jurisdiction, self._url_encoding)
        self._contents[made.id] = Contents(self._storage, made.id)
        return self._keep(made)

    def rename(self, id_: str, request: Request) -> Answer:
        """Give it another title, which must be free."""
        operation = "rename namespace"
        found, _ = self.find(id_, operation)
        return self._keep(replace(found, title=self._free(_title(operation, _body(request)), operation, besides=id_)))

    def remove(self, id_: str) -> Answer:
        """Remove it with everything in it."""
        self.find(id_, "remove namespace")
        self._contents.pop(id_).clear()
        del self._known[id_]
        self._storage.delete(_KIND, id_)
        return done({})

    def _keep(self, namespace: Namespace) -> Answer:
        self._known[namespace.id] = namespace
        self._storage.put(_KIND, namespace.id, json.dumps(asdict(namespace)))
        return done(namespace.document())

    def _free(self, title: str, operation: str, besides: str = "") -> str:
        if any(found.title == title and found.id != besides for found in self._known.values()):
            raise refusal(operation, 400, 10014, "a namespace with this account ID and title already exists")
        return title


def _body(request: Request) -> dict[str, Any]:
    try:
        document = json.loads(request.body)
    except ValueError:
        document = None
    return document if isinstance(document, dict) else {}


def _title(operation: str, document: dict[str, Any]) -> str:
    title = document.get("title")
    if not title or not isinstance(title, str):
        raise refused(400, 10019, "request is missing a title definition")
    if len(encode(operation, title)) > LARGEST_TITLE:
        raise refusal(operation, 400, _INVALID, f"the title is longer than {LARGEST_TITLE} bytes")
    return title


def _number(asked: dict[str, str], name: str, default: int, most: int) -> int:
    text = asked.get(name, str(default))
    if not (text.isascii() and text.isdecimal() and 1 <= int(text) <= most):
        raise refused(400, _INVALID, f"{name}: must be a number from 1 to {most}, not {text!r}")
    return int(text)


def _choice(asked: dict[str, str], name: str, values: tuple[str, ...]) -> str:
    if (value := asked.get(name, values[0])) not in values:
        raise refused(400, _INVALID, f"{name}: must be one of {', '.join(values)}, not {value!r}")
    return value
