"""Application operations: list, add, rename, delete. Two applications exist at the start."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from kvsync.emulators.model import Answer
from kvsync.emulators.storage import Storage
from kvsync.emulators.voximplant import calls
from kvsync.emulators.voximplant.calls import Call
from kvsync.emulators.voximplant.contents import Contents
from kvsync.emulators.voximplant.credentials import ACCOUNT_NAME
from kvsync.emulators.voximplant.errors import Refused, done

NAMES: Final[Mapping[int, str]] = {1: "first", 2: "second"}
_DOMAIN: Final = f".{ACCOUNT_NAME}.voximplant.com"
_MODIFIED: Final = "2026-01-01 00:00:00"
_USUAL_PAGE: Final = 20
_NAME: Final = re.compile(r"[a-z][a-z0-9-]{1,64}")
_KIND: Final = "applications"


class Applications:
    """The applications with their contents, and how calls name them. An id is never used twice."""

    def __init__(self, storage: Storage, choices: Mapping[str, str], seed: int) -> None:
        self._storage, self._order, self._seed = storage, choices["order"], seed
        self._by_name = choices["application-name"] == "alternative"
        self._unknown = int(choices["unknown-application"])
        kept = sorted((int(id_), name or None) for id_, name in storage.items(_KIND))
        self._names: dict[int, str | None] = dict(kept or NAMES)
        self._contents = {id_: self._open(id_) for id_, name in self._names.items() if name}

    def clear(self) -> None:
        """Start over with two empty applications."""
        for contents in self._contents.values():
            contents.clear()
        self._storage.clear(_KIND)
        self._names = dict(NAMES)
        self._contents = {id_: self._open(id_) for id_ in NAMES}

    def find(self, call: Call) -> tuple[int, Contents]:
        """Id and content of the application that a call is about; the id counts where both are given. Raises Refused."""
        name = call.get("application_name") if self._by_name else None
        id_ = self._named(name) if name and not call.get("application_id") else self._numbered(call)
        return id_, self._contents[id_]

    def answer(self, call: Call) -> Answer:
        """Do what a call about the applications themselves asks for. Raises Refused."""
        if call.method == calls.APPLICATIONS:
            return self._list(call)
        if call.method == calls.ADD_APPLICATION:
            return self._add(call)
        name = call.get("required_application_name" if call.method == calls.RENAME_APPLICATION else "application_name")
        id_ = self._named(name) if name and not call.get("application_id") else self._numbered(call)
        if call.method == calls.DELETE_APPLICATION:
            self._contents.pop(id_).clear()
            self._keep(id_, None)
            return done(result=1)
        self._keep(id_, self._free_name(call))
        return done(result=1, application_name=self._full_name(id_))

    def _add(self, call: Call) -> Answer:
        name, id_ = self._free_name(call), max(self._names) + 1
        self._keep(id_, name)
        self._contents[id_] = self._open(id_)
        return done(result=1, application_id=id_, application_name=self._full_name(id_), secure_record_storage=False)

    def _list(self, call: Call) -> Answer:
        """Those with an id or a part of a name, or all."""
        wanted, name = call.number("application_id"), call.get("application_name") or ""
        found = [id_ for id_ in self._contents if wanted in (None, id_) and name in self._full_name(id_)]
        offset, size = call.number("offset") or 0, call.number("count") or _USUAL_PAGE
        if offset < 0 or size < 0:
            raise Refused(101)
        page = [self._document(id_) for id_ in found[offset : offset + size]]
        return done(result=page, total_count=len(found), count=len(page))

    def _numbered(self, call: Call) -> int:
        text = call.need("application_id")
        if not (text.isascii() and text.isdecimal()):
            raise Refused(116)
        if int(text) not in self._contents:
            raise Refused(self._unknown)
        return int(text)

    def _named(self, name: str) -> int:
        """By the short or the full name."""
        for id_ in self._contents:
            if name in (self._names[id_], self._full_name(id_)):
                return id_
        raise Refused(107)

    def _free_name(self, call: Call) -> str:
        name = call.need("application_name")
        if not _NAME.fullmatch(name) or name in self._names.values():
            raise Refused(107)
        return name

    def _keep(self, id_: int, name: str | None) -> None:
        """Note the name of an application, None for one that was deleted."""
        self._names[id_] = name
        for known, text in self._names.items():
            self._storage.put(_KIND, str(known), text or "")

    def _open(self, id_: int) -> Contents:
        return Contents(self._storage, id_, self._order, self._seed)

    def _full_name(self, id_: int) -> str:
        return f"{self._names[id_]}{_DOMAIN}"

    def _document(self, id_: int) -> dict[str, Any]:
        return {
            "application_id": id_,
            "application_name": self._full_name(id_),
            "modified": _MODIFIED,
            "secure_record_storage": False,
        }
