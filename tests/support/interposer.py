"""Processes whose wall clock is wrong, or that die at one of their calls to the kernel: orders for `interposer.c`."""

from __future__ import annotations

import ctypes
import mmap
import os
import shutil
import struct
import subprocess
from enum import IntEnum
from pathlib import Path

import pytest

_SOURCE = Path(__file__).with_suffix(".c")
_ORDERS = "INTERPOSER_ORDERS"
_FIELDS = struct.Struct("5q")  # the last one is for Python alone


class Side(IntEnum):
    """Where a process dies: before the call, with half of it done, or after it."""

    BEFORE = 0
    WITHIN = 1
    AFTER = 2


def compiler() -> str:
    """The C compiler; the test is skipped where there is none."""
    found = shutil.which("cc")
    if found is None:
        pytest.skip("NO CC: without a C compiler, neither clocks nor deaths at a call were tried")
    return found


class Interposer:
    """What all processes that were started with `environ` do."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        library, orders = folder / "interposer.so", folder / "orders"
        flags = ["-shared", "-fPIC", "-O2", "-Wall", "-Wextra", "-Werror", "-U_FORTIFY_SOURCE"]
        subprocess.run([compiler(), *flags, "-o", library, _SOURCE], check=True)
        orders.write_bytes(bytes(_FIELDS.size))
        with orders.open("r+b") as file:
            self._memory = mmap.mmap(file.fileno(), _FIELDS.size)
        self.environ = {"LD_PRELOAD": str(library), _ORDERS: str(orders)}
        self._ahead = 0.0

    @property
    def ahead(self) -> float:
        """Seconds that their wall clock is ahead of this machine's."""
        return self._ahead

    @ahead.setter
    def ahead(self, seconds: float) -> None:
        self._ahead = seconds
        self._put(0, int(seconds * 1e9))

    def kill_at(self, call: int, side: Side) -> None:
        """Kill the next process that counts its calls at this one of them; 0 is none."""
        self._put(2, side)
        self._put(1, call)

    def counted(self) -> int:
        """How many calls were counted in all."""
        found: int = struct.unpack_from("q", self._memory, 24)[0]
        return found

    def wait_for_real(self, *, waits: bool) -> None:
        """Whether the next processes wait where they must, or go on as if they had."""
        self._put(4, waits)

    def _put(self, field: int, value: int) -> None:
        struct.pack_into("q", self._memory, 8 * field, value)


def count_calls() -> None:
    """Count the calls of this process from here on, when it is to die at one of them."""
    ctypes.CDLL(None).interposer_count()


def waits_for_real() -> bool:
    """Whether this process waits where it must."""
    return bool(_FIELDS.unpack(Path(os.environ[_ORDERS]).read_bytes())[4])
