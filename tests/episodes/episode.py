"""One episode: a repository, a store behind a proxy and one next to it, and what happens to them, by a seed."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import time
from base64 import b64encode
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from signal import SIGCONT, SIGKILL, SIGSTOP, SIGTERM, Signals
from typing import Any, Final

from tests.episodes.remotes import KNOWN_HERE_ALONE, NAMES, SERVED, Remote, sqlite
from tests.episodes.wishes import Wishes
from tests.faults.catalogue import FAULTS, cut_before
from tests.support.forked import ForkedCommand, ForkServer
from tests.support.interposer import Interposer, Side

CANARY: Final = "canary-7be13c90"
_ENCODED: Final = tuple(b64encode(b"x" * skip + CANARY.encode()).decode()[skip + 2 : -4] for skip in range(3))
OURS: Final = tuple(f"k{number:02}" for number in range(10))
THEIRS: Final = tuple(f"theirs-{number}" for number in range(4))
PAUSES: Final = (0, 61, 61, 61, 3_600, 3_600, 86_400, 86_400)
"""Seconds before each of the runs in which everything is put right."""
MOST_SECONDS: Final = 300
READING: Final = (
    *(
        ("plan",),
        ("plan", "-o", "json"),
        ("plan", "--deep"),
        ("drift",),
        ("status",),
        ("history",),
        ("list",),
        ("validate",),
    ),
    *(("doctor",), ("explain", "k01"), ("drift", "-o", "json"), ("stores",)),
)
WRITING: Final = (("apply", "--yes"), ("apply", "--yes"), ("apply", "--yes", "-o", "json"), ("run", "--once"))
SPECS: Final = (
    *(
        "429:0.3",
        "500:0.3",
        "503:0.5,cut:0.2",
        "drop:0.3",
        "drop-after-write:0.5",
        "500-after-write:0.5",
        "partial-bulk:0.5",
    ),
    *(
        "truncate:0.3",
        "cut:0.4",
        "latency:20ms,429:0.2",
        "stale-read:2s",
        "429:1",
        "drop-after-write:1",
        "401:0.3",
        "404:0.2",
    ),
)
MANAGING: Final = (
    *(
        ("adopt", "--yes"),
        ("adopt", "--dry-run"),
        ("undo", "--since", "1d", "--yes"),
        ("undo", "--since", "1d", "--dry-run"),
    ),
    *(("transfer", "--from-owner", "team-b", "--yes"), ("dump", "remote", "--to", "../dumped", "--force")),
)
"""What people do now and then; an undo holds back what it restored until the files ask for something else."""
STEPS: Final = (-40 * 86_400, -86_400, -3_700, -61, 61, 3_700, 86_400, 40 * 86_400)


class Wrong(AssertionError):
    """An invariant that did not hold."""


class Episodes:
    """What episodes share: processes to fork commands from, and services, each started when it is first needed."""

    def __init__(self, root: Path, stack: ExitStack) -> None:
        self.root, self._stack = root, stack
        self.interposer = Interposer(root / "interposer")
        self.runner = ForkServer("tests.episodes.child", **self.interposer.environ)
        stack.callback(self.runner.close)
        self._remotes: dict[str, Remote] = {}

    def remote(self, name: str, folder: Path) -> Remote:
        """An empty store of this kind."""
        if name == "sqlite":
            return sqlite(folder / "remote.db")
        if name not in self._remotes:
            self._remotes[name] = self._stack.enter_context(SERVED[name]())
        found = self._remotes[name]
        assert found.control is not None
        assert found.proxy is not None
        found.control("POST", "reset")
        found.proxy.heal()
        return found


class Episode:
    """A repository for two targets: `remote/web`, of two files, and `local/web`, of one."""

    def __init__(self, shared: Episodes, folder: Path, seed: int, name: str | None = None) -> None:
        self.chance = random.Random(seed)
        self.name = name or NAMES[seed % len(NAMES)]
        self.folder, self.repo, self.shared = folder, folder / "repo", shared
        shutil.rmtree(folder, ignore_errors=True)
        (self.repo / "state").mkdir(parents=True)
        self.remote, self.local = shared.remote(self.name, folder), sqlite(folder / "local.db")
        self.stores = {"remote": self.remote, "local": self.local}
        self.wishes = {"remote": Wishes(), "local": Wishes()}
        self.theirs: dict[str, dict[str, bytes]] = {"remote": {}, "local": {}}
        self.generation, self.passed, self.wrong_by = 0, 0.0, 0.0
        self.bad, self.is_stale, self.is_away, self.has_undone = set[str](), False, False, False
        self.story: list[str] = []
        self.output, self.spec = "", ("", 0)
        self.can_step_far = self.name != "sqlite"
        self._adopt = self.chance.choice(("if-equal", "never", "always"))
        self._configure("500ms")
        self._set_clocks()

    # -- the repository ------------------------------------------------------------------------------------------------

    def _configure(self, timeout: str) -> None:
        (self.repo / "kvsync.yaml").write_text(
            f"version: 1\nowner: team-a\npolicy: {{prune: owned, adopt: {self._adopt}, "
            "guard: {max_delete_pct: 100, max_update_pct: 100}}\nauthors: {env: [SECRET]}\n"
            "run: {every: 1s, jitter: 0s, debounce: 100ms}\n"
            f"stores:\n  remote: {{timeout: {timeout}, {self.remote.config}}}\n  local: {{{self.local.config}}}\n"
        )

    def _file(self, name: str) -> tuple[str, Path]:
        """The store that a file is for, and its path."""
        return ("local" if name == "c" else "remote"), self.repo / f"state/{name}.yaml"

    def edit(self, name: str, *, restart: bool = False) -> None:
        """Let a file ask for something else; `restart` is for every key, and for what no file has asked for before."""
        self._come_back()
        store, path = self._file(name)
        keys = {"a": OURS[:5], "b": OURS[5:], "c": OURS}[name]
        entries = {key: f"v{self.chance.randrange(40)}".encode() for key in keys if self.chance.random() < 0.7}
        if restart:
            entries = dict.fromkeys(keys, f"restart {self.generation}".encode())
        lines = "".join(f"  {key}: {self._spelled(key, value, store)}\n" for key, value in entries.items())
        secret = "" if name == "b" else "  secret: {env: SECRET}\n"
        if secret:
            entries["secret"] = self._secret()
        self._save(path, f"store: {store}\nnamespace: web\nkeys:\n{lines or '  always: here'}\n{secret}")
        if not lines:
            entries["always"] = b"here"
        self.wishes[store].want(name, entries)
        self.bad.discard(name)

    def _secret(self) -> bytes:
        return f"{CANARY}-{self.generation}".encode()

    def _spelled(self, key: str, value: bytes, store: str) -> str:
        text = value.decode()
        if key.endswith("1") and store == "remote":
            return f"{{value: {text}, ttl: 60d}}"
        return f'"{text}"' if key.endswith("2") else text

    def _save(self, path: Path, text: str) -> None:
        if self.chance.random() < 0.5:
            path.write_text(text)
        else:
            (path.parent / "new").write_text(text)
            (path.parent / "new").rename(path)

    def break_file(self, name: str) -> None:
        """Let a file be something that cannot be read."""
        self._come_back()
        _, path = self._file(name)
        self.edit(name)
        text = path.read_text()
        bad = self.chance.choice(
            (
                text.encode()[: self.chance.randrange(30, len(text))] + b'\n  "cut',
                text.replace("keys:", "keys: [").encode(),
                text.encode() + b"  k03: {json: {a: 1}\n",
                text.encode() + b"  bad: \xff\xfe\n",
                text.replace("namespace:", "namespcae:").encode(),
                text.encode() + b"  unset: {env: NOT_SET}\n",
                b"\0" * len(text),
            )
        )
        path.write_bytes(bad)
        self.bad.add(name)

    def remove_file(self, name: str) -> None:
        """Let a file vanish. The last one of a target leaves that target as it is."""
        self._come_back()
        store, path = self._file(name)
        path.unlink(missing_ok=True)
        self.wishes[store].want(name, None)
        self.bad.discard(name)

    def take_away(self) -> None:
        """Let the folder of the files vanish."""
        if not self.is_away:
            (self.repo / "state").rename(self.folder / "away")
            self.is_away = True

    def _come_back(self) -> None:
        if self.is_away:
            (self.folder / "away").rename(self.repo / "state")
            self.is_away = False

    # -- other programs, time and state --------------------------------------------------------------------------------

    def alter(self, store: str) -> None:
        """Another program writes to an entry, of its own or of ours."""
        remote, key = self.stores[store], self.chance.choice((*THEIRS, *THEIRS, *OURS))
        value = f"of others {self.chance.randrange(10**9):020}"
        with self._past_faults():
            if self.chance.random() < 0.3:
                if key in remote.values():
                    remote.delete(key)
            else:
                remote.put(key, value)
            held = remote.values()
        if key in OURS:
            self.wishes[store].alter(key)
        else:
            self.theirs[store] = {key: held[key] for key in THEIRS if key in held}

    @contextmanager
    def _past_faults(self) -> Iterator[None]:
        """Other programs, and whoever looks, meet no faults."""
        if self.spec[0]:
            self.remote.faults("")
        yield
        if self.spec[0]:
            self.remote.faults(*self.spec)

    def _held(self, store: str) -> dict[str, bytes]:
        with self._past_faults():
            return self.stores[store].values()

    def _set_clocks(self) -> None:
        self.shared.interposer.ahead = self.passed + self.wrong_by
        self.remote.let_time_be(time.time() + self.passed, self.passed)

    def let_pass(self, seconds: float) -> None:
        """Let time pass everywhere."""
        self.passed += seconds
        self._set_clocks()

    def set_clock(self, wrong_by: float) -> None:
        """Let the clock of kvsync's machine be wrong."""
        self.wrong_by = wrong_by
        self._set_clocks()

    def lose_state(self) -> None:
        """Take the state directory away, or bring back an older one."""
        state, kept = self.repo / ".kvsync", self.folder / "backup"
        if kept.exists():
            shutil.rmtree(state, ignore_errors=True)
            kept.rename(state)
        elif state.exists() and self.chance.random() < 0.8:
            shutil.copytree(state, kept)
            return  # a backup is made, no more
        else:
            shutil.rmtree(state, ignore_errors=True)
        for store, wishes in self.wishes.items():
            is_marked = store == "local" or self.name not in KNOWN_HERE_ALONE
            wishes.forget(is_marked=is_marked, pool=(*OURS, "secret", "always"))

    # -- commands ------------------------------------------------------------------------------------------------------

    def _environ(self) -> dict[str, str]:
        kept = {name: text for name, text in os.environ.items() if not name.startswith("KVSYNC_")}
        return kept | dict(self.remote.environ) | {"SECRET": self._secret().decode(), "NO_COLOR": "1", "COLUMNS": "200"}

    def _change_secret(self) -> None:
        """The variable that the files name has another value, in the processes that start from now on."""
        self.generation += 1
        for wishes in self.wishes.values():
            for entries in wishes.files.values():
                if "secret" in entries:
                    entries["secret"] = self._secret()

    def start(self, *arguments: str) -> ForkedCommand:
        """Start a command."""
        if self.remote.proxy is not None and self.remote.proxy._armed is None:
            self.remote.proxy.arm("", cut_before, 0)
        return self.shared.runner.start(arguments, self.repo, self._environ(), MOST_SECONDS)

    def finish(self, arguments: Sequence[str], command: ForkedCommand) -> int:
        """Wait for a command, and look at all that it has said."""
        code, out, err = command.wait()
        self.output = out + err
        self.story.append(f"    {' '.join(arguments)} -> {code}")
        self._check_words(out + err)
        self._check_theirs()
        if "-o" in arguments and code >= 0 and code not in (-SIGKILL, 64) and "json" in arguments and out:
            json.loads(out)
        return code

    def run(self, *arguments: str) -> int:
        """Run a command to its end."""
        return self.finish(arguments, self.start(*arguments))

    def write(self) -> None:
        """A command that writes, undisturbed or not."""
        arguments = self.chance.choice(WRITING)
        how: Callable[[Sequence[str]], int] = self.chance.choice(
            (self._whole, self._whole, self._killed, self._killed, self._at_a_call, self._terminated, self._stopped)
        )
        self.story.append(f"  {how.__name__}")
        if self.chance.random() < 0.2:
            self._change_secret()
        self._check_code(how(arguments))

    def _whole(self, arguments: Sequence[str]) -> int:
        return self.run(*arguments)

    def _at_a_call(self, arguments: Sequence[str]) -> int:
        return self.killed_at(arguments, int(2 ** self.chance.uniform(0, 9.5)), self.chance.choice(list(Side)))

    def killed_at(self, arguments: Sequence[str], call: int, side: Side) -> int:
        """Kill a command at one of its calls to the kernel."""
        self.story.append(f"    killed {side.name.lower()} call {call}")
        self.shared.interposer.kill_at(call, side)
        try:
            return self.run(*arguments)
        finally:
            self.shared.interposer.kill_at(0, side)

    def _killed(self, arguments: Sequence[str]) -> int:
        return self._signalled(arguments, SIGKILL)

    def _terminated(self, arguments: Sequence[str]) -> int:
        return self._signalled(arguments, SIGTERM)

    def _stopped(self, arguments: Sequence[str]) -> int:
        return self._signalled(arguments, SIGSTOP, SIGCONT)

    def _signalled(self, arguments: Sequence[str], *signals: Signals) -> int:
        command = self.start(*arguments)
        for number in signals:
            time.sleep(self.chance.uniform(0, 0.12))
            command.send(number)
        return self.finish(arguments, command)

    def manage(self) -> None:
        """A command that people run by hand."""
        arguments = self.chance.choice(MANAGING)
        code = self.run(*arguments)
        self._must(code in (0, 1, 3, 4, 64, 78), f"{arguments} exits with {code}")
        if arguments[0] == "undo" and "--yes" in arguments:
            self.has_undone = True
            for wishes in self.wishes.values():
                wishes.forget(is_marked=True, pool=())

    def read(self) -> None:
        """A command that reads: nothing reaches the store that would change it."""
        arguments = self.chance.choice(READING)
        if self.remote.proxy is not None:
            self.remote.proxy.calls.clear()
        code = self.run(*arguments)
        self._must(code in (0, 1, 2, 3, 4, 78), f"{arguments} exits with {code}")
        written = {
            key for key in self._touched() if not key.startswith("kvsync-doctor-")
        }  # a write that cannot succeed
        self._must(not written, f"{arguments} writes {written}")

    # -- what must hold ------------------------------------------------------------------------------------------------

    def _must(self, holds: object, words: str) -> None:
        if not holds:
            raise Wrong(f"{words}\n{self.output[-6000:]}")

    def _touched(self) -> set[str]:
        calls = [] if self.remote.proxy is None else list(self.remote.proxy.calls)
        return {key for call in calls for key in self.remote.touched(call)}

    def _check_words(self, text: str) -> None:
        for pattern in ("Traceback", "bug in kvsync", "Task exception", "never awaited"):
            self._must(pattern not in text, f"it says {pattern}")
        self._must(CANARY not in text and not any(one in text for one in _ENCODED), "it tells a secret")
        for file in (self.repo / ".kvsync").rglob("*"):
            with suppress(OSError):
                data = file.read_bytes() if file.is_file() else b""
                is_told = any(one.encode() in data for one in (CANARY, *_ENCODED))
                self._must(not is_told, f"{file} holds a secret")

    def _check_theirs(self) -> None:
        for store, theirs in self.theirs.items():
            held = self._held(store)
            found = {key: held[key] for key in THEIRS if key in held}
            self._must(found == theirs, f"{store}: what is not ours was {theirs}, and is {found}")

    def _check_code(self, code: int) -> None:
        self._must(code in (0, 1, 3, 4, 78, 130, 143, -SIGKILL, -SIGTERM), f"exit code {code}")
        is_whole = not self.bad and not self.is_away and all(one.files for one in self.wishes.values())
        if code != 0:
            return
        self._must(not self.bad, f"exit code 0, although {self.bad} cannot be read")
        if self.is_stale or self.has_undone:
            return
        self._check_stores()
        if is_whole:
            for wishes in self.wishes.values():
                wishes.settled()

    def _wrong(self) -> dict[str, Any]:
        """What is not as it is wanted."""
        found = {}
        for store, wishes in self.wishes.items():
            held = {key: value for key, value in self._held(store).items() if key not in THEIRS}
            if wrong := wishes.wrong(held):
                found[store] = wrong
        return found

    def _check_stores(self) -> None:
        wrong = self._wrong()
        self._must(not wrong, f"wanted, held: {wrong}")

    # -- the whole -----------------------------------------------------------------------------------------------------

    def disturb(self) -> None:
        """Let one thing happen."""
        name, store = self.chance.choice("aabbc"), self.chance.choice(("remote", "remote", "local"))
        steps = STEPS if self.can_step_far else STEPS[1:-1]
        acts: list[tuple[int, str, Callable[[], None]]] = [
            (6, f"edit {name}", lambda: self.edit(name)),
            (2, f"break {name}", lambda: self.break_file(name)),
            (1, f"remove {name}", lambda: self.remove_file(name)),
            (1, "take the folder away", self.take_away),
            (4, f"alter {store}", lambda: self.alter(store)),
            (2, "clock", lambda: self.set_clock(self.chance.choice(steps))),
            (1, "time passes", lambda: self.let_pass(self.chance.choice((5, 61, 3_600, 86_400)))),
            (1, "state", self.lose_state),
            (5, "faults", self.fault),
        ]
        _, words, act = self.chance.choices(acts, [weight for weight, *_ in acts])[0]
        self.story.append(words)
        act()

    def fault(self) -> None:
        """Something between kvsync and its store goes wrong in the next commands."""
        if self.remote.proxy is None:
            return
        if self.chance.random() < 0.4:
            spec = self.chance.choice(SPECS)
            self.story.append(f"  {spec}")
            self.spec = spec, self.chance.randrange(1000)
            self.remote.faults(*self.spec)
            self.is_stale |= "stale" in spec
            return
        kind, fault = self.chance.choice(self.remote.kinds), self.chance.choice(list(FAULTS))
        times = self.chance.choice((1, 1, 2, 3, 1_000))
        self.story.append(f"  {fault} of {kind}, {times} times")
        self.remote.proxy.arm(kind, FAULTS[fault], times)
        self.is_stale |= fault == "stale"

    def heal(self) -> None:
        """Nothing goes wrong any more."""
        self.spec = "", 0
        self.remote.faults("")
        if self.remote.proxy is not None:
            self.remote.proxy.heal()
        self.is_stale = False

    def begin(self) -> None:
        """Write the files, and what other programs hold."""
        for name in "abc":
            self.edit(name)
        for store, remote in self.stores.items():
            for key in THEIRS[:2]:
                remote.put(key, f"of others {key}")
            self.theirs[store] = {key: value for key, value in remote.values().items() if key in THEIRS}

    def play(self) -> None:
        """From nothing to its end."""
        self.begin()
        if self.chance.random() < 0.15:
            self.serve_calmly()
        for _ in range(self.chance.randint(3, 7)):
            for _ in range(self.chance.randint(0, 2)):
                self.disturb()
            act = self.chance.choices((self.read, self.write, self.manage, self.serve_roughly), (5, 15, 3, 1))[0]
            act()
            if self.chance.random() < 0.5:
                self.heal()
        self.end()

    # -- the daemon ----------------------------------------------------------------------------------------------------

    @contextmanager
    def _daemon(self, end: Signals) -> Iterator[ForkedCommand]:
        """A daemon, until the end of the block; it leaves when it is told to."""
        self.story.append("daemon")
        self.shared.interposer.wait_for_real(waits=True)
        daemon = self.start("run")
        try:
            yield daemon
        finally:
            self.shared.interposer.wait_for_real(waits=False)
            daemon.send(end)
            code = self.finish(("run",), daemon)
        self._must(code in (0, 1, 78, -SIGKILL, -SIGTERM), f"the daemon exits with {code}")

    def _waited_for(self, condition: Callable[[], bool], seconds: float = MOST_SECONDS / 2) -> bool:
        ends = time.monotonic() + seconds
        while not (holds := condition()) and time.monotonic() < ends:
            time.sleep(0.05)
        return holds

    def serve_roughly(self) -> None:
        """A daemon under which things happen, and which is killed or told to leave."""
        with self._daemon(self.chance.choice((SIGKILL, SIGTERM))) as daemon:
            self._waited_for(lambda: daemon.has_ended() or "pass.finished" in daemon.said()[1], 30)  # there may be none
            for _ in range(self.chance.randint(1, 4)):
                self.disturb()
                time.sleep(self.chance.uniform(0, 0.4))
                if self.chance.random() < 0.2:
                    daemon.send(SIGSTOP)
                    time.sleep(0.1)
                    daemon.send(SIGCONT)

    def serve_calmly(self) -> None:
        """A daemon in front of a store that works: whatever happens to files, clocks and entries, it puts everything right."""
        self._configure("20s")
        with self._daemon(SIGTERM) as daemon:
            for _ in range(self.chance.randint(2, 5)):
                self.chance.choices(
                    (self._edit_slowly, self._break_any, self._clock, self.take_away, self._alter_any), (4, 2, 2, 1, 3)
                )[0]()
                time.sleep(self.chance.uniform(0, 0.3))
            for name in "abc":
                self.edit(name)
            is_there = self._waited_for(lambda: daemon.has_ended() or not self._wrong())
            self.output = "".join(daemon.said())
            self._must(not daemon.has_ended(), "the daemon ended")
            self._must(is_there, f"the daemon never got there: {self._wrong()}")
        self._configure("500ms")

    def _edit_slowly(self) -> None:
        """Half a file, and soon after that the rest."""
        name = self.chance.choice("abc")
        self.story.append(f"  edit {name}")
        _, path = self._file(name)
        before = path.read_text() if path.exists() else ""
        self.edit(name)
        whole = path.read_text()
        path.write_text(before)
        for part in (0.3, 0.6, 1.0):
            path.write_text(whole[: int(len(whole) * part)])
            time.sleep(0.03)

    def _break_any(self) -> None:
        self.story.append("  break")
        self.break_file(self.chance.choice("abc"))

    def _clock(self) -> None:
        self.story.append("  clock")
        self.set_clock(self.chance.choice(STEPS if self.can_step_far else STEPS[1:-1]))

    def _alter_any(self) -> None:
        self.story.append("  alter")
        self.alter(self.chance.choice(("remote", "local")))

    def end(self) -> None:
        """All faults end, and all files can be read."""
        self.heal()
        self._change_secret()
        for name in "abc":
            self.edit(name, restart=self.has_undone)
        self.has_undone = False
        if self.chance.random() < 0.7:
            self.set_clock(0)
        self.settle(PAUSES)

    def settle(self, pauses: Sequence[int]) -> None:
        """Everything is put right, within some quiet runs, with these seconds before each; after that nothing is left to do."""
        self.story.append("quiet")
        self._configure("20s")
        for pause in pauses:
            self.let_pass(pause)
            code = self.run("apply", "--yes", "--deep")
            if code == 0 or (code == 3 and self._is_in_doubt()):
                break
        else:
            self._must(False, f"still exit code {code} after all quiet runs")
        self._check_stores()
        self._check_nothing_is_left(code)

    def _check_nothing_is_left(self, code: int) -> None:
        if self.remote.proxy is not None:
            self.remote.proxy.calls.clear()
        again = self.run("apply", "--yes", "--deep")
        self._must(again == code, f"a second run exits with {again}, the first with {code}")
        self._must(not self._touched() - set(self.wishes["remote"].doubtful), f"a second run writes {self._touched()}")
        if code == 0:
            found = self.run("plan", "--exit-code")
            self._must(found == 0, f"a plan exits with {found}")

    def _is_in_doubt(self) -> bool:
        return any(wishes.is_in_doubt(self._held(store)) for store, wishes in self.wishes.items())

    def account(self) -> str:
        """What happened."""
        return "\n".join([self.name, *(re.sub(r"\s+$", "", line) for line in self.story)])
