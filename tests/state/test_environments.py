"""A database that keeps the state serves one environment."""

from __future__ import annotations

from pathlib import Path

import pytest

from kvsync.app.configuration import read_config
from kvsync.app.state_access import StateAccess
from kvsync.errors import StateDirError
from kvsync.state.postgres_address import PostgresAddress
from kvsync.state.postgres_database import upgrade
from kvsync.state.records import RunCause
from tests.support.postgres import Cluster

CONFIGURATION = """\
version: 1
owner: tester
environments: [dev, prod]
state: {postgresql: {dsn: {env: DSN}}}
stores: {edge: {type: memory}}
policy: {prune: owned}
"""


def test_a_database_keeps_the_state_of_one_environment(tmp_path: Path, cluster: Cluster) -> None:
    """Another environment is refused, because claims, pauses and approvals are kept by the names of targets."""
    dsn = cluster.new_database("of_one_environment")
    upgrade(PostgresAddress.of(dsn), create=True)
    (tmp_path / "kvsync.yaml").write_text(CONFIGURATION)

    def access(environment: str | None) -> StateAccess:
        config = read_config(tmp_path / "kvsync.yaml", environment=environment, environ={})
        return StateAccess(config, environ={"DSN": dsn})

    with access("dev").open(writable=True) as state:
        state.journal.begin(RunCause("apply", environment="dev"))
    with pytest.raises(StateDirError, match=r"it keeps the state of the environment 'dev'.*in the overlay of 'prod'"):
        access("prod").open(writable=True)
    with access("dev").open(writable=True):
        pass
