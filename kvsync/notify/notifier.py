"""Daemon observer that sends notifications."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kvsync.config.model import ChannelConfig, Credential, RunConfig
from kvsync.daemon.observer import DaemonObserver
from kvsync.daemon.ports import LoadedTargets
from kvsync.errors import StateDirError
from kvsync.model.entry import Target
from kvsync.model.result import PassResult
from kvsync.notify.facts import FactExtractor
from kvsync.notify.message import MessageFormatter, Sender
from kvsync.notify.model import Facts
from kvsync.state import StateDir
from kvsync.state.passes import DaemonRecord
from kvsync.util.clock import Clock
from kvsync.util.redaction import Redactor

if TYPE_CHECKING:
    from kvsync.notify.channel import Channel


@dataclass(frozen=True, slots=True)
class NotifierContext:
    """What a notifier works with."""

    sender: Sender
    state: StateDir
    resolve: Callable[[Credential], str]
    redactor: Redactor
    clock: Clock


class Notifier(DaemonObserver):
    """Sends notifications to every channel. Keeps the facts of each target for channels that a new configuration adds."""

    def __init__(self, context: NotifierContext) -> None:
        self._context = context
        self._extractor = FactExtractor()
        self._known: dict[Target, Facts] = {}
        self._targets: frozenset[Target] | None = None
        self._leads = True
        self._channels: dict[ChannelConfig, tuple[Channel, asyncio.Task[None]]] = {}

    @asynccontextmanager
    async def sending(self, run: RunConfig) -> AsyncIterator[None]:
        """Send to the channels of the settings, until the end of the block."""
        try:
            await self.reload(run)
            yield
        finally:
            await self._part(list(self._channels))

    async def reload(self, run: RunConfig) -> None:
        """Switch to the channels of the new settings; unchanged channels lose nothing."""
        await self._part([config for config in self._channels if config not in run.notify])
        for index, config in enumerate(run.notify):
            if config not in self._channels:
                self._begin(f"run.notify[{index}]", config)
        with suppress(StateDirError):
            self._context.state.notices.keep([channel.id_ for channel, _ in self._channels.values()])

    def files_loaded(self, targets: frozenset[Target], loaded: LoadedTargets) -> None:
        """Forget all targets but these."""
        self._targets = targets
        self._extractor.keep(targets)
        for target in self._known.keys() - targets:
            del self._known[target]
        for channel, _ in self._channels.values():
            channel.keep(targets)

    def daemon_changed(self, daemon: DaemonRecord, window_changes_at: float | None) -> None:
        """Send only while this replica leads."""
        self._leads = daemon.lease is None or daemon.lease.leads
        for channel, _ in self._channels.values():
            channel.set_sending(self._leads)

    def pass_done(self, result: PassResult) -> None:
        """Take in what it found out."""
        target, facts = result.target, self._extractor.facts(result)
        self._known[target] = {**self._known.get(target, {}), **facts}
        for channel, _ in self._channels.values():
            channel.note(target, facts)

    def _begin(self, where: str, config: ChannelConfig) -> None:
        from kvsync.notify.channel import Channel  # with it comes the HTTP client, which not everybody needs
        from kvsync.notify.webhook import WebhookSender

        context = self._context
        webhook = WebhookSender(where, config, context.resolve, context.redactor, context.clock)
        formatter = MessageFormatter(config.format, context.sender, context.redactor.redact)
        channel = Channel(where, config, formatter, webhook, context.state.notices, context.clock)
        self._channels[config] = channel, asyncio.create_task(channel.run())
        channel.set_sending(self._leads)
        if self._targets is not None:
            channel.keep(self._targets)
        for target, facts in self._known.items():
            channel.note(target, facts)

    async def _part(self, configs: list[ChannelConfig]) -> None:
        tasks = [self._channels.pop(config)[1] for config in configs]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
