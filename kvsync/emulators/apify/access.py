"""Authentication and authorization: tokens, access rules of stores, and signatures."""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from kvsync.emulators.apify.model import FOLLOW, RESTRICTED, WITH_NAME, Store, User
from kvsync.emulators.apify.problems import BAD_SIGNATURE, BAD_TOKEN, FORBIDDEN, NO_TOKEN, Refused
from kvsync.emulators.model import Request

OWNER: Final = User("kvsyncEmulatorOwn", "kvsync-emulator")
GUEST: Final = User("kvsyncEmulatorGst", "kvsync-guest")
USERS: Final = (OWNER, GUEST)


@dataclass(frozen=True, slots=True)
class Caller:
    """Sender of a request: a user, or None without a token. `may_write` says whether the token allows writes."""

    user: User | None = None
    may_write: bool = False

    def owns(self, store: Store) -> bool:
        """Return whether the store belongs to the caller."""
        return self.user is not None and self.user.id == store.owner

    def writes(self, store: Store) -> bool:
        """Return whether the caller may change the store. Only such a caller sees its signing secret."""
        return self.may_write and self.owns(store)


@dataclass(frozen=True, slots=True)
class Authenticator:
    """Maps tokens to callers. With `anonymous`, a request without a token counts as one of the account's owner."""

    tokens: Mapping[str, Caller] = field(repr=False)
    anonymous: bool = False

    @classmethod
    def of(cls, token: str, *, anonymous: bool) -> Authenticator:
        """Return an authenticator with three tokens: one with all rights, a read-only one, and one of another user."""
        callers = {token: Caller(OWNER, True), f"{token}-reader": Caller(OWNER), f"{token}-guest": Caller(GUEST, True)}
        return cls(callers, anonymous)

    def caller(self, request: Request) -> Caller:
        """Return the caller of a request. Raises Refused (401) for an unknown token."""
        given = _token(request)
        if given is None:
            return Caller(OWNER, True) if self.anonymous else Caller()
        for token, caller in self.tokens.items():
            if hmac.compare_digest(given.encode("utf-8", "surrogateescape"), token.encode()):
                return caller
        raise Refused(BAD_TOKEN)


def _token(request: Request) -> str | None:
    header = request.headers.get("Authorization")
    if header is not None:
        scheme, _, token = header.partition(" ")
        return token.strip() if scheme.lower() == "bearer" else ""
    return dict(request.query).get("token")


def require_user(caller: Caller) -> User:
    """Return the user of the caller. Raises Refused (401) if the request has no token."""
    if caller.user is None:
        raise Refused(NO_TOKEN)
    return caller.user


def check_write(caller: Caller, store: Store) -> None:
    """Raise Refused (401, 403) unless the caller may change the store."""
    require_user(caller)
    if not caller.writes(store):
        raise Refused(FORBIDDEN)


def check_read(caller: Caller, store: Store, *, by_name: bool, default: str, signed: bool | None) -> None:
    """Raise Refused (401, 403) unless the caller may read the store.

    `by_name` says whether the request names the store instead of giving its id. `default` is the account's access rule,
    for stores without one of their own. `signed` says whether the request's signature is valid, None if it has none.
    """
    if caller.owns(store) or signed or _public(store, by_name=by_name, default=default):
        return
    if signed is False:
        raise Refused(BAD_SIGNATURE)
    raise Refused(NO_TOKEN if by_name and caller.user is None else FORBIDDEN)


def _public(store: Store, *, by_name: bool, default: str) -> bool:
    rule = default if store.general_access == FOLLOW else store.general_access
    return rule == WITH_NAME or (rule != RESTRICTED and not by_name)
