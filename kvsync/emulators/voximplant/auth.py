"""Authentication: tokens signed by the service account, and the older account with API key."""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import jwt
from jwt.types import Options

from kvsync.emulators.voximplant.calls import Call
from kvsync.emulators.voximplant.credentials import ACCOUNT_EMAIL, ACCOUNT_ID, ACCOUNT_NAME, ServiceAccount
from kvsync.emulators.voximplant.errors import Refused

_LONGEST_TTL: Final = 3600  # seconds
_ACCOUNT: Final = {"account_id": str(ACCOUNT_ID), "account_name": ACCOUNT_NAME, "account_email": ACCOUNT_EMAIL}
_SIGNATURE_ALONE: Final[Options] = {
    "verify_exp": False,
    "verify_iat": False,
    "verify_nbf": False,
    "verify_aud": False,
    "verify_iss": False,
    "verify_sub": False,
    "verify_jti": False,
}
_SECRETS: Final = ("api_key", "account_password", "session_id")


@dataclass(frozen=True, slots=True)
class Authenticator:
    """Checks the credentials of calls. With `anonymous`, calls without a credential pass. `secret` is API key, password and
    session.

    `forbidden` is the error code for tokens of an account without a role for these methods, None for an account with one.
    """

    account: ServiceAccount
    secret: str
    anonymous: bool = False
    forbidden: int | None = None

    def check(self, call: Call, header: str | None, now: float) -> None:
        """Raise Refused for an unknown caller, and for one without the permission. `now` is the server's time (epoch
        seconds)."""
        if header is not None:
            self._bearer(header, now)
        elif any(name in call.parameters for name in _SECRETS):
            self._legacy(call.parameters)
        elif not self.anonymous:
            raise Refused(100)

    def _bearer(self, header: str, now: float) -> None:
        scheme, _, token = header.partition(" ")
        if scheme.lower() != "bearer":
            raise Refused(100)
        issued, ends = self._times(token.strip())
        if ends - issued > _LONGEST_TTL:
            raise Refused(454)
        if issued > now:
            raise Refused(455)
        if ends <= now:
            raise Refused(456)
        if self.forbidden is not None:
            raise Refused(self.forbidden)

    def _times(self, token: str) -> tuple[float, float]:
        """When a token was issued and when it ends. Raises Refused unless the service account signed it for itself."""
        try:
            key_id = jwt.get_unverified_header(token).get("kid")
            claims = jwt.decode(token, self.account.public_key, algorithms=["RS256"], options=_SIGNATURE_ALONE)
        except jwt.PyJWTError:
            raise Refused(100) from None
        issued, ends = claims.get("iat"), claims.get("exp")
        if key_id != self.account.key_id or str(claims.get("iss")) != str(ACCOUNT_ID):
            raise Refused(100)
        if not (isinstance(issued, int | float) and isinstance(ends, int | float)):
            raise Refused(100)
        return issued, ends

    def _legacy(self, parameters: Mapping[str, str]) -> None:
        """Check an account and its secret in the parameters, which grant all rights."""
        named = [name for name in _ACCOUNT if name in parameters]
        if not named:
            raise Refused(100)
        if any(parameters[name] != _ACCOUNT[name] for name in named):
            raise Refused(115 if "account_id" in named else 100)
        given = next(name for name in _SECRETS if name in parameters)
        if not hmac.compare_digest(parameters[given].encode(), self.secret.encode()):
            raise Refused(161 if given == "session_id" else 100)
