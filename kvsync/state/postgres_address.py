"""Address of the PostgreSQL database that holds the state."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from kvsync.errors import StateDirError

CONNECT_SECONDS: Final = 3
"""Seconds in which a connection must be made."""


@dataclass(frozen=True, slots=True)
class PostgresAddress:
    """Where the database is. `dsn` is secret, `name` is for people: host, port and database, without user and password. One
    that `is_read_only` is not written to, also where the directory of this machine is."""

    dsn: str
    name: str
    is_read_only: bool = False

    @classmethod
    def of(cls, dsn: str, register: Callable[[str], object] = str) -> PostgresAddress:
        """The address that a connection string (URI or `name=value` pairs) gives; `register` is called with the password, which
        must appear nowhere. Raises StateDirError for one that cannot be read."""
        try:
            parts = conninfo_to_dict(dsn)
        except psycopg.Error:
            raise StateDirError(
                "postgresql://",
                "the connection string cannot be read; write host=HOST port=PORT dbname=DATABASE user=USER and the password,"
                " or a postgresql:// URI in which special characters of the password are percent-encoded",
            ) from None
        if parts.get("password"):
            register(str(parts["password"]))
        host, port = parts.get("host") or parts.get("hostaddr") or "localhost", parts.get("port") or "5432"
        host = f"[{host}]" if ":" in str(host) else host
        name = f"postgresql://{host}:{port}/{parts.get('dbname') or parts.get('user') or ''}"
        return cls(make_conninfo(dsn, **_defaults(parts)), name)


def _defaults(parts: dict[str, Any]) -> dict[str, Any]:
    wanted = {
        "connect_timeout": CONNECT_SECONDS,
        "application_name": "kvsync",
        "keepalives_idle": 10,
        "keepalives_interval": 3,
        "keepalives_count": 3,
        "tcp_user_timeout": 10_000,
    }
    return {name: value for name, value in wanted.items() if name not in parts}
