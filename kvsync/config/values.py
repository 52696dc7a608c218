"""Decoders for URLs, addresses, cron expressions, time zones and key formats in `kvsync.yaml`."""

from __future__ import annotations

import ipaddress
import re
from typing import Final
from urllib.parse import urlsplit

from kvsync.util.patterns import lazy_pattern
from kvsync.yaml.fields import Decoder, ScalarDecoder

NAME: Final = r"[A-Za-z0-9._-]+"
"""What the name of a store looks like."""

_LABEL: Final = lazy_pattern(r"[A-Za-z0-9_-]{1,63}")
_MOST_HOST: Final = 253
"""Characters of a host name."""

_ANY_TEXT: Final = {"type": "string", "minLength": 1}


def url() -> Decoder:
    """The base URL of an API, without a trailing slash. Never repeated in messages: people paste secrets into URLs."""

    def read(written: str, _plain: bool) -> str:
        return checked_url(written)

    rules = {"type": "string", "pattern": r"^https?://[^\s?#@]+$"}
    return ScalarDecoder("the URL of an API", read, rules, private=True)


def checked_url(written: str) -> str:
    """The base URL of an API, without a trailing slash. Raises ValueError for a URL that cannot be connected to; the message
    repeats nothing of the text."""
    try:
        parts = urlsplit(written)
    except ValueError:
        raise ValueError("the host in brackets is not an IPv6 address") from None
    if parts.scheme not in {"http", "https"} or not parts.hostname or re.search(r"[\s\0]", written):
        raise ValueError("such as https://api.example.com/v1")
    if "@" in parts.netloc:
        raise ValueError("a URL must not contain a user or password")
    if parts.query or parts.fragment:
        raise ValueError("? and # are not allowed after the path")
    try:
        _ = parts.port
    except ValueError:
        raise ValueError("the port is not a number from 0 to 65535") from None
    if not _is_host(parts.hostname):
        raise ValueError(
            "the host is not a host name: labels of 1 to 63 ASCII letters, digits and hyphens, with dots in between"
            " (a variable in it may be empty; write other letters in the form xn--...)"
        )
    return written.rstrip("/")


def _is_host(host: str) -> bool:
    """True for a name that DNS can hold, and for an IP address without brackets."""
    if ":" in host:
        return _is_address(host.partition("%")[0])
    name = host.removesuffix(".")
    return len(name) <= _MOST_HOST and all(map(_LABEL.fullmatch, name.split(".")))


def _is_address(text: str) -> bool:
    try:
        return bool(ipaddress.ip_address(text))
    except ValueError:
        return False


def is_plain_http(address: object) -> bool:
    """True for a URL that would send secrets unencrypted over a network: `http://` towards anything but this machine."""
    if not isinstance(address, str) or not address.lower().startswith("http://"):
        return False
    return not is_loopback(urlsplit(address).hostname or "")


def is_loopback(host: str) -> bool:
    """True for a host that is this machine and nobody else's: `localhost` or a loopback address (IPv6 without brackets)."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def host_and_port(listen: str) -> tuple[str, int]:
    """Both parts of an address that `listen` accepted; IPv6 without brackets."""
    host, _, port = listen.rpartition(":")
    return host.removeprefix("[").removesuffix("]"), int(port)


def cron() -> Decoder:
    """A cron expression of five fields, as crontab(5) means it; gives the text."""

    def read(written: str, _plain: bool) -> str:
        from kvsync.planning.cron import Cron

        return Cron.parse(written).text

    return ScalarDecoder('a cron expression such as "*/15 * * * *"', read, _ANY_TEXT)


def timezone() -> Decoder:
    """The name of a time zone, such as `Europe/Paris`; gives the name."""

    def read(written: str, _plain: bool) -> str:
        from zoneinfo import ZoneInfo

        try:
            return written if written == "UTC" else ZoneInfo(written).key
        except (OSError, ValueError, KeyError):
            raise ValueError("unknown time zone on this machine") from None

    return ScalarDecoder("a time zone such as Europe/Paris", read, _ANY_TEXT)


def listen() -> Decoder:
    """An address to listen on, `host:port`; IPv6 in brackets; gives the text."""
    pattern = r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):([0-9]{1,5})"

    def read(written: str, _plain: bool) -> str:
        match = re.fullmatch(pattern, written)
        if match is None:
            raise ValueError("write host and port; 0.0.0.0 means all interfaces")
        if int(match[2]) > 65535:
            raise ValueError("the highest port is 65535")
        return written

    return ScalarDecoder("an address such as 127.0.0.1:9464", read, {"type": "string", "pattern": f"^{pattern}$"})


def key_format() -> Decoder:
    """How identities become remote keys: `{key}`, and where wanted `{namespace}` and `{label}`; gives the text."""

    def read(written: str, _plain: bool) -> str:
        from kvsync.model.key_format import KeyFormat

        KeyFormat(written)
        return written

    rules = {"type": "string", "pattern": r"^[^{}]*(\{(namespace|label|key)\}[^{}]*)+$"}
    return ScalarDecoder('a format such as "{namespace}/{key}"', read, rules)
