"""Control API under `/_emulator/`, below the origin and below `url`: statistics, clock and faults for tests.

It needs no credential, and no fault hits it.

| request | effect |
|---|---|
| `POST reset` | clears entries, counters, faults and virtual time, or only a part: `{"only": ["data", "stats"]}` |
| `GET stats` | number of requests: total, and by method, status and route |
| `GET log` | the last requests |
| `GET clock`, `PUT clock` | virtual time: `{"now": "2026-12-24T00:00:00Z", "advance": "2h", "frozen": true, "skew": "20m"}` |
| `GET faults` | the faults in effect: `faults`, `methods`, and how many `times` are left |
| `PUT faults` | `{"spec": "429:0.2", "seed": 1, "times": 3, "methods": ["PUT"]}`, or the text of `spec`; if empty, no faults |
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from kvsync.emulators import faults as fault_parsing
from kvsync.emulators.clock import VirtualClock
from kvsync.emulators.faults import Faults
from kvsync.emulators.model import Answer, Emulator, Request
from kvsync.emulators.quantities import iso, moment, seconds
from kvsync.emulators.stats import Stats

PREFIX: Final = "/_emulator/"
_FAULT_SETTINGS: Final = ("spec", "seed", "times", "methods")


@dataclass(frozen=True, slots=True)
class Control:
    """Answers what is asked under `/_emulator/`."""

    emulator: Emulator
    clock: VirtualClock
    faults: Faults
    stats: Stats

    def answer(self, request: Request) -> Answer:
        """Do it; 400 says what is wrong with the request, 404 what there is."""
        actions: dict[str, Callable[[Any], Any]] = {
            "POST reset": self._reset,
            "GET stats": lambda _: self.stats.summary() | {"faults": dict(self.faults.dealt)},
            "GET log": lambda _: self.stats.log(),
            "GET clock": lambda _: self._time(),
            "PUT clock": self._set_clock,
            "GET faults": lambda _: self._faults(),
            "PUT faults": self._set_faults,
        }
        action = actions.get(f"{request.method} {request.path.partition(PREFIX)[2]}")
        if action is None:
            return _json(404, {"error": f"there is: {', '.join(actions)}"})
        try:
            return _json(200, action(_body(request)))
        except (ValueError, TypeError) as error:
            return _json(400, {"error": str(error)})

    def _reset(self, body: Any) -> dict[str, Any]:
        everything: dict[str, Callable[[], None]] = {
            "data": self.emulator.reset,
            "stats": self.stats.reset,
            "faults": self.faults.reset,
            "clock": self.clock.reset,
        }
        chosen = list(everything) if body is None else _texts(body, "only")
        if unknown := sorted(set(chosen) - set(everything)):
            raise ValueError(f"cannot reset {', '.join(unknown)}; there is: {', '.join(everything)}")
        for name in chosen:
            everything[name]()
        return {"reset": chosen}

    def _time(self) -> dict[str, Any]:
        now = self.clock.now()
        return {"now": iso(now), "epoch": now, "frozen": self.clock.frozen, "skew": self.clock.skew}

    def _set_clock(self, body: Any) -> dict[str, Any]:
        actions: dict[str, Callable[[Any], None]] = {
            "frozen": lambda value: self.clock.freeze(bool(value)),
            "now": lambda value: self.clock.set(moment(value)),
            "advance": lambda value: self.clock.advance(seconds(value)),
            "skew": lambda value: setattr(self.clock, "skew", seconds(value)),
        }
        if not isinstance(body, dict) or not body or set(body) - set(actions):
            raise ValueError(f"a JSON object is needed, with some of: {', '.join(actions)}")
        for name in actions:
            if name in body:
                actions[name](body[name])
        return self._time()

    def _faults(self) -> dict[str, Any]:
        left = {} if self.faults.times is None else {"times": self.faults.times}
        return {"faults": self.faults.in_force, "methods": sorted(self.faults.methods), **left}

    def _set_faults(self, body: Any) -> dict[str, Any]:
        if not isinstance(body, dict):
            self.faults.set(fault_parsing.parse(str(body or "")))
            return self._faults()
        named = fault_parsing.check({name: body[name] for name in body if name not in _FAULT_SETTINGS})
        seed, times = (None if body.get(name) is None else int(body[name]) for name in ("seed", "times"))
        wanted = fault_parsing.parse(str(body.get("spec") or "")) | named
        methods = _texts(body, "methods") if "methods" in body else []
        self.faults.set(wanted, seed=seed, times=times, methods=methods)
        return self._faults()


def _body(request: Request) -> Any:
    """The body as JSON, or as the text it is where it is none."""
    text = request.body.decode("utf-8").strip()
    if not text:
        return None
    try:
        return json.loads(text)
    except ValueError:
        return text


def _texts(body: Any, name: str) -> list[str]:
    """The list of texts that the body has under a name."""
    found = body.get(name) if isinstance(body, dict) else None
    if not isinstance(found, list) or not all(isinstance(text, str) for text in found):
        raise ValueError(f"{name} is a list of texts")
    return found


def _json(status: int, document: Any) -> Answer:
    return Answer(status, {"Content-Type": "application/json"}, json.dumps(document).encode())
