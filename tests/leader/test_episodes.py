"""Three replicas that are killed, paused, cut off and slow: there are never two writers, and someone always goes on."""

from __future__ import annotations

import pytest

from tests.support.etcd import etcd_binary
from tests.support.seeds import count_of, play_all


@pytest.mark.system
@pytest.mark.timeout(6 * 3600)
def test_many_episodes_of_replicas() -> None:
    """With leases in three members of a real etcd, whose leader is killed too, or in an API of Kubernetes: a proxy before each
    replica sees no write of a former leader after the first one of the next, and the store is as wanted in the end, whatever
    its kind."""
    etcd_binary()
    count = count_of(20)
    assert play_all("tests.leader.episodes", count).count("seed ") == count
