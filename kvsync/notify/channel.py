"""Notification channel: one receiver, and the task that sends to it."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from contextlib import suppress
from hashlib import blake2b
from random import Random

from kvsync.config.model import ChannelConfig
from kvsync.errors import KvsyncError, StateDirError, TransientError
from kvsync.logs import get_logger
from kvsync.model.entry import Target
from kvsync.notify.delivery_state import DeliveryState, DueNotice, SentNotice
from kvsync.notify.message import MessageFormatter
from kvsync.notify.model import Facts
from kvsync.notify.webhook import WebhookSender
from kvsync.state.notices import Notices
from kvsync.util.backoff import Backoff
from kvsync.util.clock import Clock
from kvsync.util.shortage import code_of

GATHER = 2.0
"""Seconds to wait for more before a message is sent: what happens to many targets happens to them about the same time."""

MOST = 1000
"""Targets that one message is about, at most."""

_log = get_logger()


class Channel:
    """Sends notifications to one receiver. `where` names it in messages, `id_` in the state directory."""

    def __init__(
        self,
        where: str,
        config: ChannelConfig,
        formatter: MessageFormatter,
        webhook: WebhookSender,
        kept: Notices,
        clock: Clock,
    ) -> None:
        self.where, self.id_ = where, channel_id(config)
        self._config, self._formatter, self._webhook, self._kept, self._clock = config, formatter, webhook, kept, clock
        sent: dict[Target, dict[str, str]] = {}
        with suppress(StateDirError):  # then lasting states are sent again
            sent = kept.sent(self.id_)
        self._delivery = DeliveryState(config, sent)
        self._news = asyncio.Event()
        self._backoff = Backoff(Random())  # noqa: S311 - spreads retries
        self._failures, self._sends = 0, True

    def note(self, target: Target, facts: Facts) -> None:
        """Note the facts of a pass, and send what is new soon."""
        if self._delivery.note(target, facts):
            self._news.set()

    def set_sending(self, wanted: bool) -> None:
        """Send nothing while notifications are off; the facts are recorded and sent later."""
        self._sends = wanted
        self._news.set()

    def keep(self, targets: Collection[Target]) -> None:
        """Forget all targets but these."""
        self._remember(self._delivery.keep(targets))

    async def run(self) -> None:
        """Send what is due, until cancelled."""
        try:
            while True:
                await self._news.wait()
                self._news.clear()
                await self._clock.sleep(GATHER)
                await self._send_all()
        finally:
            await self._webhook.aclose()

    async def _send_all(self) -> None:
        while self._sends and (due := self._delivery.due(MOST)).sent:
            if due.notices:
                await self._clock.sleep(await self._send(due))
            else:
                self._settle(due)

    async def _send(self, due: DueNotice) -> float:
        """Send one message. Returns the seconds to wait before the next."""
        try:
            self._webhook.check()  # from here on the address is known for a secret, and in no letter
            await self._webhook.send(*self._formatter.write(due.notices, self._clock.now()))
        except Exception as error:  # noqa: BLE001 - whatever it is, the next message may get through
            return self._failed(due, error)
        self._settle(due)
        _log.info("notice.sent", channel=self.where, notices=len(due.notices), attempts=self._failures + 1)
        self._failures = 0
        self._backoff.reset()
        return self._config.min_interval

    def _failed(self, due: DueNotice, error: Exception) -> float:
        backoff = self._backoff
        pause = backoff.fail(error.retry_after) if isinstance(error, TransientError) else backoff.give_up()
        if not self._failures:
            is_expected = isinstance(error, KvsyncError)
            text = str(error) if is_expected else "unexpected"
            said = {"error": text, "code": code_of(error), "retry_in": round(pause, 1)}
            count = len(due.notices)
            _log.warning("notice.failed", channel=self.where, notices=count, **said, exc_info=not is_expected)
        self._failures += 1
        return pause

    def _settle(self, due: DueNotice) -> None:
        self._delivery.settle(due.sent)
        self._remember(due.sent)

    def _remember(self, sent: Collection[SentNotice]) -> None:
        if sent:
            with suppress(StateDirError):  # then it may be sent again after a restart
                self._kept.record(self.id_, ((target, str(kind), which) for target, kind, which in sent))


def channel_id(config: ChannelConfig) -> str:
    """A name for a receiver that stays when other settings of it change. Where two share everything that tells receivers apart,
    they are one."""
    what = (str(config.format), str(config.url.kind), config.url.name, sorted(map(str, config.on)))
    return blake2b(repr(what).encode(errors="surrogateescape"), digest_size=12).hexdigest()
