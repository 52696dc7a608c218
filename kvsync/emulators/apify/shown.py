"""JSON form of stores and keys, with signed URLs for writers."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from kvsync.emulators.apify import routes, signatures
from kvsync.emulators.apify.model import Record, Store
from kvsync.emulators.apify.stores import username


def store(found: Store, size: int, origin: str, *, writer: bool) -> dict[str, Any]:
    """A store; who may write also sees the secret that signs its URLs."""
    signed = f"?signature={signatures.of_store(found.secret, found.id)}" if writer else ""
    url = store_url(origin, found.id)
    shown = {
        "id": found.id,
        "name": found.name,
        "title": found.title,
        "userId": found.owner,
        "username": username(found.owner),
        **found.times(),
        "actId": None,
        "actRunId": None,
        "consoleUrl": f"https://console.apify.com/storage/key-value-stores/{found.id}",
        "keysPublicUrl": f"{url}/keys{signed}",
        "recordsPublicUrl": f"{url}/records{signed}",
        "schema": found.schema,
        "generalAccess": found.general_access,
        "stats": found.stats(size),
    }
    return shown | ({"urlSigningSecretKey": found.secret} if writer else {})


def key(found: Store, name: str, record: Record, origin: str, *, writer: bool) -> dict[str, Any]:
    """A key in a listing; the size is that of the bytes as they are stored."""
    signed = f"?signature={signatures.of_record(found.secret, name)}" if writer else ""
    return {"key": name, "size": len(record.body), "recordPublicUrl": record_url(origin, found.id, name) + signed}


def store_url(origin: str, id_: str) -> str:
    """Where a store is."""
    return f"{origin}{routes.ROOT}{routes.STORES}/{id_}"


def record_url(origin: str, id_: str, name: str) -> str:
    """Where a record is."""
    return f"{store_url(origin, id_)}/records/{quote(name, safe='')}"
