"""What is wrong with a connection, told apart: the endpoint, the token, the permission, the clock."""

from __future__ import annotations

import secrets
from typing import Final

from kvsync.errors import AuthError, PermanentError, StoreError
from kvsync.http.model import Answer, Call
from kvsync.http.skew import ahead_of_server, skew_in_words
from kvsync.stores.apify.remote import Remote
from kvsync.stores.base import Finding

_NOBODYS: Final = "0" * 17
"""An id that no store has."""

_MOST_SKEW: Final = 30.0
"""Seconds; kvsync itself ends lifetimes, by this machine's clock."""


class Doctor:
    """Examines one connection. `username` is whose stores are meant, None for the token's own."""

    def __init__(self, remote: Remote, username: str | None) -> None:
        self._remote, self._username = remote, username

    async def examine(self) -> list[Finding]:
        """Ask whose the token is and which stores there are, then ask to delete a record of a store that does not exist:
        nothing is written."""
        call = Call("GET", self._remote.targets.me, "asking whose the token is", is_json=True)
        try:
            answer = await self._remote.send(call)
        except AuthError as error:
            return [Finding("credential", False, str(error))]
        except StoreError as error:
            return [Finding("endpoint", False, str(error))]
        data = answer.problem().get("data")
        name = data.get("username") if isinstance(data, dict) else None
        known = Finding("credential", True, f"accepted, of user {name}" if name else "accepted")
        return [known, *await self._reading(), await self._writing(), *self._clock(answer)]

    async def _reading(self) -> list[Finding]:
        try:
            names = await self._remote.namespaces.names()
        except StoreError as error:
            return [Finding("reading", False, str(error))]
        reading = Finding("reading", True, f"permitted; {len(names):,} named key-value stores")
        if self._username is None or names:
            return [reading]
        detail = f"{self._username} has no named key-value store that the token may see"
        return [reading, Finding("username", False, detail, "correct username, or leave it out")]

    async def _writing(self) -> Finding:
        target = self._remote.targets.record(_NOBODYS, f"kvsync-doctor-{secrets.token_hex(8)}")
        call = Call("DELETE", target, "asking to write", expects=(204,), reads=True)
        try:
            await self._remote.send(call)
        except AuthError as error:
            return Finding("writing", False, str(error), "give the token permission to write")
        except PermanentError:  # there is no such store
            return Finding("writing", True, "permitted, as far as can be told without writing")
        except StoreError as error:
            return Finding("writing", False, str(error))
        return Finding("writing", True, "permitted")

    def _clock(self, answer: Answer) -> list[Finding]:
        ahead = ahead_of_server(answer, self._remote.clock.now())
        if ahead is None:
            return []
        is_right = abs(ahead) <= _MOST_SKEW
        return [
            Finding("clock", is_right, skew_in_words(ahead), None if is_right else "set this machine's clock by NTP")
        ]
