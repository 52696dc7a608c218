"""The daemon as a process, and the receiver of its notifications."""

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


async def test_an_overlap_of_places_asks_for_no_approval(tmp_path: Path) -> None:
    """Two targets in one place fail until one of them goes: the notice, the page and the status say why, and show no command
    that would release them."""
    settings = 'run: {every: 1h, listen: "127.0.0.1:0", notify: [{url: {env: HOOK_URL}, min_interval: 1s}]}\n'
    two = "main: {type: sqlite, path: store.db}, twin: {type: sqlite, path: hard.db}"
    repository(tmp_path, settings, two)
    want(tmp_path, "twin", b="2")
    sqlite3.connect(tmp_path / "store.db").close()
    with closing(sqlite3.connect(tmp_path / "store.db")) as database, database:
        database.execute("PRAGMA user_version = 0")
    (tmp_path / "hard.db").hardlink_to(tmp_path / "store.db")
    async with receiving() as receiver, process(tmp_path, HOOK_URL=receiver.url) as daemon:
        await daemon.listens()
        await daemon.logged("notice.sent")
        shown = [(await daemon.get(path)).text for path in ("/", "/targets/main/web", "/status")]
    told = receiver.got[0].body.decode()
    assert "resolve to the same place" in told
    for text in (told, *shown):
        assert "same place" in text
        assert "kvsync approve" not in text
