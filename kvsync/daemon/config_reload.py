"""Reload of the configuration while the daemon runs."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from kvsync.config.model import RunConfig
from kvsync.daemon.ports import Reconciler
from kvsync.daemon.systemd import SystemdNotifier
from kvsync.errors import ErrorCode, InvalidInput, KvsyncError
from kvsync.logs import get_logger
from kvsync.util.shortage import code_of

_log = get_logger()


class ConfigReload:
    """Loads the configuration again, one load at a time, and hands `use` the new settings of the daemon."""

    def __init__(
        self, reconciler: Reconciler, notifier: SystemdNotifier, use: Callable[[RunConfig], Awaitable[None]]
    ) -> None:
        self._reconciler, self._notifier, self._use = reconciler, notifier, use
        self._reloading = asyncio.Lock()

    async def run_if_new(self) -> bool:
        """Load the configuration if another one is on disk. Returns whether another one is in force."""
        return await self._is_new() and await self.run()

    async def run(self) -> bool:
        """Load the configuration. Returns whether another one is in force: an invalid one is logged, and changes nothing."""
        async with self._reloading:
            self._notifier.reloading()
            try:
                return await self._load()
            finally:
                self._notifier.ready()

    async def _is_new(self) -> bool:
        try:
            return await self._reconciler.config_changed()
        except Exception:  # noqa: BLE001 - no file may take the daemon down
            _log.error("config.invalid", error="unexpected", code=ErrorCode.BUG, exc_info=True)
            return False

    async def _load(self) -> bool:
        try:
            settings = await self._reconciler.reload_config()
        except Exception as error:  # noqa: BLE001 - whatever is wrong with the new one, the old one was right
            problems = len(error.problems) if isinstance(error, InvalidInput) else None
            is_unexpected = not isinstance(error, KvsyncError)
            fields = {"error": str(error), "problems": problems, "code": code_of(error)}
            _log.error("config.invalid", **fields, exc_info=is_unexpected)
            return False
        await self._use(settings)
        _log.info("config.reloaded")
        return True
