"""A replica whose passes lead nowhere leaves the lease to others."""

from __future__ import annotations

from kvsync.daemon.work_health import UNABLE_AFTER, WorkHealth


def test_only_what_fails_or_hangs_for_long_makes_unable() -> None:
    """Idle is able, and so is one failure; nothing but failures, or a pass that hangs, for long enough is not; one pass that
    works is enough to be able again."""
    health = WorkHealth()
    assert health.is_able(1e9)
    health.began(100.0)
    assert health.is_able(100.0 + UNABLE_AFTER - 1)
    assert not health.is_able(100.0 + UNABLE_AFTER)
    health.ended(works=False)
    health.began(110.0)
    assert not health.is_able(100.0 + UNABLE_AFTER)
    health.ended(works=True)
    assert health.is_able(1e9)
