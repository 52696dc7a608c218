"""The one place where secrets are taken out of what leaves the process.

Two ways, both needed:

- by value: each secret is registered once it is known; its text is then replaced wherever it appears, plain, URL-encoded,
  JSON- or HTML-escaped, or in base64 (also inside a longer text that is in base64, as in basic authentication);
- by place: what stands under a name such as `token` or `password`, after `Bearer`, or in a URL before the `@`.

A secret of fewer than 6 characters is hidden by place only: replacing every `1` in an output would destroy it.
"""

from __future__ import annotations

import json
import re
from base64 import b64encode
from collections.abc import Iterable, Mapping
from threading import Lock
from typing import Any, Final

HIDDEN: Final = "***"
"""What stands in place of a secret."""

SHORTEST: Final = 6
"""Characters; shorter secrets are not replaced inside text."""

_SHORTEST_LINE: Final = 16
_SHORTEST_BASE64: Final = 8  # part of a base64 text shorter than this would hit by chance

_URL_SAFE: Final = (
    "",
    "/",
    "!'()*~",
    "!$&'()*+,;=:@",
    "!$&'()*+,;=:@/",
    "!$&'()*+,;=:@/?",
)  # what different clients leave as it is

_NAMES: Final = re.compile(
    r"(?:^|[_.\- ])(?:token|password|passwd|secret|authorization|credentials?|cookie|signature|connection[_-]?string|"
    r"(?:api|private|access|account)[_-]?key)$"
)
_CAMEL: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_PLACES: Final = (
    re.compile(r"(?i)(?<=\bbearer )[\w.~+/=-]{8,}"),
    re.compile(r"(?<=://)[^/\s:@]*:[^/\s@]+(?=@)"),
    re.compile(r"(?i)(?<=[?&])(?:access_token|token|api[_-]?key|password|secret|sig|signature)=[^&\s\"'#]+"),
)


_EXACT: Final = frozenset(
    {
        "digest", "environment", "etag", "fingerprint", "key", "label", "namespace", "origin", "owner", "run", "schema",
        "seal", "store", "type",
    }
)  # fmt: skip
"""Fields that name things openly, or cannot tell a value: programs need them as they are, whatever a secret looks like."""

_DIGITS: Final = re.compile(r"(?:sha256:)?[0-9a-f]{16,}")


class Redactor:
    """Knows the secrets of this process and takes them out of text and data. Thread-safe."""

    __slots__ = ("_forms", "_known", "_lock")

    def __init__(self) -> None:
        self._lock = Lock()
        self._known: set[str] = set()
        self._forms: list[str] = []  # only ever grows, so that it may be read while another thread adds to it

    def __repr__(self) -> str:
        return "Redactor()"

    def register(self, *secrets: str | bytes) -> None:
        """Take these secrets, and the secrets inside them (lines of a key file, parts of a connection string), out of
        everything from now on. Anything shorter than 6 characters is ignored."""
        for secret in map(_text, secrets):
            if secret not in self._known:
                self._add({secret, *(form for part in _parts(secret) for form in _forms(part))})

    def _add(self, forms: set[str]) -> None:
        with self._lock:
            self._forms.extend(sorted(form for form in forms - self._known if len(form) >= SHORTEST))
            self._known |= forms

    def redact(self, text: str) -> str:
        """`text` with every registered secret, in whatever form, replaced by `***`."""
        forms = self._forms
        while hit := [form for form in forms if form in text]:
            text = _cover(text, hit)  # again: what is left on both sides may join into a secret
        return _hide_places(text)

    def redact_data(self, data: Any, name: str | None = None) -> Any:
        """The same for data: mappings, lists, tuples, sets, text and bytes, recursively, by value and by the name of the
        field (`name` is that of `data` itself). Objects of other types become text."""
        if data is None or isinstance(data, bool):
            return data
        if name is not None and is_secret_name(name):
            return HIDDEN
        if isinstance(data, str):
            return self.redact(data)
        if isinstance(data, Mapping):
            return {self._key(key): self.redact_data(value, str(key)) for key, value in data.items()}
        if isinstance(data, list | tuple | set | frozenset):
            items = [self.redact_data(item) for item in data]
            return tuple(items) if isinstance(data, tuple) else items
        return self._other(data)

    def clean(self, document: Any, name: str | None = None) -> Any:
        """An answer for programs with secrets taken out of every text, except where a field names things openly (`name` is that
        of `document` itself)."""
        if isinstance(document, dict):
            return {key: self.clean(value, key) for key, value in document.items()}
        if isinstance(document, list | tuple):
            return [self.clean(item, name) for item in document]
        if not isinstance(document, str) or name in _EXACT or _DIGITS.fullmatch(document):
            return document
        return self.redact(document)

    def clean_text(self, document: Any) -> str:
        """An answer for programs as one line of JSON, `clean`."""
        text = json.dumps(document, separators=(", ", ": "))
        if (
            self.redact(text) == text
        ):  # cleaning each text apart costs more than all else, so it is done when there is need
            return text + "\n"
        return json.dumps(self.clean(document), separators=(", ", ": ")) + "\n"

    def _key(self, key: Any) -> Any:
        return self.redact_data(key) if isinstance(key, str | bytes) else key

    def _other(self, data: Any) -> Any:
        if isinstance(data, bytes | bytearray):
            return self.redact(data.decode("utf-8", "surrogateescape")).encode("utf-8", "surrogateescape")
        text = str(data)
        clean = self.redact(text)
        return data if isinstance(data, int | float) and clean == text else clean


REDACTOR: Final = Redactor()
"""The redactor of this process: credentials and sensitive values are registered here as soon as they are known."""


def is_secret_name(name: str) -> bool:
    """True for the name of a field that holds a secret: `token`, `client_secret`, `X-Api-Key`, `accessToken`."""
    return _NAMES.search(_CAMEL.sub("_", name).lower()) is not None


def _text(secret: str | bytes) -> str:
    return secret if isinstance(secret, str) else secret.decode("utf-8", "surrogateescape")


def _parts(secret: str) -> Iterable[str]:
    """The secret, and what is secret on its own inside it."""
    yield secret
    yield secret.strip()
    lines = [line.strip() for line in secret.splitlines()]
    if len(lines) > 1:
        yield from (line for line in lines if len(line) >= _SHORTEST_LINE and not line.startswith("-----"))
    if secret.lstrip().startswith("{"):
        yield from _json_parts(secret)
    for pair in secret.split(";"):
        name, equals, value = pair.partition("=")
        if equals and is_secret_name(name.strip()):
            yield value.strip()


def _json_parts(secret: str) -> Iterable[str]:
    try:
        data = json.loads(secret)
    except (ValueError, RecursionError):
        return
    for name, value in data.items():
        if isinstance(value, str) and is_secret_name(name):
            yield from _parts(value)


def _forms(secret: str) -> Iterable[str]:
    """Every text under which a secret may appear."""
    from html import escape
    from urllib.parse import quote, quote_plus

    if len(secret) < SHORTEST:
        return
    raw = secret.encode("utf-8", "surrogateescape")
    urls = {quote_plus(raw), *(quote(raw, safe=safe) for safe in _URL_SAFE)}
    yield from {secret, escape(secret), json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1]}
    yield from {repr(secret)[1:-1], repr(raw)[2:-1], *urls, *map(_lower_percent, urls)}
    yield from _base64_forms(raw)


def _lower_percent(url: str) -> str:
    return re.sub(r"%[0-9A-F]{2}", lambda match: match[0].lower(), url)


def _base64_forms(raw: bytes) -> Iterable[str]:
    whole = b64encode(raw).decode()
    inside = (_base64_inside(raw, offset) for offset in range(3))
    for form in (whole.rstrip("="), *(form for form in inside if len(form) >= _SHORTEST_BASE64)):
        yield form
        yield form.replace("+", "-").replace("/", "_")


def _base64_inside(raw: bytes, offset: int) -> str:
    """The characters that stand for `raw` alone where it begins `offset` bytes after a group of three."""
    encoded = b64encode(bytes(offset) + raw).decode()
    first = (offset * 8 + 5) // 6
    return encoded[first : (offset + len(raw)) * 8 // 6]


def _cover(text: str, forms: Iterable[str]) -> str:
    """`text` with everything that is part of any of `forms` replaced, each stretch by one `***`."""
    spans = sorted(span for form in forms for span in _spans(text, form))
    pieces: list[str] = []
    end = 0
    for start, stop in spans:
        if start > end or not pieces:
            pieces += [text[end:start], HIDDEN]
        end = max(end, stop)
    return "".join(pieces) + text[end:]


def _spans(text: str, form: str) -> Iterable[tuple[int, int]]:
    start = text.find(form)
    while start >= 0:
        yield start, start + len(form)
        start = text.find(form, start + 1)


def _hide_places(text: str) -> str:
    for place in _PLACES:
        text = place.sub(_hide_match, text)
    return text


def _hide_match(match: re.Match[str]) -> str:
    before, separator, _ = match[0].partition("=" if "=" in match[0] else ":")
    return f"{before}{separator}{HIDDEN}" if separator else HIDDEN
