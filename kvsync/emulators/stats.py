"""Request statistics: counters, and the last requests."""

from __future__ import annotations

from collections import Counter, deque
from typing import Any, Final

_KEPT: Final = 10_000


class Stats:
    """Counts requests by method, route and status. Requests to `/_emulator/` are not among them."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Count from nothing again."""
        self._requests: Counter[tuple[str, str, int | None]] = Counter()
        self._received = self._sent = 0
        self._log: deque[dict[str, Any]] = deque(maxlen=_KEPT)

    def count(self, method: str, route: str, target: str, status: int | None, faults: frozenset[str]) -> None:
        """One request; the status is None when no answer was sent."""
        self._requests[method, route, status] += 1
        entry = {"n": self._requests.total(), "method": method, "target": target, "status": status}
        self._log.append(entry | ({"faults": sorted(faults)} if faults else {}))

    def add_bytes(self, received: int, sent: int) -> None:
        """Add the bytes of the bodies of one request and its answer."""
        self._received += received
        self._sent += sent

    def summary(self) -> dict[str, Any]:
        """Counters as JSON has them: in all, by method, by status, by method and route, and by all three."""
        methods: Counter[str] = Counter()
        statuses: Counter[str] = Counter()
        routes: Counter[str] = Counter()
        answers: dict[str, dict[str, int]] = {}
        for (method, route, status), count in sorted(self._requests.items(), key=str):
            named = f"{method} {route}"
            methods[method] += count
            statuses[str(status or "dropped")] += count
            routes[named] += count
            answers.setdefault(named, {})[str(status or "dropped")] = count
        total = self._requests.total()
        by = {"methods": dict(methods), "statuses": dict(statuses), "routes": dict(routes), "answers": answers}
        return {"requests": total, **by, "bytes_received": self._received, "bytes_sent": self._sent}

    def log(self) -> list[dict[str, Any]]:
        """The last 10,000 requests, oldest first."""
        return list(self._log)
