"""The demo: a fresh SQLite store, kept equal to examples/quickstart while you change things (see `make demo`)."""

from __future__ import annotations

import fcntl
import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import NoReturn

ROOT = Path(__file__).resolve().parent.parent
EXAMPLE = Path("examples/quickstart")
STATE_DIR = EXAMPLE / ".kvsync"
KVSYNC = [str(Path(sys.executable).with_name("kvsync")), "--log-format", "console", "-c", str(EXAMPLE / "kvsync.yaml")]

TRY = f"""
kvsync runs. Open a second terminal in this folder, run one of these commands,
and watch this one:

  change      sed -i 's/greeting: .*/greeting: Good evening/' \\
                  {EXAMPLE}/state/web.yaml
  mistake     echo 'keys: {{}}' >> {EXAMPLE}/state/web.yaml
  … and back  git checkout {EXAMPLE}/state
  drift       .venv/bin/python scripts/demo.py drift
  history     .venv/bin/kvsync -c {EXAMPLE}/kvsync.yaml history

kvsync applies a change at once, refuses a mistake with its line, and reverts
drift within 5 seconds. Ctrl-C ends it.
"""


def main(argument: str) -> int:
    """Show the plan and apply it; then stay and keep the store equal, unless the argument is `once`. With `drift`, change the
    store of a demo that runs. Returns an exit code."""
    os.chdir(ROOT)
    if argument == "drift":
        return change_by_hand("Changed by hand")
    if not start_fresh():
        print(f"A demo is already running on {EXAMPLE}; end it first.", file=sys.stderr)
        return 5
    if argument == "once":
        show("What the files ask for, against an empty store:", "plan")
        return show("One pass:", "run", "--once") or show("And what is left to do:", "plan", "--exit-code")
    # Written before the daemon starts, so that its log begins below the instructions.
    if code := show("The store is empty. kvsync writes what the files ask for:", "apply", "--yes"):
        return code
    print(TRY, flush=True)
    return stay()


def change_by_hand(text: str) -> int:
    """Change an entry in the store as another program would. Returns an exit code."""
    try:
        store = sqlite3.connect(f"file:{STATE_DIR}/store.db?mode=rw", uri=True)
    except sqlite3.OperationalError:
        print("No demo is running; start it with: make demo", file=sys.stderr)
        return 1
    with closing(store), store:
        store.execute("UPDATE entries SET value = ? WHERE namespace = 'web' AND key = 'greeting'", (text,))
    print(f"The store now says greeting: {text}")
    return 0


def stay() -> NoReturn:
    """Become `kvsync run`, so that every signal reaches it."""
    os.execv(KVSYNC[0], [*KVSYNC, "run"])


def start_fresh() -> bool:
    """Forget what an earlier demo left behind. False when one is still running."""
    if (STATE_DIR / "lock").exists():
        with (STATE_DIR / "lock").open("rb") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
    shutil.rmtree(STATE_DIR, ignore_errors=True)
    return True


def show(heading: str, *arguments: str) -> int:
    """Run one kvsync command under a heading, as a person would type it. Returns its exit code."""
    print(f"\n{heading}\n$ kvsync {' '.join(arguments)}", flush=True)
    return subprocess.run([*KVSYNC, *arguments], check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1] if len(sys.argv) > 1 else ""))
