"""Certificate authority and loopback certificate, created for each run."""

from __future__ import annotations

import ssl
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import trustme

_NAMES: Final = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True, slots=True)
class Certificates:
    """`context` serves; `ca` is the file that a client must trust. The folder goes when `close` is called."""

    context: ssl.SSLContext
    ca: Path
    folder: tempfile.TemporaryDirectory[str]

    @classmethod
    def make(cls, host: str) -> Certificates:
        """For loopback names and this host."""
        folder = tempfile.TemporaryDirectory(prefix="kvsync-emulator-")
        authority = trustme.CA(organization_name="kvsync emulator")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert(*dict.fromkeys((*_NAMES, host))).configure_cert(context)
        ca = Path(folder.name) / "ca.pem"
        authority.cert_pem.write_to_path(ca)
        return cls(context, ca, folder)

    def close(self) -> None:
        """Remove the files."""
        self.folder.cleanup()
