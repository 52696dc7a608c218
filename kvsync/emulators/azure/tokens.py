"""Access tokens of the emulated directory, and the token that proves a federated workload."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import jwt
from jwt.types import Options

from kvsync.emulators.azure.auth import Credential

TENANT: Final = "6b767379-6e63-4000-8000-74656e616e74"
OWNER: Final = "6b767379-6e63-4000-8000-6f776e657231"
READER: Final = "6b767379-6e63-4000-8000-726561646572"
_MAY_WRITE: Final = {OWNER: True, READER: False}

_AUDIENCES: Final = frozenset({"https://azconfig.io", "https://appconfig.azure.com"})
_EXCHANGE: Final = "api://AzureADTokenExchange"
_ISSUER: Final = "https://kubernetes.example.com"
_SUBJECT: Final = "system:serviceaccount:kvsync:kvsync"

_TIMES_APART: Final[Options] = {"verify_exp": False, "verify_iat": False, "verify_nbf": False}
"""Times are compared with the clock of the server, not of this machine."""

# Well known on purpose, like the access keys: a restart keeps them, and what they open has nothing to hide.
_KEY: Final = b"kvsync-emulator-signs-access-tokens-with-this-key"
_WORKLOAD_KEY: Final = b"kvsync-emulator-signs-federated-tokens-with-this-key"


@dataclass(frozen=True, slots=True)
class Tokens:
    """Issues access tokens, and checks them. `now` is what the server believes the time to be, `life` is in seconds."""

    now: Callable[[], float]
    life: float

    def issue(self, application: str, audience: str, origin: str) -> str:
        """A token for an application to be used at `audience`; no two are equal."""
        now = int(self.now())
        claims = {
            "aud": audience,
            "iss": f"{origin}/{TENANT}/v2.0",
            "iat": now,
            "nbf": now,
            "exp": now + int(self.life),
            "azp": application,
            "tid": TENANT,
            "ver": "2.0",
            "uti": uuid.uuid4().hex,
        }
        return jwt.encode(claims, _KEY)

    def credential(self, token: str, origin: str) -> Credential:
        """What a token permits at the store with this address. Raises ValueError, which says why it is refused."""
        try:
            audiences = [*_AUDIENCES, origin]
            claims = jwt.decode(token, _KEY, algorithms=["HS256"], audience=audiences, options=_TIMES_APART)
        except jwt.InvalidAudienceError:
            raise ValueError("The access token is for another audience") from None
        except jwt.PyJWTError:
            raise ValueError("Authorization token failed validation") from None
        if claims["exp"] <= self.now():
            raise ValueError("The access token has expired")
        return Credential(claims["azp"], token, _MAY_WRITE[claims["azp"]])


def knows(application: str) -> bool:
    """Whether the directory has this application, or the machine this identity."""
    return application in _MAY_WRITE


def assertion() -> str:
    """The token that a platform such as Kubernetes gives to the workload which may sign in."""
    return jwt.encode({"aud": _EXCHANGE, "iss": _ISSUER, "sub": _SUBJECT}, _WORKLOAD_KEY)


def is_assertion(token: str) -> bool:
    """Whether a token is one of that platform's, for that workload."""
    try:
        claims = jwt.decode(token, _WORKLOAD_KEY, algorithms=["HS256"], audience=_EXCHANGE, issuer=_ISSUER)
    except jwt.PyJWTError:
        return False
    return bool(claims.get("sub") == _SUBJECT)
