"""On a terminal: the question before an apply, Ctrl-C, and progress bars."""

from __future__ import annotations

import codecs
import os
import pty
import signal
import subprocess
from collections.abc import Iterator
from contextlib import suppress

import pytest

from tests.cli.conftest import Repo

MANY = "store: local\nnamespace: web\nkeys:\n" + "".join(f"  key{number}: x\n" for number in range(250))


class Terminal:
    """The command with a terminal for stdin and stderr; stdout is a pipe, as when the answer goes into a file."""

    def __init__(self, repo: Repo, *arguments: str) -> None:
        self._master, slave = pty.openpty()
        self.process = repo.start(*arguments, env={"TERM": "xterm"}, stdin=slave, stderr=slave, start_new_session=True)
        os.close(slave)
        self.screen = ""
        self._decode = codecs.getincrementaldecoder("utf-8")().decode  # a read may end in the middle of a character

    def until(self, text: str) -> None:
        """Read the screen until the text is on it."""
        while text not in self.screen:
            data = os.read(self._master, 4096)
            assert data, self.screen
            self.screen += self._decode(data)

    def type(self, text: str) -> None:
        """Type something."""
        os.write(self._master, text.encode())

    def end(self) -> tuple[int, str]:
        """Wait for the end: the exit code and the answer."""
        with suppress(OSError):  # how a terminal says that its other side is gone
            while data := os.read(self._master, 4096):
                self.screen += self._decode(data)
        assert self.process.stdout is not None
        answer = self.process.stdout.read()
        self.process.stdout.close()
        return self.process.wait(60), answer

    def close(self) -> None:
        """Leave nothing behind."""
        self.process.kill()
        self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()
        os.close(self._master)


@pytest.fixture
def terminals() -> Iterator[list[Terminal]]:
    """Terminals to be closed at the end."""
    opened: list[Terminal] = []
    yield opened
    for terminal in opened:
        terminal.close()


def opened(terminals: list[Terminal], repo: Repo, *arguments: str) -> Terminal:
    terminals.append(Terminal(repo, *arguments))
    return terminals[-1]


def test_apply_asks_and_does_it_on_yes(repo: Repo, terminals: list[Terminal]) -> None:
    """On a terminal apply shows the plan, asks with its summary on stderr, and applies on `yes`."""
    terminal = opened(terminals, repo, "apply")
    terminal.until("Type yes to continue: ")
    assert "3 to create" in terminal.screen
    assert repo.held() == {}
    terminal.type("yes\n")
    code, answer = terminal.end()
    assert code == 0
    assert "Done: 3 applied." in answer
    assert len(repo.held()) == 3


@pytest.mark.parametrize("answer", ["no\n", "y\n", "\n", "\x04"])
def test_anything_but_yes_does_nothing(repo: Repo, terminals: list[Terminal], answer: str) -> None:
    """Any other answer, and the end of input, exits with 4 and writes nothing."""
    terminal = opened(terminals, repo, "apply")
    terminal.until("Type yes to continue: ")
    terminal.type(answer)
    assert terminal.end()[0] == 4
    assert "aborted: not confirmed" in terminal.screen
    assert repo.held() == {}


def test_import_asks_again_after_a_typing_error(applied: Repo, terminals: list[Terminal]) -> None:
    """A name that is not in the list is asked for again, with the nearest one, and only what was chosen is written."""
    for namespace in ("mail", "shop"):
        applied.sql("INSERT INTO entries (namespace, key, value) VALUES (?, 'a', CAST('x' AS BLOB))", namespace)
    terminal = opened(terminals, applied, "import", "local")
    terminal.until("[all]: ")
    terminal.type("shp\n")
    terminal.until('there is no namespace "shp" (did you mean "shop"?); type names from the list, or all')
    terminal.type("shop\n")
    terminal.until("Type yes to continue [no]: ")
    terminal.type("yes\n")
    code, answer = terminal.end()
    assert (code, answer.splitlines()[-1]) == (0, "the plan is empty: files and store are equal")
    assert sorted(file.name for file in (applied.root / "state").iterdir()) == ["shop.yaml", "web.yaml"]


def test_the_question_leaves_stdout_to_the_answer(repo: Repo, terminals: list[Terminal]) -> None:
    """With -o json the plan and the question are on stderr, and stdout has one document."""
    terminal = opened(terminals, repo, "apply", "-o", "json")
    terminal.until("Type yes to continue: ")
    assert "greeting" in terminal.screen
    terminal.type("yes\n")
    code, answer = terminal.end()
    assert code == 0
    assert answer.startswith('{"schema": "kvsync.plan/1"')
    assert answer.count("\n") == 1


def test_nothing_is_asked_when_there_is_nothing_to_do(applied: Repo, terminals: list[Terminal]) -> None:
    """An apply without a change asks nothing."""
    code, answer = opened(terminals, applied, "apply").end()
    assert code == 0
    assert answer == "Nothing to do: 3 unchanged, 0 foreign.\n"


def test_ctrl_c_at_the_question_is_130(repo: Repo, terminals: list[Terminal]) -> None:
    """A single Ctrl-C ends the question, quietly, with 130, and nothing is written."""
    terminal = opened(terminals, repo, "apply")
    terminal.until("Type yes to continue: ")
    os.killpg(terminal.process.pid, signal.SIGINT)
    assert terminal.end()[0] == 130
    assert "Traceback" not in terminal.screen
    assert repo.held() == {}


def test_ctrl_c_at_a_question_of_an_import_is_130(applied: Repo, terminals: list[Terminal]) -> None:
    """A single Ctrl-C ends a guided import at any of its questions."""
    applied.sql("INSERT INTO entries (namespace, key, value) VALUES ('mail', 'a', CAST('x' AS BLOB))")
    terminal = opened(terminals, applied, "import", "local")
    terminal.until("[all]: ")
    os.killpg(terminal.process.pid, signal.SIGINT)
    assert terminal.end()[0] == 130
    assert "Traceback" not in terminal.screen
    assert not (applied.root / "state" / "mail.yaml").exists()


def test_long_work_shows_a_bar_on_a_terminal_only(repo: Repo, terminals: list[Terminal]) -> None:
    """Hundreds of entries bring a progress bar to a terminal; a pipe gets none."""
    repo.write("state/web.yaml", MANY)
    terminal = opened(terminals, repo, "apply", "--yes")
    assert terminal.end()[0] == 0
    assert "applying" in terminal.screen
    repo.write("state/web.yaml", MANY.replace("x\n", "y\n"))
    done = repo.run("apply", "--yes", "--approve", repo.json("plan", code=4)["digest"])
    assert done.stderr == ""
    assert set(repo.held().values()) == {"y"}


def test_terminate_in_the_middle_of_an_apply_finishes_the_batch(repo: Repo) -> None:
    """SIGTERM while it applies ends it with 143 or, when it was done already, 0; what was begun is in the journal."""
    repo.write("state/web.yaml", MANY)
    process = repo.start("apply", "--yes", stdin=subprocess.DEVNULL)
    assert process.stdout is not None
    process.stdout.readline()  # the plan is shown: from here on signals are handled
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=60)
    assert process.returncode in (0, 143, -signal.SIGTERM)
    assert errors == ""
    repo.run("apply", "--yes")
    repo.run("plan", "--exit-code")
