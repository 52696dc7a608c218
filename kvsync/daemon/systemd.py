"""sd_notify(3) client with the standard library. Does nothing without systemd."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping

from kvsync.util.clock import Clock


class SystemdNotifier:
    """Sends datagrams to the socket that `$NOTIFY_SOCKET` names. Never raises: kvsync works without a listener."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._address = environ.get("NOTIFY_SOCKET", "")
        self.watchdog_every = _watchdog_every(environ) if self._address else None
        self._status = ""

    def ready(self) -> None:
        """Report that start-up, or a reload, is complete."""
        self._send("READY=1")

    def reloading(self) -> None:
        """Report that the configuration is being reloaded."""
        self._send(f"RELOADING=1\nMONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")

    def stopping(self) -> None:
        """Report that the daemon is about to stop."""
        self._send("STOPPING=1")

    def status(self, text: str) -> None:
        """Show one line in `systemctl status`; the same line twice is sent once."""
        line = " ".join(text.split())
        if line != self._status:
            self._status = line
            self._send(f"STATUS={line}")

    async def heartbeat(self, clock: Clock) -> None:
        """Feed the watchdog, if there is one, until cancelled. Runs in the daemon's own loop, so that a stuck loop is found."""
        while self.watchdog_every is not None:
            self._send("WATCHDOG=1")
            await clock.sleep(self.watchdog_every)

    def _send(self, message: str) -> None:
        if not self._address:
            return
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
                channel.setblocking(False)
                channel.sendto(message.encode(), address)
        except OSError:
            return


def _watchdog_every(environ: Mapping[str, str]) -> float | None:
    """Half the timeout of the watchdog, in seconds; None without a watchdog, or when it watches another process."""
    microseconds = environ.get("WATCHDOG_USEC", "")
    if environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()) or not microseconds.isdecimal():
        return None
    return int(microseconds) / 2e6 or None
