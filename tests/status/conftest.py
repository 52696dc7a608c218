from __future__ import annotations

from tests.daemon.conftest import log as log
