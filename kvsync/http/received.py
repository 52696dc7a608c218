"""Receivers of a response body: in memory up to a limit, or in a sink while chunks keep coming."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from kvsync.http.model import AnswerTooLongError, BodySink
from kvsync.model.answer_limits import AnswerLimits


class ReceivedBody:
    """A body in memory, up to a limit. Its methods receive a chunk, and return False if no more is wanted."""

    def __init__(self, limits: AnswerLimits) -> None:
        self._limits = limits
        self.pieces: list[bytes] = []
        self._size = 0

    def take_whole(self, piece: bytes) -> bool:
        """Receive a chunk of a result. Raises AnswerTooLongError."""
        self._add(piece)
        if self._size > self._limits.answer:
            limit = f"{_size(self._limits.answer)} (limits.answer)"
            raise AnswerTooLongError(f"the response is longer than {limit}; check the endpoint, or raise the limit")
        return True

    def take_start(self, piece: bytes) -> bool:
        """Receive a chunk of an error: its status counts even if its text is not read to the end."""
        self._add(piece)
        return self._size <= self._limits.error_answer

    def _add(self, piece: bytes) -> None:
        self.pieces.append(piece)
        self._size += len(piece)


def sink_receiver(sink: BodySink, limit: asyncio.Timeout, seconds: float) -> Callable[[bytes], bool]:
    """Return a function that adds chunks to an emptied sink. The timeout counts from the last chunk."""
    clock = asyncio.get_running_loop().time

    def keep(piece: bytes) -> bool:
        sink.write(piece)
        limit.reschedule(clock() + seconds)
        return True

    sink.begin()
    return keep


def _size(number: int) -> str:
    return f"{number // 2**20} MiB" if number % 2**20 == 0 else f"{number:,} bytes"
