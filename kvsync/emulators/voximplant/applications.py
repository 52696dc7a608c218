"""The applications of the account: there are two, and none is made or removed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from kvsync.emulators.model import Answer
from kvsync.emulators.storage import Storage
from kvsync.emulators.voximplant.calls import Call
from kvsync.emulators.voximplant.contents import Contents
from kvsync.emulators.voximplant.credentials import ACCOUNT_NAME
from kvsync.emulators.voximplant.errors import Refused, done

NAMES: Final[Mapping[int, str]] = {1: "first", 2: "second"}
_DOMAIN: Final = f".{ACCOUNT_NAME}.voximplant.com"
_MODIFIED: Final = "2026-01-01 00:00:00"
_USUAL_PAGE: Final = 20


class Applications:
    """What each of them holds, and how calls name them."""

    def __init__(self, storage: Storage, choices: Mapping[str, str], seed: int) -> None:
        self._contents = {id_: Contents(storage, id_, choices["order"], seed) for id_ in NAMES}
        self._by_name = choices["application-name"] == "alternative"
        self._unknown = int(choices["unknown-application"])

    def clear(self) -> None:
        """Forget what they hold."""
        for contents in self._contents.values():
            contents.clear()

    def find(self, call: Call) -> tuple[int, Contents]:
        """Id and content of the application that a call is about; the id counts where both are given. Raises Refused."""
        name = call.get("application_name") if self._by_name else None
        id_ = _named(name) if name and not call.get("application_id") else self._numbered(call)
        return id_, self._contents[id_]

    def list(self, call: Call) -> Answer:
        """GetApplications: those with an id or a name, or all. Raises Refused."""
        wanted, name = call.number("application_id"), call.get("application_name") or ""
        found = [id_ for id_ in NAMES if wanted in (None, id_) and name in NAMES[id_] + _DOMAIN]
        offset, size = call.number("offset") or 0, call.number("count") or _USUAL_PAGE
        if offset < 0 or size < 0:
            raise Refused(101)
        page = [_document(id_) for id_ in found[offset : offset + size]]
        return done(result=page, total_count=len(found), count=len(page))

    def _numbered(self, call: Call) -> int:
        text = call.need("application_id")
        if not (text.isascii() and text.isdecimal()):
            raise Refused(116)
        if int(text) not in self._contents:
            raise Refused(self._unknown)
        return int(text)


def _named(name: str) -> int:
    """By the short or the full name."""
    for id_, known in NAMES.items():
        if name in (known, known + _DOMAIN):
            return id_
    raise Refused(107)


def _document(id_: int) -> dict[str, Any]:
    return {
        "application_id": id_,
        "application_name": NAMES[id_] + _DOMAIN,
        "modified": _MODIFIED,
        "secure_record_storage": False,
    }
