"""Users: the public profile, and the private view of the own account."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from kvsync.emulators.apify import routes
from kvsync.emulators.apify.access import USERS
from kvsync.emulators.apify.model import User
from kvsync.emulators.apify.problems import NO_USER, Refused

_MOST: Final = 100.0
"""US dollars a month."""

_LIMITS: Final = {
    "maxMonthlyUsageUsd": _MOST,
    "maxMonthlyActorComputeUnits": 1000,
    "maxMonthlyExternalDataTransferGbytes": 1000,
    "maxMonthlyProxySerps": 1000,
    "maxMonthlyResidentialProxyGbytes": 10,
    "maxActorMemoryGbytes": 32,
    "maxActorCount": 100,
    "maxActorTaskCount": 1000,
    "maxScheduleCount": 100,
    "maxConcurrentActorJobs": 25,
    "maxTeamAccountSeatCount": 1,
    "dataRetentionDays": 7,
}
_UNUSED: Final = {
    "monthlyActorComputeUnits": 0,
    "monthlyExternalDataTransferGbytes": 0,
    "monthlyProxySerps": 0,
    "monthlyResidentialProxyGbytes": 0,
    "actorMemoryGbytes": 0,
    "actorCount": 0,
    "actorTaskCount": 0,
    "scheduleCount": 0,
    "activeActorJobCount": 0,
    "teamAccountSeatCount": 1,
}
"""What an account without Actors uses. The vendor's clients need all members."""


def public(name: str) -> dict[str, Any]:
    """A user by id or name. Raises Refused (404)."""
    found = next((user for user in USERS if name in (user.id, user.username)), None)
    if found is None:
        raise Refused(NO_USER)
    return {"username": found.username, "profile": {"name": found.username}}


def _me(user: User, _now: float, _spent: bool) -> dict[str, Any]:
    """The account as its owner sees it."""
    proxy = {"password": "kvsync-emulator", "groups": []}  # nothing listens there  # nosec B105
    return {
        "id": user.id,
        "username": user.username,
        "profile": {"name": user.username},
        "email": f"{user.username}@example.com",
        "proxy": proxy,
        "createdAt": "2024-01-01T00:00:00.000Z",
        "isPaying": False,
    }


def _limits(_user: User, now: float, spent: bool) -> dict[str, Any]:
    """What the account may use in a month, and what it has used."""
    return {
        "monthlyUsageCycle": _cycle(now),
        "limits": _LIMITS,
        "current": {"monthlyUsageUsd": _used(spent), **_UNUSED},
    }


def _usage(_user: User, now: float, spent: bool) -> dict[str, Any]:
    """What the account has used in this month."""
    total = _used(spent)
    return {
        "usageCycle": _cycle(now),
        "monthlyServiceUsage": {},
        "dailyServiceUsages": [],
        "totalUsageCreditsUsdBeforeVolumeDiscount": total,
        "totalUsageCreditsUsdAfterVolumeDiscount": total,
    }


def _used(spent: bool) -> float:
    return _MOST if spent else 0.0


def _cycle(now: float) -> dict[str, str]:
    """The calendar month."""
    start = datetime.fromtimestamp(now, UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    end = start.replace(year=start.year + start.month // 12, month=start.month % 12 + 1)
    return {"startAt": f"{start:%Y-%m-%dT%H:%M:%S}.000Z", "endAt": f"{end:%Y-%m-%dT%H:%M:%S}.000Z"}


PRIVATE: Final[Mapping[str, Callable[[User, float, bool], dict[str, Any]]]] = {
    routes.ME: _me,
    routes.LIMITS: _limits,
    routes.USAGE: _usage,
}
"""What a user sees of the own account, by route: of the user, at a moment, and whether the credit is spent."""
