"""The certificate authorities that connections trust, and messages about certificates."""

from __future__ import annotations

import os
import ssl
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from kvsync.errors import PermanentError

_VARIABLES: Final = ("SSL_CERT_FILE", "SSL_CERT_DIR")


@dataclass(frozen=True, slots=True)
class ClientCertificate:
    """The certificate and key for a server that asks for one, as PEM text."""

    certificate: str
    key: str = field(repr=False)


def trusting(
    ca_file: Path | None, default: Callable[[], ssl.SSLContext], shown: ClientCertificate | None = None
) -> ssl.SSLContext:
    """The context that trusts the authorities in `ca_file`; without one the `default`: those of the environment or the system.
    It shows the certificate `shown`. Raises PermanentError if one of them cannot be used."""
    try:
        context = default() if ca_file is None else ssl.create_default_context(cafile=ca_file)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        message = f"the CA certificates {_source(ca_file)} cannot be used: {reason}; name a PEM file"
        raise PermanentError(message) from error
    if shown is not None:
        _load(context, shown)
    return context


def _load(context: ssl.SSLContext, shown: ClientCertificate) -> None:
    with _as_file(f"{shown.certificate}\n{shown.key}\n") as name:
        try:
            context.load_cert_chain(name, password="")  # nosec B106  # an encrypted key must not ask on the terminal
        except (OSError, ValueError) as error:
            reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
            message = f"the client certificate cannot be used: {reason}; name a PEM certificate and its unencrypted key"
            raise PermanentError(message) from None


@contextmanager
def _as_file(text: str) -> Iterator[str]:
    """The name of a file with this text, for the ssl module, which accepts only files. The file is in memory if the system
    supports that."""
    if hasattr(os, "memfd_create"):
        with os.fdopen(os.memfd_create("kvsync"), "w") as file:
            file.write(text)
            file.flush()
            yield f"/proc/self/fd/{file.fileno()}"
    else:
        with tempfile.NamedTemporaryFile("w") as named:
            named.write(text)
            named.flush()
            yield named.name


def not_trusted(error: Exception) -> PermanentError:
    """The error for a server whose certificate was refused with this one."""
    reason = error.verify_message if isinstance(error, ssl.SSLCertVerificationError) else str(error)
    remedy = "correct the endpoint, or name its CA file in ca_file of the store or in SSL_CERT_FILE"
    return PermanentError(f"the server's certificate is not trusted: {reason}; {remedy}")


def _source(ca_file: Path | None) -> str:
    if ca_file is not None:
        return str(ca_file)
    name = next((name for name in _VARIABLES if os.environ.get(name)), None)
    return "of this machine" if name is None else f"in {os.environ[name]} (from {name})"
