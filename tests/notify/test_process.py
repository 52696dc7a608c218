"""The daemon as a process, and somebody who is told."""

from __future__ import annotations

import signal
import sqlite3
from contextlib import closing
from pathlib import Path

from tests.notify.receiver import receiving
from tests.status.support import process, repository, want

NOTIFY = "run: {every: 1h, notify: [{url: {env: HOOK_URL}, min_interval: 1s}]}\n"


def _change(folder: Path, sql: str) -> None:
    with closing(sqlite3.connect(folder / "store.db")) as database, database:
        database.execute(sql)


async def test_from_drift_to_its_end(tmp_path: Path) -> None:
    """A daemon tells of drift that it does not heal once, of its end in a later life, and never shows where it tells it."""
    repository(tmp_path, NOTIFY)
    config = tmp_path / "kvsync.yaml"
    config.write_text(config.read_text().replace("prune: owned", "prune: owned, drift: report"))
    want(tmp_path, a="a-value")
    async with receiving() as receiver:
        async with process(tmp_path, HOOK_URL=receiver.url) as daemon:
            await daemon.logged("daemon.ready")
            _change(tmp_path, "UPDATE entries SET value = 'other' WHERE key = 'a'")
            for count in (2, 3):
                daemon.process.send_signal(signal.SIGUSR1)
                await daemon.logged("pass.finished", count)
            await daemon.logged("notice.sent")
            daemon.process.send_signal(signal.SIGTERM)
            assert await daemon.over() == 0
        first = daemon.raw
        _change(tmp_path, "UPDATE entries SET value = 'a-value' WHERE key = 'a'")
        async with process(tmp_path, HOOK_URL=receiver.url) as daemon:
            await daemon.logged("notice.sent")
    assert receiver.kinds() == [["drift main/web"], ["healed main/web"]]
    assert "secret" not in first + daemon.raw
    assert b"a-value" not in receiver.got[0].body + receiver.got[1].body
    assert b'"a"' not in receiver.got[0].body
