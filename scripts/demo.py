"""The demo: a fresh SQLite store, kept equal to examples/quickstart while you change things (see `make demo`)."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NoReturn

ROOT = Path(__file__).resolve().parent.parent
EXAMPLE = Path("examples/quickstart")
STATE_DIR = EXAMPLE / ".kvsync"
KVSYNC = [str(Path(sys.executable).with_name("kvsync")), "--log-format", "console", "-c", str(EXAMPLE / "kvsync.yaml")]

TRY = f"""
Now kvsync runs. Open a second terminal in this folder, type one of these, and watch this one:

  a change       sed -i 's/greeting: .*/greeting: Good evening/' {EXAMPLE}/state/web.yaml
  a bad edit     echo 'keys: {{}}' >> {EXAMPLE}/state/web.yaml
  … and back     git checkout {EXAMPLE}/state
  drift (5 s)    python3 -c "import sqlite3; c = sqlite3.connect('{STATE_DIR}/store.db'); \\
                     c.execute(\\"UPDATE entries SET value = 'Hacked' WHERE key = 'greeting'\\"); c.commit()"
  what happened  .venv/bin/kvsync -c {EXAMPLE}/kvsync.yaml history

Ctrl-C ends it.
"""


def main(argument: str) -> int:
    """Show the plan and apply it; then stay and keep the store equal, unless the argument is `once`. Returns an exit code."""
    os.chdir(ROOT)
    if not start_fresh():
        print(f"A demo is already running on {EXAMPLE}; end it first.", file=sys.stderr)
        return 5
    show("What the files ask for, against an empty store:", "plan")
    if argument == "once":
        return show("One pass:", "run", "--once") or show("And what is left to do:", "plan", "--exit-code")
    print(TRY, flush=True)
    return stay()


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
