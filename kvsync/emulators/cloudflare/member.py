"""The user of the token, and the one account that the user is a member of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from kvsync.emulators.cloudflare import routes
from kvsync.emulators.cloudflare.envelope import done
from kvsync.emulators.model import Answer

_SINCE: Final = "2024-01-01T00:00:00.000000Z"


@dataclass(frozen=True, slots=True)
class Member:
    """Answers what clients ask when they do not know their account, and whether their token is valid."""

    account: str
    id: str
    email: str

    def about(self, route: str) -> Answer | None:
        """The answer at a route about the user or the account; None for other routes."""
        if route in (routes.VERIFY, routes.VERIFY_ACCOUNT_TOKEN):
            message: Mapping[str, object] = {
                "code": 10000,
                "message": "This API Token is valid and active",
                "type": None,
            }
            return done({"id": self.id, "status": "active"}, messages=(message,))
        if route == routes.USER:
            return done({"id": self.id, "email": self.email, "username": self.id, "created_on": _SINCE})
        if route == routes.ACCOUNT:
            return done(self._account())
        if route == routes.ACCOUNTS:
            return _listed(self._account())
        if route == routes.MEMBERSHIPS:
            return _listed({"id": self.id, "status": "accepted", "account": self._account(), "roles": []})
        return None

    def _account(self) -> dict[str, Any]:
        settings = {"enforce_twofactor": False}
        return {
            "id": self.account,
            "name": "kvsync-emulator",
            "type": "standard",
            "settings": settings,
            "created_on": _SINCE,
        }


def _listed(item: Mapping[str, Any]) -> Answer:
    return done([item], {"page": 1, "per_page": 20, "count": 1, "total_count": 1, "total_pages": 1})
