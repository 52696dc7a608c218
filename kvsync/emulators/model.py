"""Emulator interface: answers requests one after another, as the service would.

An emulator never waits and never sees a socket: the server reads a request whole, asks for the answer, and sends it. So
every answer is given atomically, and comparing and writing cannot be torn apart.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from random import Random
from typing import ClassVar
from urllib.parse import parse_qsl

from kvsync.emulators.clock import VirtualClock
from kvsync.emulators.storage import Storage

READING = ("GET", "HEAD", "OPTIONS")


@dataclass(frozen=True, slots=True)
class Options:
    """How an emulator is started. `switches` are what one type alone understands; `port` 0 means any free one; `allowed_hosts`
    are names, in lower case, that requests may give besides those of this machine."""

    type: str
    host: str = "127.0.0.1"
    port: int = 0
    data: Path | None = None
    fault: str = ""
    seed: int = 0
    tls: bool = False
    anonymous: bool = False
    token: str | None = None
    switches: Mapping[str, str] = field(default_factory=dict)
    allowed_hosts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Address:
    """Where the emulator listens. `origin` is scheme, host and port; `ca` is the file with the certificate to trust."""

    origin: str
    ca: Path | None = None


@dataclass(frozen=True, slots=True)
class Parts:
    """Parts of an emulator. `random` decides what a fault does in detail, and follows the seed."""

    options: Options
    clock: VirtualClock
    storage: Storage
    random: Random


@dataclass(frozen=True)
class Request:
    """One request, read whole. `target` is the text on the request line, still encoded; header names have no case.

    `stale` (seconds) asks for an answer from an older state where the store may give one, and `partial` is the share of the
    entries of a bulk call that must fail.
    """

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes = b""
    scheme: str = "http"
    stale: float = 0.0
    partial: float = 0.0

    @cached_property
    def path(self) -> str:
        """The path, still encoded."""
        return self.target.partition("?")[0]

    @cached_property
    def query(self) -> tuple[tuple[str, str], ...]:
        """Names and values of the query, decoded, in order."""
        return tuple(parse_qsl(self.target.partition("?")[2], keep_blank_values=True))

    @property
    def origin(self) -> str:
        """Scheme, host and port as the client knows them."""
        return f"{self.scheme}://{self.headers.get('Host', '127.0.0.1')}"


@dataclass(frozen=True, slots=True)
class Answer:
    """What goes back. Values of header names that may occur twice are joined with a comma."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


class Emulator(ABC):
    """One type of store. It keeps no state outside of itself, its storage and its folder, and must not wait."""

    switches: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    """Names of the switches it understands, each with the values it may have (none: any)."""

    fails_under_200: ClassVar[bool] = False
    """Whether `failure` knows a refusal with the status 200."""

    takes_encoded: ClassVar[bool] = False
    """Whether bodies come as they were sent, with their `Content-Encoding`, and not decoded."""

    @abstractmethod
    def __init__(self, parts: Parts) -> None:
        """Take up what the storage holds. Raises UsageError for the value of a switch that makes no sense."""

    @abstractmethod
    def env(self, address: Address) -> dict[str, str]:
        """What clients read from their environment to talk to this emulator."""

    @abstractmethod
    def route(self, request: Request) -> str:
        """The path with names taken out, for counting: `/kv/{key}`."""

    @abstractmethod
    def answer(self, request: Request) -> Answer:
        """Do what is asked, and answer as the store would."""

    @abstractmethod
    def failure(self, request: Request, status: int) -> Answer:
        """The store's own way to say that it is throttled (429) or broken (5xx); nothing has been done."""

    @abstractmethod
    def reset(self) -> None:
        """Forget everything that was stored."""

    def url(self, address: Address) -> str:
        """The root of the API: what goes into the store's `endpoint`."""
        return address.origin

    def writes(self, request: Request) -> bool:
        """Whether the request asks for a change."""
        return request.method not in READING

    def write_concurrently(self, request: Request) -> None:  # noqa: B027  (an emulator may have no way to do it)
        """Let another writer change what this request is about to write."""

    def pages(self, request: Request) -> bool:
        """Whether the request asks for a page of a listing whose pages slide when entries come and go."""
        return False

    def shift_listing(self, request: Request, *, ends: bool) -> None:  # noqa: B027  (most have no such pages)
        """Let an entry of the listing that this request is a page of end; or another writer add one to it."""

    def close(self) -> None:  # noqa: B027  (most keep nothing outside of their storage)
        """Let go of what is not in the storage."""
