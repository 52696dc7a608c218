"""Snapshots: the key-values that filters selected at one moment, kept until archived and expired."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
from collections.abc import Iterable
from dataclasses import asdict, replace
from typing import Any, Final

from kvsync.emulators.azure import filters, pages
from kvsync.emulators.azure.body import read_json, read_tags, reply
from kvsync.emulators.azure.filters import KeyValueFilter
from kvsync.emulators.azure.lists import Lists, resource_page
from kvsync.emulators.azure.model import NOW, KeyValue
from kvsync.emulators.azure.pages import Page
from kvsync.emulators.azure.problems import already_exists, empty, invalid, invalid_state
from kvsync.emulators.azure.query import Arguments, Verdict, conditions, literal
from kvsync.emulators.azure.quota import Quota
from kvsync.emulators.azure.snapshot import FIELDS, Snapshot
from kvsync.emulators.clock import VirtualClock
from kvsync.emulators.model import Answer
from kvsync.emulators.quantities import http_date
from kvsync.emulators.storage import Storage

_STATUSES: Final = ("provisioning", "ready", "archived", "failed")
_FILTER: Final = ("key", "label", "tags")
_COMPOSITIONS: Final = ("key", "key_label")
_KIND: Final = "snapshot"
_FAILURE: Final = {"code": "InternalError", "message": "The snapshot could not be created."}
_HOUR, _DAY = 3600, 86400


class Snapshots:
    """Answers `/snapshots`, `/operations` and `/kv?snapshot=`. `provisioning` is how long making one takes, in seconds; None
    lets each fail. `quota` limits the bytes of all snapshots."""

    def __init__(
        self, lists: Lists, clock: VirtualClock, storage: Storage, provisioning: float | None, quota: Quota
    ) -> None:
        self._lists, self._clock, self._storage = lists, clock, storage
        self._provisioning, self._quota, self._longest = provisioning, quota, int(quota.tier.snapshots)
        self._snapshots: dict[str, Snapshot] = {}
        for name, document in storage.items(_KIND):
            self._snapshots[name] = Snapshot.read(json.loads(document))

    def clear(self) -> None:
        """Forget all snapshots."""
        self._snapshots = {}
        self._storage.clear(_KIND)

    def create(self, name: str, arguments: Arguments) -> Answer:
        """PUT /snapshots/{name}."""
        wanted = self._read(literal(name, "name"), read_json(arguments.request))
        found = self._snapshots.get(name) if self._alive(name) else None
        if conditions(arguments.request, found.etag if found else None) is not Verdict.PROCEED:
            raise empty(412)
        if found is not None:
            raise already_exists()
        kept = (one.size for name, one in self._snapshots.items() if self._alive(name))
        self._quota.check_storage(sum(kept) + wanted.size)
        self._keep(wanted)
        version = f"api-version={arguments.version}"
        place = f"{arguments.request.origin}/operations?snapshot={pages.encode(name)}&{version}"
        headers = _headers(wanted, arguments) | {"Operation-Location": place}
        return reply("snapshot", wanted.document("provisioning"), headers, 201)

    def get(self, name: str, arguments: Arguments) -> Answer:
        """GET and HEAD /snapshots/{name}."""
        found = self._existing(name)
        verdict = conditions(arguments.request, found.etag)
        if verdict is not Verdict.PROCEED:
            raise empty(verdict.value, {"ETag": f'"{found.etag}"'})
        return self._reply(found, arguments)

    def patch(self, name: str, arguments: Arguments) -> Answer:
        """PATCH /snapshots/{name}: archives or recovers."""
        wanted = read_json(arguments.request).get("status")
        if wanted not in ("archived", "ready"):
            raise invalid("status")
        found = self._existing(name)
        if conditions(arguments.request, found.etag) is not Verdict.PROCEED:
            raise empty(412)
        now = self._clock.now()
        if found.status(now) in ("provisioning", "failed"):
            raise invalid_state()
        if found.status(now) != wanted:
            archived_at = now if wanted == "archived" else None
            found = replace(found, archived_at=archived_at, etag=secrets.token_urlsafe(32))
            self._keep(found)
        return self._reply(found, arguments)

    def list(self, arguments: Arguments) -> Answer:
        """GET and HEAD /snapshots."""
        name = filters.read(arguments.one("name"), "name")
        statuses = _statuses(arguments.one("status"))
        after = pages.continuation(arguments)[0]
        now = self._clock.now()
        found = (self._snapshots[each] for each in sorted(self._snapshots) if each > after and self._alive(each))
        chosen = ((each.name, each) for each in found if name.accepts(each.name) and each.status(now) in statuses)
        page = Page.cut(chosen)
        fields = arguments.selected(FIELDS)
        items = [each.document(each.status(now), fields) for each in page.items]
        return pages.answer("snapshotset", items, page.after, arguments)

    def content(self, name: str, arguments: Arguments) -> Answer:
        """GET and HEAD /kv?snapshot=: empty when there is none that is ready."""
        found = self._snapshots[name] if self._alive(name) else None
        ready = found is not None and found.status(self._clock.now()) in ("ready", "archived")
        items = found.content if found is not None and ready else ()
        after = pages.continuation(arguments)
        place = tuple(after) if len(after) == 2 else None
        later = (("\n".join(item.slot), item) for item in items if place is None or item.slot > place)
        return resource_page(Page.cut(later), arguments)

    def operation(self, arguments: Arguments) -> Answer:
        """GET /operations?snapshot=: how far making it has come."""
        found = self._existing(arguments.one("snapshot") or "")
        status = found.status(self._clock.now())
        running = status == "provisioning"
        id_ = base64.urlsafe_b64encode(hashlib.sha256(found.name.encode()).digest()).decode().rstrip("=")
        shown = {"provisioning": "Running", "failed": "Failed"}.get(status, "Succeeded")
        document = {"id": id_, "status": shown, "error": _FAILURE if status == "failed" else None}
        headers = {"Content-Type": "application/json; charset=utf-8"} | ({"Retry-After": "10"} if running else {})
        return Answer(200, headers, json.dumps(document, separators=(",", ":")).encode())

    def _read(self, name: str, document: dict[str, Any]) -> Snapshot:
        composition = document.get("composition_type") or "key"
        if composition not in _COMPOSITIONS:
            raise invalid("composition_type")
        retention = document.get("retention_period") or min(30 * _DAY, self._longest)
        if not isinstance(retention, int) or not _HOUR <= retention <= self._longest:
            raise invalid("retention_period")
        asked = _read_filters(document.get("filters"), composition)
        now = self._clock.now()
        sent = [{name: each[name] for name in _FILTER if name in each} for each in document["filters"]]
        tags, description = read_tags(document.get("tags")), document.get("description")
        return Snapshot(
            *(name, secrets.token_urlsafe(32), sent, composition, retention, tags, description),
            *(
                now,
                now + (self._provisioning or 0),
                None,
                self._compose(asked, composition),
                self._provisioning is None,
            ),
        )

    def _compose(self, asked: Iterable[KeyValueFilter], composition: str) -> tuple[KeyValue, ...]:
        """The content: with `key` one key-value a key, where later filters win."""
        chosen: dict[Any, KeyValue] = {}
        for wanted in asked:
            for found in self._lists.matching(wanted, NOW):
                chosen[found.key if composition == "key" else found.slot] = found
        return tuple(sorted(chosen.values(), key=lambda found: found.slot))

    def _alive(self, name: str) -> bool:
        found = self._snapshots.get(name)
        return found is not None and (found.expires is None or self._clock.now() < found.expires)

    def _existing(self, name: str) -> Snapshot:
        if not self._alive(name):
            raise empty(404)
        return self._snapshots[name]

    def _keep(self, snapshot: Snapshot) -> None:
        self._snapshots[snapshot.name] = snapshot
        self._storage.put(_KIND, snapshot.name, json.dumps(asdict(snapshot)))

    def _reply(self, found: Snapshot, arguments: Arguments) -> Answer:
        fields = arguments.selected(FIELDS)
        return reply("snapshot", found.document(found.status(self._clock.now()), fields), _headers(found, arguments))


def _headers(found: Snapshot, arguments: Arguments) -> dict[str, str]:
    link = f"/kv?snapshot={pages.encode(found.name)}&api-version={arguments.version}"
    created = http_date(found.created)
    return {"ETag": f'"{found.etag}"', "Last-Modified": created, "Link": f'<{link}>; rel="items"'}


def _statuses(text: str | None) -> tuple[str, ...]:
    if text in (None, "*"):
        return _STATUSES
    wanted = tuple((text or "").split(","))
    if set(wanted) - set(_STATUSES):
        raise invalid("status")
    return wanted


def _read_filters(given: Any, composition: str) -> list[KeyValueFilter]:
    """One to three filters; where keys must be unique, each names one label. Raises Refused."""
    if not isinstance(given, list) or not 1 <= len(given) <= 3:
        raise invalid("filters")
    return [_read_filter(each, f"filters[{index}]", composition) for index, each in enumerate(given)]


def _read_filter(given: Any, name: str, composition: str) -> KeyValueFilter:
    if not isinstance(given, dict) or not isinstance(given.get("key"), str):
        raise invalid(f"{name}.key")
    literal(given["key"], f"{name}.key")
    text = given.get("label")
    if text is not None and not isinstance(text, str):
        raise invalid(f"{name}.label")
    label = filters.read(text or filters.NULL, f"{name}.label")
    if composition == "key" and not filters.exact(label):
        raise invalid(f"{name}.label")
    tags = filters.read_tags(given.get("tags") or (), f"{name}.tags")
    return KeyValueFilter(filters.read(given["key"], f"{name}.key"), label, tags)
