"""Key changes, and their failures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import count
from random import Random
from typing import Final

from kvsync.emulators.clock import VirtualClock
from kvsync.emulators.cloudflare import bulk, values
from kvsync.emulators.cloudflare.checks import check_name, refusal
from kvsync.emulators.cloudflare.contents import Contents
from kvsync.emulators.cloudflare.envelope import Refused, done, page
from kvsync.emulators.cloudflare.limits import KeyWriteLimit, Plan, throttled
from kvsync.emulators.cloudflare.model import LARGEST_BULK_BODY, Pair
from kvsync.emulators.cloudflare.routes import Place
from kvsync.emulators.cloudflare.settings import Settings
from kvsync.emulators.model import Answer, Request

_FOREIGN: Final = "written by another program"
_TOO_LARGE: Final = 10024


@dataclass(frozen=True, slots=True)
class Writer:
    """Writes and deletes, one key or many."""

    clock: VirtualClock
    random: Random
    pace: KeyWriteLimit
    plan: Plan
    settings: Settings

    def write(self, operation: str, namespace: str, contents: Contents, place: Place, request: Request) -> Answer:
        """Do it whole, or not at all when something is wrong with it."""
        wanted = self._wanted(operation, place, request)
        now = self.clock.now()
        self.plan.spend("write" if operation in (values.PUT, bulk.PUT) else "delete", len(wanted), now)
        hasty = self.pace.too_fast(namespace, wanted, now)
        if operation in (values.PUT, values.REMOVE):
            if hasty:
                raise throttled(1)
            _change(contents, wanted, now)
            return done({})
        failing = {name for name in wanted if request.partial and self.random.random() < request.partial}
        skipped = hasty | {name for name in sorted(failing) if not self._written_all_the_same()}
        _change(contents, {name: pair for name, pair in wanted.items() if name not in skipped}, now)
        limit = self.settings.bulk_timeout
        if limit is not None and len(wanted) > limit:
            raise Refused(page(524))  # the edge gives up; what it waited for is done nevertheless
        return bulk.written(wanted, (name for name in wanted if name in hasty or name in failing))

    def write_concurrently(self, operation: str, contents: Contents, place: Place, request: Request) -> None:
        """Another writer changes one of the keys that a request is about to change. Raises Refused."""
        names = sorted(self._wanted(operation, place, request))
        if not names:
            return
        name, now = self.random.choice(names), self.clock.now()
        found = contents.get(name, contents.view(now, 0))
        others = (Pair(f"{_FOREIGN} ({number})".encode()) for number in count(1))
        contents.put(name, next(pair for pair in others if found is None or pair.value != found.value), now)

    def _wanted(self, operation: str, place: Place, request: Request) -> Mapping[str, Pair | None]:
        """What keys must hold; None is nothing. Raises Refused when anything is wrong with any of it."""
        now = self.clock.now()
        if operation == values.PUT:
            return {place.key: values.read_pair(place.key, request, now)}
        if operation == values.REMOVE:
            return {check_name(operation, place.key, values.LONG): None}
        limit = self.settings.bulk_bytes or LARGEST_BULK_BODY
        if len(request.body) > limit:
            text = f"the request has {len(request.body)} bytes, but max allowed per request is: {limit}"
            raise refusal(operation, 413, _TOO_LARGE, text)
        if operation == bulk.PUT:
            return bulk.read_pairs(request.body, now)
        return dict.fromkeys(bulk.read_names(request.body))

    def _written_all_the_same(self) -> bool:
        """Whether a key that is reported as unsuccessful was written."""
        fixed = {"written": True, "unwritten": False}
        return fixed.get(self.settings.unsuccessful, self.random.random() < 0.5)


def _change(contents: Contents, wanted: Mapping[str, Pair | None], now: float) -> None:
    for name, pair in wanted.items():
        if pair is None:
            contents.delete(name, now)
        else:
            contents.put(name, pair, now)
