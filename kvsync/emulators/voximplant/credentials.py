"""Service account, and its key file for clients."""

from __future__ import annotations

import json
import os
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from kvsync.errors import UsageError

ACCOUNT_ID: Final = 1234567
ACCOUNT_NAME: Final = "kvsync-emulator"
ACCOUNT_EMAIL: Final = "emulator@example.com"
_KEY_ID: Final = "6b767379-6e63-4000-8000-766f78696d70"
_FILE: Final = "voximplant-credentials.json"


@dataclass(frozen=True, slots=True)
class ServiceAccount:
    """Id and public half of the key that tokens are signed with; `file` is what the vendor calls `credentials.json`."""

    key_id: str
    public_key: rsa.RSAPublicKey
    file: Path
    folder: tempfile.TemporaryDirectory[str] | None = None

    @classmethod
    def take(cls, data: Path | None) -> ServiceAccount:
        """The account of a folder, made where there is none; None is a folder that goes when `close` is called.

        Raises UsageError when the file there cannot be used.
        """
        folder = None if data else tempfile.TemporaryDirectory(prefix="kvsync-emulator-")
        file = (Path(folder.name) if folder else data or Path()).resolve() / _FILE
        try:
            if not file.exists():
                _write(file)
            document = json.loads(file.read_text(encoding="utf-8"))
            key = serialization.load_pem_private_key(document["private_key"].encode(), None)
            assert isinstance(key, rsa.RSAPrivateKey)
            return cls(str(document["key_id"]), key.public_key(), file, folder)
        except (OSError, ValueError, TypeError, KeyError, AttributeError, AssertionError):
            raise UsageError(f"{file} holds no service account; remove it, and another one is made") from None

    def close(self) -> None:
        """Remove the file if nobody asked to keep it."""
        if self.folder is not None:
            self.folder.cleanup()


def _write(file: Path) -> None:
    """Whole or not at all, and for its owner alone."""
    document = {
        "account_email": ACCOUNT_EMAIL,
        "account_id": ACCOUNT_ID,
        "key_id": _KEY_ID,
        "private_key": _private_key(),
    }
    handle, name = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
    with os.fdopen(handle, "w", encoding="utf-8") as stream:
        json.dump(document, stream, indent=1)
    Path(name).replace(file)


@cache
def _private_key() -> str:
    """A key of 2,048 bits as PEM. One is enough for all emulators of a process: making it takes a while."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pkcs8, plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, pkcs8, plain).decode()
