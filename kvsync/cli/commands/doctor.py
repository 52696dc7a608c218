"""The command `kvsync doctor`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Final

from kvsync.cli import options
from kvsync.cli.command import GlobalOptions, command
from kvsync.cli.exit_codes import Exit
from kvsync.cli.failure import print_problems
from kvsync.cli.output import print_document, print_lines
from kvsync.cli.progress import progress
from kvsync.errors import with_code

if TYPE_CHECKING:
    from kvsync.app.doctor import DoctorReport, Finding

SCHEMA: Final = "kvsync.doctor/1"


@command(
    "doctor",
    short_help="Check files, state directory, stores and credentials.",
    examples=("doctor", "doctor -o json"),
    exits=(Exit.DONE, Exit.ERROR),
)
@options.output("text", "json")
async def doctor(settings: GlobalOptions, output: str) -> Exit:
    """Check everything that a pass needs, and report what is wrong and how to fix it: the configuration, the state files, the
    state directory and its lock, the Git source, the lease, the notification channels, and each store with its credential,
    permissions, quota and clock. Writes to no store and sends no notification.
    """
    from kvsync.app.doctor import examine

    return _answer(
        await examine(settings.config, settings.environment, offline=settings.offline, working=progress), output
    )


def _answer(found: DoctorReport, output: str) -> Exit:
    if found.problems:
        print_problems(found.problems)
    code = Exit.ERROR if found.is_absent else Exit.INVALID if found.problems else Exit.DONE
    return _print(found.findings, output, code)


def _print(found: Sequence[Finding], output: str, code: Exit) -> Exit:
    shown = [_without_repetition(one) for one in found]
    sound = all(one.ok for one in shown)
    if output == "json":
        print_document({"schema": SCHEMA, "ok": sound, "findings": [asdict(one) for one in shown]})
    else:
        print_lines(*map(_line, shown))
    return code if sound or code else Exit.ERROR


def _without_repetition(one: Finding) -> Finding:
    """Errors name what they are about, and some what to do, which stands before and behind them here."""
    detail = one.detail.removeprefix(f"{one.subject}: ").removeprefix(f"{one.check}: ").removeprefix(f"{one.check}.")
    return replace(one, detail=detail, hint=None if one.hint and detail.endswith(one.hint) else one.hint)


def _line(one: Finding) -> str:
    hint = f" ({one.hint})" if one.hint and not one.ok else ""
    said = with_code(f"{one.subject}: {one.check}: {one.detail}{hint}", one.code)
    return f"{'ok  ' if one.ok else 'FAIL'}  {said}"
