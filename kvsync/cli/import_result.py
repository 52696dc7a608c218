"""Result of an import, as text and as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kvsync.cli.output import print_document, print_lines, print_message

if TYPE_CHECKING:
    from kvsync.app.dump import Dumped, OmittedEntry
    from kvsync.model.change import Refusal
    from kvsync.model.plan import Plan

SCHEMA = "kvsync.import/1"


@dataclass(slots=True)
class ImportResult:
    """Result of an import, as in its JSON document."""

    store: str
    key_format: str | None = None
    candidates: list[dict[str, Any]] = field(default_factory=list)
    namespaces: list[str] = field(default_factory=list)
    configuration: str | None = None
    files: list[str] = field(default_factory=list)
    entries: int = 0
    left_out: list[dict[str, Any]] = field(default_factory=list)
    suspects: list[dict[str, Any]] = field(default_factory=list)
    adopted: int = 0
    pending: dict[str, int] = field(default_factory=dict)
    refused: list[dict[str, Any]] = field(default_factory=list)
    dry_run: bool = False

    def take_in(self, folder: str, dumped: Sequence[Dumped], outside: Sequence[OmittedEntry]) -> None:
        """Add what was read of the store, and the files that it goes to in `folder`."""
        self.files = [str(Path(folder) / file) for one in dumped for file in one.files]
        self.entries = sum(one.entries for one in dumped)
        left = [(one.target.namespace, entry) for one in dumped for entry in one.left_out]
        self.left_out = [{"namespace": name, **_identity(one)} for name, one in left]
        self.left_out += [{"namespace": None, **_identity(one)} for one in outside]
        self.suspects = [
            {"namespace": one.target.namespace, "key": name.key, "label": name.label}
            for one in dumped
            for name in one.suspects
        ]

    def take_in_plans(self, plan: Plan, after: Plan) -> None:
        """Add what could not be adopted, by the plan of the adoption, and what the plan after it still has."""
        from kvsync.model.plan import summary

        left = asdict(summary(after.targets))
        self.pending = {
            word: number for word, number in left.items() if number and word not in ("unchanged", "foreign")
        }
        found = {
            (one.target, refusal.identity): refusal
            for one in (*plan.targets, *after.targets)
            for refusal in one.refused
        }
        self.refused = [{"namespace": target.namespace, **_identity(refusal)} for (target, _), refusal in found.items()]

    @property
    def refused_lines(self) -> list[str]:
        """What could not be adopted, and why."""
        from kvsync.model.entry import Identity
        from kvsync.rendering.words import name

        return [
            f"{self.store}/{one['namespace']}: {name(Identity(one['key'], one['label']))}: {one['reason']}"
            for one in self.refused
        ]


def report_dump(dumped: Sequence[Dumped], outside: Sequence[OmittedEntry], written: str | None) -> None:
    """What would be written, on stderr: the answer comes at the end."""
    from kvsync.rendering.words import count, name

    if written is not None:
        print_message("configuration:", *(f"  {line}" for line in written.splitlines()))
    for one in dumped:
        print_message(
            f"{one.target}: {count(one.entries, 'entry', 'entries')} in {', '.join(sorted(one.files)) or 'no file'}"
        )
        print_message(
            *(f"  not written: {name(entry.identity)}: {entry.reason}" for entry in (*one.left_out, *one.passed_over))
        )
        if one.suspects:
            print_message(
                f"  values that look like secrets: {', '.join(map(name, one.suspects))}; check them before you commit"
            )
    print_message(*(f"in no namespace, not written: {name(one.identity)}: {one.reason}" for one in outside))


def _identity(one: OmittedEntry | Refusal) -> dict[str, Any]:
    return {"key": one.identity.key, "label": one.identity.label, "reason": one.reason}


def print_result(result: ImportResult, output: str) -> None:
    """Print the result, as text or as a JSON document."""
    if output == "json":
        print_document({"schema": SCHEMA, **asdict(result)})
    else:
        print_lines(*_lines(result))


def _lines(result: ImportResult) -> Iterator[str]:
    from kvsync.app.importing import left_to_do
    from kvsync.rendering.words import count

    entries = count(result.entries, "entry", "entries")
    if result.dry_run:
        yield f"{entries} of {result.store} would be written to {count(len(result.files), 'file')}; nothing was written"
        return
    yield f"wrote {count(len(result.files), 'file')} with {entries}, and took ownership of {result.adopted:,}"
    left = list(left_to_do(result.pending))
    yield (
        f"the plan still has {', '.join(left)}; see kvsync plan"
        if left
        else "the plan is empty: files and store are equal"
    )
