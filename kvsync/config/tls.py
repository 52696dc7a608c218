"""Fields of a `tls` section: authorities, and the certificate that kvsync shows."""

from __future__ import annotations

from typing import Final

from kvsync.yaml.credential import credential
from kvsync.yaml.fields import Field, path

TLS_FIELDS: Final = (
    Field("ca", path(), help="PEM file with the certificate authorities that sign the servers' certificates."),
    Field("cert", credential(), help="Certificate that kvsync shows, as PEM."),
    Field("key", credential(), help="Key of that certificate, as PEM without a password."),
)
