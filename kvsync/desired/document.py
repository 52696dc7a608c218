"""A document of a state file: its layers as they are written, and their merged result."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import field
from typing import Any

from kvsync.config.authority import Authority
from kvsync.desired.fields import Options
from kvsync.desired.rows import RowBuilder
from kvsync.desired.templates import Variables
from kvsync.desired.values import ValueContext
from kvsync.errors import Origin, Problem
from kvsync.model.desired import Move
from kvsync.model.entry import Target
from kvsync.model.policy import Policy
from kvsync.util.values import dataclass
from kvsync.yaml.fields import Problems
from kvsync.yaml.nodes import Mapping


@dataclass(frozen=True, slots=True)
class Layer:
    """A document as it is written in one file. All values of a `is_secret` file are secrets."""

    node: Mapping
    problems: Problems
    around: ValueContext
    is_secret: bool = False


@dataclass(frozen=True, slots=True)
class IncomingMove:
    """A move that takes a key out of `target`, which is not one of the document's own."""

    target: Target
    move: Move


@dataclass(slots=True)
class Document:
    """Content of a document. `policies` are the decoded lines of each layer, lowest first; `moved` are by their source, and
    `incoming_moves` those that come from other targets."""

    stores: tuple[str, ...] = ()
    namespace: str | None = None
    draft: RowBuilder = field(default_factory=RowBuilder)
    policies: list[dict[str, Any]] = field(default_factory=list)
    policy_origin: Origin | None = None
    absent: dict[str, Origin] = field(default_factory=dict)
    moved: dict[str, Move] = field(default_factory=dict)
    incoming_moves: list[IncomingMove] = field(default_factory=list)
    secrets: list[str] = field(default_factory=list)
    warnings: list[Problem] = field(default_factory=list)
    defaults: Options = field(default_factory=dict)
    variables: Variables = field(default_factory=Variables)

    def moves_into(self, target: Target) -> Iterator[Move]:
        """The moves from other targets to this one of the document's own."""
        for leaving, move in ((one.target, one.move) for one in self.incoming_moves):
            if move.destination_target == target:
                yield Move(move.source, move.destination, move.origin, source_target=leaving)

    def policy(self, under: Policy, authority: Authority) -> Policy | None:
        """The policy of the document over that of its store, None when it has no lines of its own."""
        if not self.policies:
            return None
        for lines in self.policies:
            under = authority.policy_of(under, lines)
        return under
