"""Entry point of `kvsync` and `python -m kvsync`."""

from __future__ import annotations

import sys


def main() -> int:
    """Run the command line of this process. Returns its exit code."""
    arguments = sys.argv[1:]
    if arguments == ["--version"]:  # answered before anything is imported
        from kvsync.util.version import version_text

        sys.stdout.write(f"{version_text()}\n")
        return 0
    from kvsync.cli.main import run

    return run(arguments)


if __name__ == "__main__":
    sys.exit(main())
