"""The emulated account: authentication, rate limits, and applications."""

from __future__ import annotations

from typing import Final

from kvsync.emulators.model import Address, Answer, Emulator, Parts, Request
from kvsync.emulators.voximplant import calls, checks
from kvsync.emulators.voximplant.applications import NAMES, Applications
from kvsync.emulators.voximplant.auth import Authenticator
from kvsync.emulators.voximplant.calls import Call
from kvsync.emulators.voximplant.credentials import ACCOUNT_ID, ServiceAccount
from kvsync.emulators.voximplant.errors import Refused, failed, injected, matching, page
from kvsync.emulators.voximplant.keyvalues import KeyValues
from kvsync.emulators.voximplant.limits import Rate, RepeatLimit
from kvsync.emulators.voximplant.settings import SWITCHES, Settings

# Well known on purpose: what listens on loopback and stores test data has nothing to hide, and a restart keeps it.
_API_KEY: Final = "6b7673796e632d656d756c61746f722d"


class Voximplant(Emulator):
    """Stands in for the key-value part of the Management API, for one account."""

    switches = SWITCHES
    fails_under_200 = True

    def __init__(self, parts: Parts) -> None:
        options, self._clock, self._random = parts.options, parts.clock, parts.random
        settings = Settings.read(options.switches)
        self._choices = choices = settings.choices
        self._refusal = settings.refusal
        self._api_key = options.token or _API_KEY
        self._rate = Rate(settings.requests, settings.period)
        self._repeats = RepeatLimit(settings.resend, int(choices["resend-code"]))
        self._applications = Applications(parts.storage, choices, options.seed)
        self._key_values = KeyValues(choices, self._repeats)
        self._account = ServiceAccount.take(options.data)
        forbidden = int(choices["forbidden"]) if choices["role"] == "supervisor" else None
        self._authenticator = Authenticator(self._account, self._api_key, options.anonymous, forbidden)

    def close(self) -> None:
        """Remove the file with the private key, unless it belongs to a folder that is kept."""
        self._account.close()

    def env(self, address: Address) -> dict[str, str]:
        """The file of the service account, addresses, an application, and the older credentials."""
        application = min(NAMES)
        return {
            "VOXIMPLANT_CREDENTIALS": str(self._account.file),
            "VOXIMPLANT_API_URL": self.url(address),
            "VOXIMPLANT_API_HOST": address.origin.partition("://")[2],
            "VOXIMPLANT_APPLICATION_ID": str(application),
            "VOXIMPLANT_APPLICATION_NAME": NAMES[application],
            "VOXIMPLANT_ACCOUNT_ID": str(ACCOUNT_ID),
            "VOXIMPLANT_API_KEY": self._api_key,
        }

    def route(self, request: Request) -> str:
        """`/platform_api/GetKeyValueItem` and the like, wherever the method is named; `other` for what leads nowhere."""
        call = self._call(request)
        return f"{calls.ROOT}/{call.method}" if call and call.method in calls.METHODS else "other"

    def writes(self, request: Request) -> bool:
        """Methods that set, add or delete; how a request is sent says nothing."""
        call = self._call(request)
        return call is not None and call.method in calls.CHANGES

    def pages(self, request: Request) -> bool:
        """Both listings count from the start, whatever came and went meanwhile."""
        call = self._call(request)
        return call is not None and call.method in (calls.ITEMS, calls.KEYS)

    def reset(self) -> None:
        """Start over with two empty applications, and forget what was asked lately."""
        self._applications.clear()
        self._rate.reset()
        self._repeats.reset()

    def failure(self, request: Request, status: int) -> Answer:
        """The API's refusal, under 200 or under a status of its own, or the gateway's page."""
        return injected(status, self._refusal)

    def write_concurrently(self, request: Request) -> None:
        """Another writer changes the key that a write is about."""
        call = self._call(request)
        if call is None:
            return
        try:
            _, contents = self._applications.find(call)
            self._key_values.write_concurrently(checks.key(call), contents, self._clock.now())
        except Refused:
            return  # what cannot be written is not written by others either

    def shift_listing(self, request: Request, *, ends: bool) -> None:
        """An entry of the listing ends, or another writer adds one."""
        call = self._call(request)
        if call is None:
            return
        try:
            _, contents = self._applications.find(call)
            self._key_values.shift_listing(call, contents, self._random, self._clock.now(), ends=ends)
        except Refused:
            return  # what cannot be listed does not slide

    def answer(self, request: Request) -> Answer:
        """As the service answers."""
        if not calls.routed(request.path):
            return page(404)
        if request.method not in ("GET", "POST"):
            return page(405)
        try:
            return self._answer(self._read(request), request)
        except Refused as refusal:
            as_http = self._choices["error-status"] == "matching"
            return failed(refusal, matching(refusal.code) if as_http else 200)

    def _answer(self, call: Call, request: Request) -> Answer:
        if not call.method:
            raise Refused(102)
        if call.method not in calls.METHODS:
            raise Refused(103)
        self._authenticator.check(call, request.headers.get("Authorization"), self._clock.server_time())
        now = self._clock.now()
        self._rate.spend(now)
        if call.method in calls.OF_APPLICATIONS:
            return self._applications.answer(call)
        application, contents = self._applications.find(call)
        return self._key_values.answer(call, application, contents, now)

    def _read(self, request: Request) -> Call:
        """What is asked for. Raises Refused."""
        return calls.read(request, body_parameters=self._choices["body-parameters"] == "on")

    def _call(self, request: Request) -> Call | None:
        """What is asked for; None for what is not understood."""
        try:
            return self._read(request) if calls.routed(request.path) else None
        except Refused:
            return None
