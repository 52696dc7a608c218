"""Local emulators of remote stores: the real HTTP API on loopback, faithful enough for the vendor's own SDK.

    async with running(Options(type="azure-appconfig")) as server:
        server.url, server.env

`model` is the seam that each type of store implements, `server` speaks HTTP for all of them, and `faults`, `clock`, `stats`,
`storage` and `control` are what they share. Nothing here is imported before an emulator is wanted.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Final

from kvsync.errors import UsageError

if TYPE_CHECKING:
    from kvsync.emulators.model import Emulator, Parts

TYPES: Final = {
    "apify": "kvsync.emulators.apify.app:Apify",
    "azure-appconfig": "kvsync.emulators.azure.app:AzureAppConfig",
    "cloudflare-kv": "kvsync.emulators.cloudflare.app:CloudflareKV",
    "voximplant": "kvsync.emulators.voximplant.app:Voximplant",
}
"""Store type to the class that stands in for it, imported when it is wanted."""


def build(type_: str, parts: Parts) -> Emulator:
    """The emulator of a store type. Raises UsageError for a type that has none, and for switches it does not know."""
    if type_ not in TYPES:
        raise UsageError(f"there is no emulator of {type_!r}; there are: {', '.join(sorted(TYPES))}")
    module, name = TYPES[type_].split(":")
    class_: type[Emulator] = getattr(import_module(module), name)
    for switch, value in parts.options.switches.items():
        if switch not in class_.switches:
            known = ", ".join(class_.switches) or "none"
            raise UsageError(f"the emulator of {type_} has no switch {switch!r}; it has: {known}")
        if (values := class_.switches[switch]) and value not in values:
            raise UsageError(f"switch {switch} is one of {', '.join(values)}, not {value!r}")
    return class_(parts)
