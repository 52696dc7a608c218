"""Every command's answer, word for word, in `golden/`: nothing that people or programs read changes by accident.

A file of `golden/` is one step of the scenario below, which one small repository lives through. After an intended change,
write them again with `python -m tests.cli.test_golden`, and read the difference as a reviewer would.
"""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from kvsync import __version__
from tests.cli.conftest import Repo
from tests.cli.runner import Runner

GOLDEN: Final = Path(__file__).with_name("golden")

CONFIGURATION: Final = """\
version: 1
owner: tester
stores:
  local: {type: sqlite, path: .kvsync/store.db}
  other: {type: sqlite, path: .kvsync/other.db}
policy:
  prune: owned
  guard: {max_delete_pct: 30, max_update_pct: 50, min_existing: 5, max_deletes: 1000, grace: 0s}
run:
  every: 1h
"""
WEB: Final = """\
store: local
namespace: web
keys:
  greeting: Hello
  timeout: 30
  limits: {json: {rps: 10}}
  secret: {value: gKx7-wq93-hush, sensitive: true}
  kept: {value: first, protected: true}
"""
SHOP: Final = "store: other\nnamespace: shop\nkeys:\n" + "".join(f"  item{number}: {number}\n" for number in range(8))
NEWER: Final = WEB.replace("Hello", "Hi").replace("  timeout: 30\n", "") + "  new: {value: x, ttl: 2d}\n"
BROKEN: Final = "store: local\nnamespace: web\nkeys: {a: {valeu: 1}, b: {value: 1, ttl: never}}\n"

Step = tuple[str, str, int]


@dataclass(frozen=True)
class Change:
    """What a person does between two commands."""

    do: Callable[[Repo], object]


def _nothing_left(repo: Repo) -> None:
    repo.write("state/shop.yaml", SHOP.partition("  item3")[0])


def _in_waves(repo: Repo) -> None:
    repo.write("kvsync.yaml", CONFIGURATION + "waves: [{targets: [other/*], bake: 1h}]\n")
    repo.write("state/web.yaml", NEWER.replace("Hi", "Bonjour"))
    repo.write("state/shop.yaml", SHOP.partition("  item3")[0] + "  item9: new\n")


SCENARIO: Final[tuple[Step | Change, ...]] = (
    ("init", "init demo", 0),
    Change(lambda repo: (repo.write("kvsync.yaml", CONFIGURATION), repo.write("state/web.yaml", WEB))),
    Change(lambda repo: repo.write("state/shop.yaml", SHOP)),
    ("stores", "stores", 0),
    ("stores-json", "stores -o json", 0),
    ("schema-plan", "schema plan", 0),
    ("schema-notice", "schema notice", 0),
    ("completion", "completion bash", 0),
    ("version", "--version", 0),
    ("unknown-command", "plann", 64),
    ("unknown-target", "plan --target nowhere", 64),
    ("validate", "validate", 0),
    ("validate-json", "validate -o json", 0),
    ("doctor", "doctor", 0),
    ("doctor-json", "doctor -o json", 0),
    ("status-before", "status", 0),
    ("history-before", "history", 0),
    ("plan-create", "plan", 0),
    ("plan-create-json", "plan -o json", 0),
    ("plan-create-markdown", "plan -o markdown", 0),
    ("apply-unasked", "apply", 4),
    ("apply-create", "apply --yes", 0),
    ("plan-nothing", "plan --exit-code", 0),
    ("apply-nothing-json", "apply --yes -o json", 0),
    Change(lambda repo: repo.write("state/web.yaml", NEWER)),
    Change(lambda repo: repo.drift("limits", "{}")),
    Change(lambda repo: repo.drift("kept", "second")),
    Change(lambda repo: repo.insert("foreign", "theirs")),
    ("drift", "drift", 2),
    ("drift-json", "drift -o json", 2),
    ("drift-markdown", "drift -o markdown", 2),
    ("explain", "explain greeting", 0),
    ("explain-code", "explain KV3201", 0),
    ("explain-code-json", "explain kv3201 -o json", 0),
    ("set", "set local/web greeting Hola --dry-run", 0),
    ("set-json", "set local/web greeting Hola --dry-run -o json", 0),
    ("fmt-json", "fmt --dry-run -o json", 0),
    ("explain-foreign-json", "explain foreign -o json", 0),
    ("plan-mixed", "plan --full", 0),
    ("plan-mixed-json", "plan -o json --out saved.json", 0),
    ("plan-mixed-markdown", "plan -o markdown", 0),
    ("apply-saved-json", "apply saved.json -o json --log-format json", 0),
    ("apply-again", "apply --yes --allow-protected --log-format json --log-level debug", 0),
    ("history", "history", 0),
    ("history-json", "history --limit 1 -o json", 0),
    ("history-run", "history {run}", 0),
    ("history-run-json", "history {run} -o json", 0),
    ("undo-unasked", "undo {run}", 4),
    ("undo-json", "undo {run} --yes -o json", 0),
    ("undo-unknown", "undo 19990101", 64),
    ("pause", "pause local/web --reason freeze", 0),
    Change(_nothing_left),
    ("run-once", "run --once --log-format json", 4),
    ("status", "status", 0),
    ("status-json", "status -o json", 0),
    ("status-check", "status --check", 1),
    ("plan-parked", "plan --target other", 4),
    ("plan-parked-json", "plan --target other -o json", 4),
    ("apply-parked-json", "apply --yes --target other -o json", 4),
    ("approve-unknown", "approve 123456789abc", 4),
    ("approve", "approve {parked}", 0),
    ("resume", "resume local/web", 0),
    ("resume-unpaused", "resume local/web", 0),
    ("run-once-approved", "run --once --log-format json", 3),
    ("run-observing", "run --once --observe --log-format json", 0),
    ("dump", "dump local/web --to dumped", 0),
    ("dump-again", "dump local/web --to dumped", 1),
    ("import-known", "import local --dry-run", 0),
    Change(lambda repo: repo.write("state/web.yaml", NEWER + "  foreign: theirs\n")),
    ("plan-foreign", "plan", 0),
    ("adopt-json", "adopt --yes -o json", 0),
    ("adopt-nothing", "adopt --yes", 0),
    ("release-preview", "release local/web --dry-run", 0),
    ("release-json", "release local/web --dry-run -o json", 0),
    Change(lambda repo: repo.write("state/web.yaml", BROKEN)),
    ("validate-broken", "validate", 78),
    ("validate-broken-json", "validate -o json", 78),
    ("validate-broken-sarif", "validate -o sarif", 78),
    ("validate-broken-github", "validate -o github", 78),
    ("validate-broken-gitlab", "validate -o gitlab", 78),
    ("plan-broken", "plan", 78),
    ("plan-broken-json", "plan -o json", 78),
    ("run-broken", "run --once --log-format json", 78),
    Change(_in_waves),
    ("plan-waves", "plan", 0),
    ("apply-waves-json", "apply --yes -o json --log-format json", 4),
    ("plan-waves-markdown", "plan -o markdown", 0),
    ("status-waves", "status", 0),
)  # fmt: skip

_UNSTEADY: Final = (
    ("run", re.compile(r"\b\d{8}-\d{6}-\d{3}\b(?:-\w+)?")),
    ("time", re.compile(r"\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d)?(?:\.\d+)?(?:Z|\+00:00)?")),
    ("epoch", re.compile(r"\b1[6-9]\d{8}(?:\.\d+)?\b")),
    ("hash", re.compile(r"\b(?=[0-9a-f]*\d)[0-9a-f]{8,64}\b")),
    ("seconds", re.compile(r"(?<=\"seconds\": )[\d.]+")),
    ("process", re.compile(r"(?<=\"pid\": )\d+|(?<=pid )\d+|(?<=process )\d+")),
)
"""What no two runs have in common, by what stands there instead."""
_UNQUOTED: Final = re.compile(r"(?<=: )<\w+>")


def _steady(text: str, root: Path) -> str:
    text = text.replace(str(root), "ROOT").replace(__version__, "VERSION")
    for word, pattern in _UNSTEADY:
        text = pattern.sub(f"<{word}>", text)
    lines = text.splitlines(keepends=True)
    logged = sorted((line for line in lines if _is_logged(line)), key=_target_of)
    return "".join([*(line for line in lines if not _is_logged(line)), *logged])


def _is_logged(line: str) -> bool:
    return line.startswith('{"timestamp"')


def _target_of(line: str) -> str:
    """The target of a log line: passes of two targets run at the same time."""
    return str(json.loads(_UNQUOTED.sub("null", line)).get("namespace", ""))


def _filled(command: str, repo: Repo) -> str:
    """The command with the ids that only the run before it knows."""
    if "{run}" in command:
        return command.format(run=repo.json("history")["runs"][0]["run"])
    if "{parked}" in command:
        (target,) = repo.json("plan", "--target", "other", code=None)["targets"]
        return command.format(parked=target["digest"].removeprefix("sha256:")[:12])
    return command


def transcript(repo: Repo) -> Iterator[tuple[str, str]]:
    """Each step's name, with its command, exit code and both streams."""
    for step in SCENARIO:
        if isinstance(step, Change):
            step.do(repo)
            continue
        name, command, code = step
        done = repo.run(*_filled(command, repo).split(), code=None)
        parts = [f"$ kvsync {command}", f"exit code {done.returncode}"]
        parts += [
            f"--- {stream}\n{text.rstrip()}"
            for stream, text in (("stdout", done.stdout), ("stderr", done.stderr))
            if text
        ]
        if done.returncode != code:
            print("\n".join(parts))
        yield f"{name}.txt", _steady("\n".join(parts) + "\n", repo.root)


def test_every_answer_is_as_it_was(repo: Repo) -> None:
    """Text, JSON, log lines and exit codes of all commands are those of `golden/`."""
    recorded = {file.name: file.read_text() for file in GOLDEN.glob("*.txt")}
    for name, text in transcript(repo):
        assert text == recorded.pop(name, None), (
            f"golden/{name} differs; if it should, python -m tests.cli.test_golden writes it"
        )
    assert not recorded, "steps that the scenario no longer has"


def _write() -> None:
    runner = Runner()
    with tempfile.TemporaryDirectory() as folder:
        answers = dict(transcript(Repo(Path(folder).resolve(), runner)))
    runner.close()
    GOLDEN.mkdir(exist_ok=True)
    for file in GOLDEN.glob("*.txt"):
        file.unlink()
    for name, text in answers.items():
        (GOLDEN / name).write_text(text)


if __name__ == "__main__":
    _write()
