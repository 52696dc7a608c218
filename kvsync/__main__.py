"""Entry point of `kvsync` and `python -m kvsync`."""

from __future__ import annotations

import gc
import sys


def main() -> int:
    """Run the command line of this process. Returns its exit code."""
    arguments = sys.argv[1:]
    if arguments == ["--version"]:  # answered before anything is imported
        from kvsync.util.version import version_text

        sys.stdout.write(f"{version_text()}\n")
        return 0
    # Plans are thousands of small values without cycles: looking for cycles at every few hundred costs a fifth of the time.
    gc.set_threshold(50_000, 20, 20)
    try:
        from kvsync.cli.main import run

        return run(arguments)
    except (MemoryError, SystemError) as error:  # also where there is no memory to find words for another error
        if isinstance(error, SystemError) and "exception" not in str(error):
            raise
        sys.stderr.write("kvsync: out of memory; raise the limit\n")
        return 1
    finally:
        gc.freeze()  # the interpreter ends: it need not look for cycles in all that is still there


if __name__ == "__main__":
    sys.exit(main())
