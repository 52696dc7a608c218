"""Reads, writes and deletes one record."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

from kvsync.emulators.apify.contents import Contents
from kvsync.emulators.apify.encodings import accepted, decode, named
from kvsync.emulators.apify.listing import flag
from kvsync.emulators.apify.model import Record, Store
from kvsync.emulators.apify.problems import BAD_KEY, ENCODED_HTML, NO_RECORD, Refused, invalid, too_large
from kvsync.emulators.apify.schema import check_record, media_type
from kvsync.emulators.apify.settings import Settings
from kvsync.emulators.model import Answer, Request

_KEY: Final = re.compile(r"[a-zA-Z0-9!\-_.'()]{1,256}")
_UNKNOWN_TYPE: Final = "application/octet-stream"
_HTML: Final = "text/html"
_GUARD: Final = b'<meta http-equiv="Content-Security-Policy" content="sandbox">'


@dataclass(frozen=True, slots=True)
class Records:
    """Answers `…/records/{recordKey}`."""

    settings: Settings

    def get(self, store: Store, contents: Contents, key: str, request: Request) -> Answer:
        """The record as it is, for readers who accept its encoding, and decoded for others. Raises Refused (404)."""
        record = _existing(contents, key)
        headers = {"Content-Type": record.content_type, "Vary": "Accept-Encoding"}
        attachment = flag(dict(request.query), "attachment")
        if attachment:
            headers["Content-Disposition"] = f'attachment; filename="{key}"'
        as_it_is = accepted(request.headers.get("Accept-Encoding", ""), record.encoding)
        guarded = self.settings.guards_html and not attachment and media_type(record.content_type) == _HTML
        if self.settings.redirects and as_it_is and not guarded and request.method == "GET":
            return Answer(302, {"Location": self._storage_url(store, key, request)})
        body, encoding = (record.body, record.encoding) if as_it_is else _decoded(record)
        if encoding:
            headers["Content-Encoding"] = encoding
        return Answer(200, headers, _GUARD + body if guarded else body)

    def read(self, store: Store, key: str, request: Request) -> Record:
        """What a PUT wants a key to hold. Raises Refused (400, 413, 415)."""
        check_key(key)
        if len(request.body) > self.settings.largest_record:
            raise too_large(self.settings.largest_record, len(request.body))
        encoding = named(request.headers.get("Content-Encoding", ""))
        record = Record(request.body, _content_type(request), encoding)
        if encoding and self.settings.guards_html and media_type(record.content_type) == _HTML:
            raise Refused(ENCODED_HTML)
        check_record(store.schema, key, record)
        return record

    def from_storage(self, contents: Contents, key: str, request: Request) -> Answer:
        """What a redirect leads to: the record as it was uploaded. Raises Refused (404)."""
        if self.settings.strict_redirects and "Authorization" in request.headers:
            text = "<Error><Code>InvalidArgument</Code><Message>Only one auth mechanism allowed</Message></Error>"
            return Answer(400, {"Content-Type": "application/xml"}, text.encode())
        record = _existing(contents, key)
        headers = {"Content-Type": record.content_type}
        return Answer(200, headers | ({"Content-Encoding": record.encoding} if record.encoding else {}), record.body)

    def _storage_url(self, store: Store, key: str, request: Request) -> str:
        """On the same server, but for `strict` under another name of it, so that clients see another host."""
        origin = request.origin
        if self.settings.strict_redirects:
            this, other = ("127.0.0.1", "localhost") if "127.0.0.1" in origin else ("localhost", "127.0.0.1")
            origin = origin.replace(this, other)
        return f"{origin}/_storage/{store.id}/{quote(key, safe='')}"


def check_key(key: str) -> str:
    """The key, if it may be one. Raises Refused (400)."""
    if not _KEY.fullmatch(key) or key in (".", ".."):
        raise Refused(BAD_KEY)
    return key


def _content_type(request: Request) -> str:
    found = request.headers.get("Content-Type", _UNKNOWN_TYPE)
    if not found.isascii():
        raise invalid("Invalid value provided: Content-Type must be ASCII")
    return found


def _existing(contents: Contents, key: str) -> Record:
    found = contents.get(check_key(key))
    if found is None:
        raise Refused(NO_RECORD)
    return found


def _decoded(record: Record) -> tuple[bytes, str]:
    """Body and encoding, as it was uploaded where it does not have the encoding that its sender named."""
    try:
        return decode(record.body, record.encoding), ""
    except ValueError:
        return record.body, record.encoding
