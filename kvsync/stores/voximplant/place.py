"""Place of a namespace: endpoint, account, application, and key prefix.

Accounts and applications are numbered from one on each service, so the endpoint is a part of the place.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

from kvsync.config.credentials import describe
from kvsync.config.model import StoreConfig
from kvsync.model.place import KeyScope, Place, origin_of

ENDPOINT: Final = "https://api.voximplant.com"
"""Where the service is, unless the configuration says otherwise."""


@dataclass(frozen=True, slots=True)
class Application:
    """One application of one account, by the service's own numbers. `name` is for people, empty where it is not known."""

    account: str
    id: str
    name: str = field(default="", compare=False)

    def __str__(self) -> str:
        return f"application {self.id} of account {self.account}"


def offline_place(config: StoreConfig, scope: KeyScope) -> Place:
    """The place as far as the configuration tells: the reference to the credentials is in place of the account."""
    id_, name = config.options.get("application_id"), config.options.get("application")
    application = ("application", str(id_)) if id_ is not None else ("application name", str(name))
    credentials = ("credentials", describe(config.options["credentials"]))
    parts = (("endpoint", _endpoint(config)), credentials, application)
    return Place(config.type, parts, scope, is_resolved=False)


def place_of(config: StoreConfig, application: Application, scope: KeyScope) -> Place:
    """The place of a namespace in an application."""
    ids = (("account", application.account), ("application", application.id))
    return Place(config.type, (("endpoint", _endpoint(config)), *ids), scope, detail=application.name)


def _endpoint(config: StoreConfig) -> str:
    """The endpoint in one spelling, with its path where it has one: look-alikes may share a host."""
    url = config.endpoint or ENDPOINT
    return origin_of(url) + urlsplit(url).path.rstrip("/")
