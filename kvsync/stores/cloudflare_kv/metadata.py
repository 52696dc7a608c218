"""Metadata of an entry: the user's metadata, and the member reserved for kvsync.

{"region": "eu", "kvsync": {"o": "payments-gitops", "h": "9f86d081884c7d659a2feaa0c55ad015", "s": "A0Vhb5mK…", "t": 3600, …}}

o     owner
h     fingerprint of what was applied, in hexadecimal
s     seal that binds the mark to account, namespace, key and label, in URL-safe base64
t     lifetime in seconds, where there is one
f     "s" sensitive, "p" protected, "b" a value that is not text
c     content type, where there is one
tags  tags, where there are any
r     check of all that a listing shows of the content (content type, tags, the user's metadata), where there is any: who
      changes one of these and leaves the mark in place is found out without reading the value
"""

from __future__ import annotations

import json
from hashlib import blake2b
from typing import Any, Final, NamedTuple

from kvsync.model.canonical import canonical_json
from kvsync.model.entry import Content, Mark
from kvsync.planning.audit import is_text
from kvsync.stores.mark_fields import MarkFields

RESERVED: Final = "kvsync"
"""The member that is reserved for kvsync."""

_FIELDS: Final = MarkFields("o", "h", "s", "t", "f")

MOST_BYTES: Final = 1024
"""The size limit of all metadata of an entry as JSON text."""


_NOTHING: Final = (None, (), None)
_TOO_DEEP: Final = canonical_json("nested too deeply")
_SHORT: Final = 64
"""Characters of an owner with which a mark alone is never too long."""


class MetadataParts(NamedTuple):
    """Metadata taken apart: our mark, and the parts of the content. `listed` is the fingerprint that a listing can rely on,
    None if only the value can tell."""

    mark: Mark | None
    content_type: str | None
    tags: tuple[tuple[str, str], ...]
    metadata: str | None
    listed: bytes | None
    is_binary: bool = False


def parts_of(data: Any) -> MetadataParts:
    """Take apart metadata from the API. Never raises: a reserved member of another form counts as the user's."""
    ours = data.get(RESERVED) if isinstance(data, dict) else None
    if not isinstance(ours, dict):
        return MetadataParts(None, None, (), normal(data), None)
    metadata = normal({name: value for name, value in data.items() if name != RESERVED})
    content_type = ours.get("c") if isinstance(ours.get("c"), str) else None
    tags = _tags(ours.get("tags"))
    mark, flags = _FIELDS.mark(ours), ours.get("f")
    is_as_listed = ours.get("r") == _check(content_type, tags, metadata)
    listed = mark.fingerprint if mark is not None and is_as_listed else None
    return MetadataParts(mark, content_type, tags, metadata, listed, isinstance(flags, str) and "b" in flags)


def metadata_for(content: Content, mark: Mark | None) -> Any:
    """All metadata of an entry, None for none. Raises ValueError for metadata that cannot contain our member."""
    data = json.loads(content.metadata) if content.metadata is not None else {}
    ours = _ours(content, mark)
    if not ours:
        return data or None
    if not isinstance(data, dict):
        raise ValueError("metadata must be a JSON object, because kvsync keeps its mark in it")
    if RESERVED in data:
        raise ValueError(f'the member "{RESERVED}" of the metadata is reserved for kvsync; use another name')
    return {**data, RESERVED: ours}


def check_size(content: Content, mark: Mark | None, data: Any) -> None:
    """Raise ValueError, with the size, for metadata that is too long or not Unicode text; `data` is the result of
    `metadata_for`."""
    owner = "" if mark is None else mark.owner
    if content[1:4] == _NOTHING and len(owner) < _SHORT:
        return  # nothing but our mark, as most entries have
    try:
        size = len(_compact(data).encode())
    except UnicodeEncodeError:
        raise ValueError("the metadata is not Unicode text") from None
    if size > MOST_BYTES:
        with_ours = "including tags and kvsync's mark; cloudflare-kv allows at most"
        raise ValueError(f"the metadata has {size:,} bytes {with_ours} {MOST_BYTES:,}")


def normal(data: Any) -> str | None:
    """The user's metadata in canonical text; none and an empty object are the same. Whole numbers are written as integers,
    because JSON stores do not distinguish 1.0 from 1."""
    return None if data is None or data == {} else _canonical(data)


def _ours(content: Content, mark: Mark | None) -> dict[str, Any]:
    ours: dict[str, Any] = {}
    if mark is not None:
        ours = _FIELDS.of(mark)
        flags = ours.get(_FIELDS.flags, "") + "b" * (not is_text(content.value))
        ours |= {_FIELDS.flags: flags} if flags else {}
    ours |= {} if content.content_type is None else {"c": content.content_type}
    ours |= {"tags": dict(content.tags)} if content.tags else {}
    check = _check(content.content_type, content.tags, content.metadata)
    return ours if check is None or mark is None else ours | {"r": check}


def _tags(data: Any) -> tuple[tuple[str, str], ...]:
    if not isinstance(data, dict):
        return ()
    return tuple(sorted((name, text if isinstance(text, str) else _canonical(text)) for name, text in data.items()))


def _canonical(data: Any) -> str:
    try:
        return canonical_json(_whole(data))
    except ValueError:  # infinite numbers, which only a broken server sends; as text they equal nothing that a file has
        return canonical_json(json.loads(_compact(data), parse_constant=str))
    except RecursionError:
        return _TOO_DEEP


def _check(content_type: str | None, tags: tuple[tuple[str, str], ...], metadata: str | None) -> str | None:
    if content_type is None and not tags and metadata is None:
        return None
    text = _compact([content_type, tags, metadata])
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=4).hexdigest()


def _whole(data: Any) -> Any:
    if isinstance(data, float) and data.is_integer():
        return int(data)
    if isinstance(data, dict):
        return {name: _whole(value) for name, value in data.items()}
    return [_whole(value) for value in data] if isinstance(data, list) else data


_compact: Final = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode
