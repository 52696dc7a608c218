"""The five key-value methods of one application."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import count
from random import Random
from typing import Final

from kvsync.emulators.model import Answer
from kvsync.emulators.voximplant import calls, checks
from kvsync.emulators.voximplant.calls import Call
from kvsync.emulators.voximplant.contents import Contents, Item
from kvsync.emulators.voximplant.errors import Refused, done
from kvsync.emulators.voximplant.limits import RepeatLimit

_FOREIGN: Final = "written by another program"


class KeyValues:
    """Does what a call asks of an application; `choices` are switches by name."""

    def __init__(self, choices: Mapping[str, str], repeats: RepeatLimit) -> None:
        self._choices, self._repeats = choices, repeats

    def answer(self, call: Call, application: int, contents: Contents, now: float) -> Answer:
        """As the service answers. Raises Refused."""
        if call.method == calls.SET:
            return self._set(call, application, contents, now)
        if call.method == calls.GET:
            return self._get(checks.key(call), contents, now)
        if call.method == calls.DELETE:
            return self._delete(checks.key(call), contents, now)
        return self._page(call, contents, now)

    def write_concurrently(self, key: str, contents: Contents, now: float) -> None:
        """Another writer changes a key."""
        found = contents.get(key, now)
        values = (f"{_FOREIGN} ({number})" for number in count(1))
        value = next(value for value in values if found is None or found.value != value)
        contents.put(Item(key, value, int(now) + checks.DEFAULT_TTL), now)

    def shift_listing(self, call: Call, contents: Contents, random: Random, now: float, *, ends: bool) -> None:
        """An entry up to the end of a page ends, or another writer adds one to what is listed. Raises Refused."""
        pattern, found, after = self._listed(call, contents, now)
        if ends:
            if seen := found[:after]:
                contents.delete(random.choice(seen).key)
            return
        namespace = f"{pattern.removesuffix(':')}:" if pattern else ""
        names = (f"{namespace}+foreign-{number}" for number in count(1))
        self.write_concurrently(next(name for name in names if contents.get(name, now) is None), contents, now)

    def _set(self, call: Call, application: int, contents: Contents, now: float) -> Answer:
        key = checks.key(call)
        value = checks.value(call, may_be_empty=self._choices["empty-value"] == "on")
        item = Item(key, value, checks.end(call, self._choices, int(now)))
        write = (application, key, value, call.get("ttl"), call.get("expires_at"))
        self._repeats.check(write, now)
        before = contents.get(key, now)
        if before is not None and before.value == value and self._choices["renew-equal"] == "off":
            item = before
        contents.put(item, now)
        self._repeats.done(write, now)
        shown = item if before is None or self._choices["set-answer"] == "new" else before
        return done(result=shown.document())

    def _get(self, key: str, contents: Contents, now: float) -> Answer:
        found = contents.get(key, now)
        if found is not None:
            return done(result=found.document())
        choice = self._choices["missing"]
        if choice == "error":
            raise Refused(341)
        return done(result=None) if choice == "null" else done()

    def _delete(self, key: str, contents: Contents, now: float) -> Answer:
        choice = self._choices["delete-missing"]
        if contents.get(key, now) is not None:
            contents.delete(key)
            return done(result=1)
        if choice == "error":
            raise Refused(341)
        return done(result=int(choice))

    def _page(self, call: Call, contents: Contents, now: float) -> Answer:
        """Neither a total nor a cursor goes with a page."""
        _, found, after = self._listed(call, contents, now)
        offset, _ = self._window(call)
        page = [item.document() for item in found[offset:after]]
        if call.method == calls.KEYS:
            page = [{"key": item["key"], "expires_at": item["expires_at"]} for item in page]
        return done(result=page)

    def _listed(self, call: Call, contents: Contents, now: float) -> tuple[str, list[Item], int]:
        """The pattern, all that matches it, and where the page ends that is asked for. Raises Refused."""
        pattern = checks.pattern(call, required=call.method == calls.ITEMS)
        offset, size = self._window(call)
        return pattern, contents.matching(pattern, self._choices["match"], now), offset + size

    def _window(self, call: Call) -> tuple[int, int]:
        return checks.page(call, capped=self._choices["count-limit"] == "cap")
