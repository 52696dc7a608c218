"""Key-value operations: get, set, delete, lock, each with its conditions."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, replace
from itertools import count
from typing import Final

from kvsync.emulators.azure.body import KEY_VALUES, Form, media_type, reply
from kvsync.emulators.azure.filters import read_tags, tagged
from kvsync.emulators.azure.history import History
from kvsync.emulators.azure.model import KeyValue, View, slot
from kvsync.emulators.azure.problems import empty, locked
from kvsync.emulators.azure.query import SINGLE_TAGS, Arguments, Verdict, conditions
from kvsync.emulators.clock import VirtualClock
from kvsync.emulators.model import Answer, Request
from kvsync.emulators.quantities import http_date

_FOREIGN: Final = "written by another program"


@dataclass(frozen=True, slots=True)
class KeyValues:
    """Answers `/kv/{key}` and `/locks/{key}`; of another form, what answers one resource of that type."""

    history: History
    clock: VirtualClock
    form: Form = KEY_VALUES

    def get(self, key: str, arguments: Arguments, view: View) -> Answer:
        """GET and HEAD /kv/{key}."""
        found = self.history.current(slot(key, arguments.label), view)
        tags = read_tags(arguments.all("tags")) if arguments.version >= SINGLE_TAGS else ()
        if found is None or not tagged(found.tags, tags):
            raise empty(404)
        verdict = conditions(arguments.request, found.etag)
        if verdict is not Verdict.PROCEED:
            raise empty(verdict.value, {"ETag": f'"{found.etag}"'})
        return self._reply(found, arguments)

    def put(self, key: str, arguments: Arguments) -> Answer:
        """PUT /kv/{key}: replaces the key-value whole; the same content again changes nothing, not even the etag."""
        label = arguments.label
        wanted = self.form.read(arguments, key)
        found = self._checked(key, label, arguments.request)
        if found is not None and found.locked:
            raise locked(key)
        if found is None or not wanted.same_content(found):
            found = self._record(wanted)
        return self._reply(found, arguments)

    def delete(self, key: str, arguments: Arguments) -> Answer:
        """DELETE /kv/{key}: the deleted key-value, or 204 when there is none."""
        found = self._checked(key, arguments.label, arguments.request)
        if found is None:
            raise empty(204, {"Content-Type": media_type(self.form.kind)})
        if found.locked:
            raise locked(key)
        self.history.record(found.slot, None, self.clock.now())
        return self._reply(found, arguments)

    def lock(self, key: str, arguments: Arguments, *, wanted: bool) -> Answer:
        """PUT and DELETE /locks/{key}."""
        found = self._checked(key, arguments.label, arguments.request)
        if found is None:
            raise empty(404)
        if found.locked is not wanted:
            found = self._record(replace(found, locked=wanted))
        return self._reply(found, arguments)

    def write_concurrently(self, key: str, label: str | None) -> None:
        """Another writer gives the key another value, or makes it."""
        found = self.history.current(slot(key, label))
        base = found or KeyValue(key, label, None, None, {}, False, "", 0.0)
        values = (f"{_FOREIGN} ({number})" for number in count(1))
        if not base.locked:
            self._record(replace(base, value=next(value for value in values if value != base.value)))

    def _checked(self, key: str, label: str | None, request: Request) -> KeyValue | None:
        """What is there now, once the conditions of a write have been met."""
        found = self.history.current(slot(key, label))
        if conditions(request, found.etag if found else None) is not Verdict.PROCEED:
            raise empty(412)
        return found

    def _reply(self, found: KeyValue, arguments: Arguments) -> Answer:
        return reply(self.form.kind, self.form.show(found, arguments), _headers(found))

    def _record(self, wanted: KeyValue) -> KeyValue:
        now = self.clock.now()
        written = replace(wanted, etag=secrets.token_urlsafe(32), modified=now)
        self.history.record(written.slot, written, now)
        return written


def _headers(found: KeyValue) -> dict[str, str]:
    return {"ETag": f'"{found.etag}"', "Last-Modified": http_date(found.modified)}
