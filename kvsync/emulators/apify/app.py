"""The emulated API: authentication, rate limits, and routing."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from itertools import count
from typing import Any, Final

from kvsync.emulators.apify import archive, listing, routes, shown, signatures, users
from kvsync.emulators.apify.access import OWNER, Authenticator, Caller, check_read, check_write, require_user
from kvsync.emulators.apify.limits import Rates
from kvsync.emulators.apify.model import Record, Store
from kvsync.emulators.apify.problems import (
    FORBIDDEN,
    NO_CREDIT,
    NO_PAGE,
    NO_STORE,
    NO_TOKEN,
    Refused,
    done,
    invalid,
    of_status,
    written,
    wrong_method,
)
from kvsync.emulators.apify.records import Records, check_key
from kvsync.emulators.apify.routes import Place
from kvsync.emulators.apify.settings import SWITCHES, Settings
from kvsync.emulators.apify.stores import Stores
from kvsync.emulators.model import Address, Answer, Emulator, Parts, Request

_TOKEN: Final = "apify_api_kvsyncEmulatorToken"  # noqa: S105  (well known on purpose: what listens on loopback is not a secret)
_FOREIGN: Final = "written by another program"
_NEED_CREDIT: Final = (routes.STORE, routes.KEYS, routes.RECORD)


class Apify(Emulator):
    """Stands in for the part of the API that is about key-value stores."""

    switches = SWITCHES
    takes_encoded = True

    def __init__(self, parts: Parts) -> None:
        options, self._clock = parts.options, parts.clock
        settings = Settings.read(options.switches)
        self._settings, self._token = settings, options.token or _TOKEN
        self._authenticator = Authenticator.of(self._token, anonymous=options.anonymous)
        self._rates = Rates(settings.record_rate, settings.other_rate)
        self._stores = Stores(parts.storage, parts.clock)
        self._records = Records(settings)

    def env(self, address: Address) -> dict[str, str]:
        """Base URL and tokens: of the account, of it for reading alone, and of another user."""
        return {
            "APIFY_TOKEN": self._token,
            "APIFY_CLIENT_BASE_URL": self.url(address),
            "APIFY_READER_TOKEN": f"{self._token}-reader",
            "APIFY_GUEST_TOKEN": f"{self._token}-guest",
        }

    def route(self, request: Request) -> str:
        """The path as the API's documentation has it, below `/v2`; `other` for paths that lead nowhere."""
        place = routes.locate(request.path)
        return place.route if place else "other"

    def reset(self) -> None:
        """Forget stores, what they hold, and what was asked."""
        self._stores.clear()
        self._rates.reset()

    def failure(self, request: Request, status: int) -> Answer:
        """As the API says it."""
        return self._with_common_headers(request, of_status(status).answer(newer=self._settings.newer_names))

    def write_concurrently(self, request: Request) -> None:
        """Another writer changes the record that a write is about."""
        place = routes.locate(request.path)
        if place is None or place.route != routes.RECORD:
            return
        try:
            store, key = self._stores.find(place.store, OWNER), check_key(place.key)
        except Refused:
            return  # what cannot be written is not written by others either
        if store is not None:
            contents = self._stores.contents(store)
            found = contents.get(key)
            texts = (f"{_FOREIGN} ({number})".encode() for number in count(1))
            text = next(text for text in texts if found is None or text != found.body)
            contents.put(key, Record(text, "text/plain; charset=utf-8", modified=self._clock.now()))

    def answer(self, request: Request) -> Answer:
        """As the service answers."""
        try:
            return self._with_common_headers(request, self._answer(request))
        except Refused as refusal:
            return self._with_common_headers(request, refusal.problem.answer(newer=self._settings.newer_names))

    def _answer(self, request: Request) -> Answer:
        place = routes.locate(request.path)
        if place is None:
            raise Refused(NO_PAGE)
        if place.route == routes.STORAGE:
            return self._from_storage(place, request)
        if request.method == "OPTIONS":
            return _options(place)
        if not routes.allows(place, request.method):
            raise wrong_method(routes.METHODS[place.route])
        caller = self._authenticator.caller(request)
        if place.route == routes.USER:
            return done(users.public(place.user))
        if place.route in users.PRIVATE:
            shown_to = require_user(caller)
            return done(users.PRIVATE[place.route](shown_to, self._clock.now(), self._settings.spent))
        if place.route == routes.STORES:
            return self._all_stores(caller, request)
        return self._in_store(place, caller, request)

    def _all_stores(self, caller: Caller, request: Request) -> Answer:
        user = require_user(caller)
        self._spend(caller, f"stores of {user.id}", record=False)
        if request.method != "POST":
            return listing.stores(self._stores, caller, request)
        if not caller.may_write:
            raise Refused(FORBIDDEN)
        name = dict(request.query).get("name") or None
        store, new = self._stores.get_or_create(user, name, _object(request.body).get("schema"))
        where = {"Location": shown.store_url(request.origin, store.id)} if new else {}
        return done(self._shown(store, caller, request), 201 if new else 200, **where)

    def _in_store(self, place: Place, caller: Caller, request: Request) -> Answer:
        store = self._stores.find(place.store, caller.user)
        resource = store.id if store else place.store
        self._spend(caller, resource, record=place.route == routes.RECORD)
        if store is None:
            anonymous_by_name = "~" in place.store and caller.user is None
            raise Refused(NO_TOKEN if anonymous_by_name else NO_STORE)
        self._admit(place, store, caller, request)
        actions: dict[str, Callable[[Store, Place, Caller, Request], Answer]] = {
            routes.STORE: self._store,
            routes.KEYS: self._keys,
            routes.RECORDS: self._archive,
            routes.RECORD: self._record,
        }
        return actions[place.route](store, place, caller, request)

    def _admit(self, place: Place, store: Store, caller: Caller, request: Request) -> None:
        """Raises Refused (401, 402, 403) for who may not do this with a store."""
        if self.writes(request):
            check_write(caller, store)
            return
        signed = self._signed(place, store, request)
        check_read(caller, store, by_name="~" in place.store, default=self._settings.account_access, signed=signed)
        if self._settings.spent and place.route in _NEED_CREDIT:
            raise Refused(NO_CREDIT)

    def _store(self, store: Store, _place: Place, caller: Caller, request: Request) -> Answer:
        if request.method == "DELETE":
            self._stores.remove(store)
            return Answer(204)
        if request.method == "PUT":
            store = self._stores.update(store, _object(request.body))
        return done(self._shown(store, caller, request))

    def _keys(self, store: Store, _place: Place, caller: Caller, request: Request) -> Answer:
        answer = listing.keys(self._stores, store, caller, request)
        self._stores.keep(replace(store, accessed=self._clock.now(), lists=store.lists + 1))
        return answer

    def _archive(self, store: Store, _place: Place, _caller: Caller, request: Request) -> Answer:
        settings = self._settings
        if not settings.zip:
            return of_status(501).answer(newer=settings.newer_names)
        items = list(listing.chosen(self._stores, store, dict(request.query)))
        self._stores.keep(replace(store, accessed=self._clock.now(), reads=store.reads + len(items)))
        packed = archive.pack(items, deflated=settings.zip_deflated, decoded=settings.zip_decoded)
        named = {"Content-Disposition": f'attachment; filename="{store.name or store.id}.zip"'}
        return Answer(200, {"Content-Type": "application/zip", **named}, packed)

    def _record(self, store: Store, place: Place, _caller: Caller, request: Request) -> Answer:
        contents, now = self._stores.contents(store), self._clock.now()
        if not self.writes(request):
            answer = self._records.get(store, contents, place.key, request)
            self._stores.keep(replace(store, accessed=now, reads=store.reads + 1))
            return answer
        if request.method == "DELETE":
            contents.delete(check_key(place.key))
            self._stores.keep(replace(store, modified=now, deletes=store.deletes + 1))
            return Answer(204)
        contents.put(place.key, replace(self._records.read(store, place.key, request), modified=now))
        self._stores.keep(replace(store, modified=now, writes=store.writes + 1))
        return written(shown.record_url(request.origin, store.id, place.key))

    def _from_storage(self, place: Place, request: Request) -> Answer:
        store = self._stores.find(place.store, None)
        if store is None or not routes.allows(place, request.method):
            raise Refused(NO_PAGE)
        return self._records.from_storage(self._stores.contents(store), place.key, request)

    def _signed(self, place: Place, store: Store, request: Request) -> bool | None:
        """Whether a signature opens what is asked for; None where there is none."""
        signature = dict(request.query).get("signature")
        if signature is None:
            return None
        if place.route == routes.RECORD:
            return signatures.opens_record(signature, store.secret, place.key)
        lists = place.route in (routes.KEYS, routes.RECORDS)
        return lists and signatures.opens_store(signature, store.secret, store.id, self._clock.server_time())

    def _spend(self, caller: Caller, resource: str, *, record: bool) -> None:
        user = caller.user.id if caller.user else ""
        self._rates.spend(user, resource, self._clock.now(), record=record)

    def _shown(self, store: Store, caller: Caller, request: Request) -> dict[str, Any]:
        size = self._stores.contents(store).size
        return shown.store(store, size, request.origin, writer=caller.writes(store))

    def _with_common_headers(self, request: Request, answer: Answer) -> Answer:
        """With what every answer carries."""
        limit = self._rates.limit(record=self.route(request) == routes.RECORD)
        if limit is None:
            return answer
        return replace(answer, headers={"X-RateLimit-Limit": str(limit), **answer.headers})


def _options(place: Place) -> Answer:
    methods = ",".join(("OPTIONS", *routes.METHODS[place.route]))
    return Answer(204, {"Allow": methods, "Access-Control-Allow-Methods": methods, "Access-Control-Allow-Origin": "*"})


def _object(body: bytes) -> dict[str, Any]:
    """The JSON object in a body, which may also be empty. Raises Refused (400)."""
    try:
        document = json.loads(body) if body.strip() else {}
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise invalid("POST data must be a JSON object", "invalid-request")
    return document
