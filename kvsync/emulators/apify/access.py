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
    """Who asks: a user, or nobody in particular (None). `may_write` is what the token allows."""

    user: User | None = None
    may_write: bool = False

    def owns(self, store: Store) -> bool:
        """Whether a store is the caller's."""
        return self.user is not None and self.user.id == store.owner

    def writes(self, store: Store) -> bool:
        """Whether the caller may change a store, and so see its secret."""
        return self.may_write and self.owns(store)


@dataclass(frozen=True, slots=True)
class Authenticator:
    """The tokens and their callers. With `anonymous`, requests without a token are those of the account's owner."""

    tokens: Mapping[str, Caller] = field(repr=False)
    anonymous: bool = False

    @classmethod
    def of(cls, token: str, *, anonymous: bool) -> Authenticator:
        """The token of the account, one of it that may only read, and one of another user."""
        callers = {token: Caller(OWNER, True), f"{token}-reader": Caller(OWNER), f"{token}-guest": Caller(GUEST, True)}
        return cls(callers, anonymous)

    def caller(self, request: Request) -> Caller:
        """The caller. Raises Refused (401) for a token that is not known."""
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
    """The user who asks. Raises Refused (401)."""
    if caller.user is None:
        raise Refused(NO_TOKEN)
    return caller.user


def check_write(caller: Caller, store: Store) -> None:
    """Raises Refused (401, 403) for who may not change a store."""
    require_user(caller)
    if not caller.writes(store):
        raise Refused(FORBIDDEN)


def check_read(caller: Caller, store: Store, *, by_name: bool, default: str, signed: bool | None) -> None:
    """Raises Refused (401, 403) for who may not read a store.

    `default` is the rule of the account, which stores follow that have none of their own; `signed` says whether the
    request has a signature that opens what it asks for, None that it has no signature.
    """
    if caller.owns(store) or signed or _public(store, by_name=by_name, default=default):
        return
    if signed is False:
        raise Refused(BAD_SIGNATURE)
    raise Refused(NO_TOKEN if by_name and caller.user is None else FORBIDDEN)


def _public(store: Store, *, by_name: bool, default: str) -> bool:
    rule = default if store.general_access == FOLLOW else store.general_access
    return rule == WITH_NAME or (rule != RESTRICTED and not by_name)
