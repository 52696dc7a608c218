"""Resolution of namespace names to the ids of a remote, for stores whose remote has ids of its own."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace
from difflib import get_close_matches
from typing import Final, Generic, NamedTuple, TypeVar

from kvsync.errors import ErrorCode, PermanentError, StoreError
from kvsync.http.client import Client
from kvsync.http.model import Request, Response
from kvsync.util.clock import Clock

FRESH_SECONDS: Final = 60.0
"""How long a result is used before the name is looked up again."""

DELETED_WITHIN: Final = 5.0
"""Seconds after the listing that found a namespace empty within which its deletion must be sent."""

_Namespace = TypeVar("_Namespace")


class NamespaceGone(PermanentError):
    """The namespace that a call is about does not exist, or no longer exists."""

    code = ErrorCode.NAMESPACE_MISSING


class Resolved(NamedTuple, Generic[_Namespace]):
    """What a name led to at a moment (seconds of the monotonic clock); None for a namespace that can still be created."""

    namespace: _Namespace | None
    moment: float


class NamespaceResolver(ABC, Generic[_Namespace]):
    """Finds the remote namespaces behind the names in state files, and creates missing ones.

    A name is looked up again after a minute, and right before writes, because its namespace may have been renamed, deleted or
    replaced. In between, all calls go to the namespace that `locate` returned last. Once that one is gone, nothing is read,
    written or created under the name until it is located again: the calls were planned for the one that is gone.
    """

    kind = "namespace"
    """What the service calls a namespace, for messages."""

    def __init__(self, client: Client, clock: Clock) -> None:
        self._client, self._clock = client, clock
        self._resolved: dict[str, Resolved[_Namespace]] = {}
        self._gone: dict[str, str] = {}
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    @abstractmethod
    async def names(self) -> list[str]:
        """The names of all namespaces of the account, sorted. Raises StoreError."""

    @abstractmethod
    async def _look_up(self, name: str, known: _Namespace | None, *, refresh: bool) -> Resolved[_Namespace]:
        """Ask the service what `name` leads to; `known` is what it led to before. With `refresh`, nothing that is
        cached counts. Raises PermanentError if the namespace is missing and must not be created, StoreError."""

    @abstractmethod
    def _deletion(self, name: str, found: _Namespace) -> Request:
        """The request that deletes the namespace that a name leads to."""

    @abstractmethod
    def _renaming(self, name: str, found: _Namespace, new: str) -> Request:
        """The request that renames the namespace that a name leads to."""

    @abstractmethod
    async def _make(self, name: str) -> _Namespace:
        """Create a namespace. Raises StoreError."""

    async def locate(self, name: str, *, writing: bool = False) -> _Namespace | None:
        """The namespace that a name leads to, as of at most a minute ago; None for one that can still be created. With
        `writing`, as of now, and created if it is missing. Raises PermanentError if it must not be created, StoreError."""
        async with self._locks[name]:
            known = self._resolved.pop(name, None)
            if known is None or writing or not self._is_fresh(known.moment):
                refresh, before = writing or name in self._gone, known.namespace if known is not None else None
                known = await self._look_up(name, before, refresh=refresh)
            if known.namespace is None and writing:
                known = Resolved(await self._make(name), self._clock.monotonic())
            self._resolved[name] = known
            self._gone.pop(name, None)
            return known.namespace

    async def resolve_again(self, name: str) -> _Namespace | None:
        """The namespace that a name leads to as of now; None if there is none. Nothing is created. Raises StoreError."""
        async with self._locks[name]:
            known = self._resolved.get(name)
            self._resolved[name] = found = await self._look_up(name, known and known.namespace, refresh=True)
            return found.namespace

    async def why_not_creatable(self) -> str | None:
        """Why this connection can create no namespaces. Raises StoreError."""
        return None

    async def why_not_gone(self, name: str) -> str | None:
        """Why a namespace is not believed to be gone although a call was answered so: the account still lists it. None once it
        does not. Raises StoreError."""
        is_listed = name in await self.names()
        return f"the API answered that it does not exist, but still lists the {self.kind}" if is_listed else None

    async def delete(self, name: str, found: _Namespace) -> str | None:
        """Delete the namespace that a name leads to, at most `DELETED_WITHIN` from now. Returns why it is not believed to be
        gone. Raises StoreError."""
        call = replace(self._deletion(name, found), not_after=self._clock.monotonic() + DELETED_WITHIN)
        try:
            await self._client.send(call)
        except NamespaceGone:
            if (stays := await self.why_not_gone(name)) is not None:
                return stays
        self._resolved.pop(name, None)
        return None

    async def rename(self, name: str, found: _Namespace, new: str) -> None:
        """Rename the namespace that a name leads to. Raises StoreError."""
        await self._client.send(self._renaming(name, found, new))
        self._resolved.pop(name, None)

    async def find(self, name: str) -> _Namespace | None:
        """The namespace that was located last under a name, or is located now; None for one that can still be created. Raises
        PermanentError if it was deleted since, StoreError."""
        if name in self._gone:
            raise PermanentError(self._gone[name])
        known = self._resolved.get(name)
        return known.namespace if known is not None and known.namespace is not None else await self.locate(name)

    async def find_or_make(self, name: str) -> _Namespace:
        """The same for writing: a missing namespace is created. Raises PermanentError if it must not be, StoreError."""
        found = await self.find(name) or await self.locate(name, writing=True)
        assert found is not None, "locate creates a namespace or raises"
        return found

    async def ask(self, name: str, call: Request) -> Response:
        """Send a call about the namespace that was located under `name`. Raises StoreError."""
        try:
            return await self._client.send(call)
        except NamespaceGone as error:
            self._resolved.pop(name, None)
            self._gone[name] = f"{error}; {self._why_gone(name)}"
            raise PermanentError(self._gone[name]) from None

    async def _get(self, target: str, what: str) -> Response | None:
        """What the service says about one namespace; None if there is none. Raises StoreError."""
        try:
            return await self._client.send(Request("GET", target, what, is_json=True))
        except NamespaceGone:
            return None

    def _why_gone(self, name: str) -> str:
        """The end of the message about a namespace that was located and is gone."""
        return f'the {self.kind} "{name}" was deleted in the meantime'

    def _is_fresh(self, moment: float | None) -> bool:
        return moment is not None and self._clock.monotonic() - moment < FRESH_SECONDS

    async def _nearest(self, name: str, names: Iterable[str] | None = None) -> str:
        """A suggestion for a misspelt name, from `names` or from all; empty without a similar one."""
        try:
            near = get_close_matches(name, names if names is not None else await self.names(), 1)
        except StoreError:
            return ""
        return f' (did you mean "{near[0]}"?)' if near else ""
