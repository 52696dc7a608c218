"""Decoder of the `waves:` section: which targets are applied before which."""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Any, Final

from kvsync.config.values import url
from kvsync.planning.waves import Probe, Wave
from kvsync.yaml import nodes
from kvsync.yaml.fields import INVALID, Field, Problems, at, checked, duration, glob, list_of, quoted, record, text

LONGEST_BAKE: Final = 30 * 86_400
LONGEST_PROBE: Final = 300

PROBE_FIELDS: Final = (
    Field("http", url(), help="URL that must answer a GET with a status from 200 to 299; redirects are not followed."),
    Field(
        "command",
        list_of(text(), least=1),
        help="Program with arguments that must end with exit code 0. No shell; it runs in the folder of this file.",
    ),
    Field(
        "timeout",
        duration(minimum=0.1, maximum=LONGEST_PROBE),
        default=10.0,
        help="Time after which a probe without a result fails (10s; at most 5m).",
    ),
)
"""Everything that a probe may hold."""


def _just_one(_values: Mapping[str, Any], node: nodes.Node, problems: Problems, what: str) -> None:
    if isinstance(node, nodes.Mapping) and len({"http", "command"} & node.items.keys()) != 1:
        problems.add(at(what, "a probe has either http or command"), node)


WAVE_FIELDS: Final = (
    Field(
        "targets",
        list_of(glob(), least=1),
        required=True,
        help="Targets of the wave, as globs for STORE/NAMESPACE; a target belongs to the first wave that names it.",
    ),
    Field(
        "bake",
        duration(maximum=LONGEST_BAKE),
        default=0.0,
        help="Time for which the wave must have been in sync before the next one begins (0s; at most 30d).",
    ),
    Field(
        "probe",
        checked(record(PROBE_FIELDS), _just_one),
        help="Health check that must succeed before this wave begins (unless it is the first), and before the next one begins.",
    ),
)
"""Everything that a wave may hold."""


def check_waves(values: Mapping[str, Any], node: nodes.Node | None, problems: Problems) -> None:
    """Note globs that can match no target: the wave would be over before it began."""
    waves, stores = values["waves"], values["stores"]
    if waves is INVALID or stores is INVALID or not isinstance(node, nodes.Sequence) or len(waves) != len(node.items):
        return
    for index, (wave, one) in enumerate(zip(waves, node.items, strict=True)):
        for glob_ in wave["targets"] or ():
            store, slash, _ = glob_.partition("/")
            if not any(fnmatchcase(name, store) for name in stores) or not (slash or store == "*"):
                message = f"waves[{index}].targets: {quoted(glob_)} matches no target of a configured store"
                problems.add(message, one, "write STORE/NAMESPACE")


def configured_waves(
    values: tuple[Mapping[str, Any], ...], node: nodes.Node | None, problems: Problems
) -> tuple[Wave, ...]:
    """The waves that were decoded without problems."""
    places = map(problems.origin, node.items if isinstance(node, nodes.Sequence) else ())
    return tuple(
        Wave(one["targets"], one["bake"], _probe(one["probe"]), origin)
        for one, origin in zip(values, places, strict=True)
    )


def _probe(values: Mapping[str, Any] | None) -> Probe | None:
    return None if values is None else Probe(values["http"], values["command"] or (), values["timeout"])
