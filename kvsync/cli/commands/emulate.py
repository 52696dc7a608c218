"""The command `kvsync emulate`."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

import click

from kvsync.cli.command import GlobalOptions, command
from kvsync.cli.exit_codes import Exit
from kvsync.emulators import TYPES
from kvsync.errors import UsageError


@command(
    "emulate",
    short_help="Run a local emulator of a remote store.",
    examples=(
        "emulate azure-appconfig",
        "emulate azure-appconfig --port 8080 --data .emulator",
        "emulate azure-appconfig --fault 429:0.2,drop-after-write:0.1,latency:50ms --seed 7",
    ),
    exits=(Exit.DONE, Exit.ERROR),
)
@click.argument("type_", type=click.Choice(sorted(TYPES)), metavar=f"{{{','.join(sorted(TYPES))}}}")
@click.option("--host", default="127.0.0.1", show_default=True, help="Loopback address to listen on.")
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="Port to listen on; 0 picks a free one.")
@click.option(
    "--data", metavar="DIR", type=click.Path(path_type=Path), help="Keep data in this folder across restarts."
)
@click.option("--fault", metavar="SPEC", default="", help="Faults to inject, such as 429:0.2,latency:50ms.")
@click.option("--seed", type=int, default=0, help="Seed of the random faults; the same seed gives the same faults.")
@click.option("--tls", is_flag=True, help="Serve HTTPS with a self-signed certificate.")
@click.option("--anonymous", is_flag=True, help="Also accept requests without a credential.")
@click.option("--token", metavar="TEXT", help="Bearer token to accept, instead of the default one.")
@click.option(
    "--allow-host",
    "allowed",
    metavar="NAME",
    multiple=True,
    help="Also accept requests for this host name; repeatable.",
)
@click.option(
    "--switch",
    "switches",
    metavar="NAME=VALUE",
    multiple=True,
    help="Change one behaviour of the emulator, such as access-keys=off; repeatable.",
)
def emulate(
    _settings: GlobalOptions, type_: str, switches: tuple[str, ...], allowed: tuple[str, ...], **options: Any
) -> Exit:
    """Serve the HTTP API of a store on loopback until SIGTERM or Ctrl-C. The vendor's own SDK works with it.

    When it is ready, it prints one line of JSON: its URL, and the environment variables that clients read. It needs no
    configuration.
    """
    try:
        from kvsync.emulators.server import serve

        import_module(TYPES[type_].partition(":")[0])
        if options["tls"]:
            import_module("kvsync.emulators.tls")
    except ImportError as error:
        raise UsageError(f"the emulators need more packages ({error}); run pip install 'kvsync[emulate]'") from None
    import asyncio  # the help of kvsync does not pay for it

    from kvsync.emulators.model import Options

    hosts = tuple(name.lower() for name in allowed)
    asyncio.run(serve(Options(type_, **options, switches=dict(map(_switch, switches)), allowed_hosts=hosts)))
    return Exit.DONE


def _switch(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise UsageError(f"--switch {text!r}: expected NAME=VALUE")
    return name, value
