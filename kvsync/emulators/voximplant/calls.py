"""Request parameters in all forms that the API accepts.

The method is in the path (`/platform_api/GetKeyValueItem`) or in the parameter `cmd` of `/platform_api`; parameters are in the
query, in an urlencoded body or in a multipart form, or in several of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qsl

from kvsync.emulators.model import Request
from kvsync.emulators.multipart import is_multipart, parts
from kvsync.emulators.voximplant.errors import Refused

ROOT: Final = "/platform_api"
SET, GET, DELETE = "SetKeyValueItem", "GetKeyValueItem", "DelKeyValueItem"
ITEMS, KEYS = "GetKeyValueItems", "GetKeyValueKeys"
APPLICATIONS: Final = "GetApplications"
ADD_APPLICATION, RENAME_APPLICATION, DELETE_APPLICATION = "AddApplication", "SetApplicationInfo", "DelApplication"
CHANGES: Final = (SET, DELETE, ADD_APPLICATION, RENAME_APPLICATION, DELETE_APPLICATION)
OF_APPLICATIONS: Final = (APPLICATIONS, ADD_APPLICATION, RENAME_APPLICATION, DELETE_APPLICATION)
METHODS: Final = (SET, GET, DELETE, ITEMS, KEYS, *OF_APPLICATIONS)


@dataclass(frozen=True, slots=True)
class Call:
    """A method by the name that was given, known or not ("" for none), and its parameters."""

    method: str
    parameters: Mapping[str, str]

    def get(self, name: str) -> str | None:
        """A parameter; None when it was not given, or is empty."""
        return self.parameters.get(name) or None

    def need(self, name: str) -> str:
        """A parameter that must not be missing. Raises Refused."""
        if (found := self.get(name)) is None:
            raise Refused(485, name)
        return found

    def number(self, name: str) -> int | None:
        """A whole number; None when it was not given. Raises Refused."""
        text = self.get(name)
        if text is None:
            return None
        if not (text.removeprefix("-").isdecimal() and text.isascii() and len(text) < 20):
            raise Refused(496, name)
        return int(text)


def routed(path: str) -> bool:
    """Whether a path belongs to the API at all."""
    below = _below(path)
    return below is not None and "/" not in below


def read(request: Request, *, body_parameters: bool = True) -> Call:
    """Read the call of a request whose path is the API's; of two parameters of a name, that of the body counts.

    Without `body_parameters` a body is not looked at where the path names the method. Raises Refused.
    """
    method = _below(request.path) or ""
    parameters = dict(request.query)
    if body_parameters or not method:
        parameters |= _body(request)
    return Call(method or parameters.get("cmd", ""), parameters)


def _below(path: str) -> str | None:
    rest = path.removeprefix(ROOT)
    if rest == path or (rest and not rest.startswith("/")):
        return None
    return rest.removeprefix("/").removesuffix("/")


def _body(request: Request) -> dict[str, str]:
    kind = request.headers.get("Content-Type", "")
    try:
        if is_multipart(kind):
            return {name: content.decode() for name, content in parts(kind, request.body).items()}
        if kind.partition(";")[0].strip().lower() == "application/x-www-form-urlencoded":
            return dict(parse_qsl(request.body.decode(), keep_blank_values=True, errors="strict"))
    except ValueError:
        raise Refused(101) from None
    return {}
