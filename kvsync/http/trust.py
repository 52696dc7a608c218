"""The certificate authorities that connections trust, and the messages for their faults."""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Final

from kvsync.errors import PermanentError

_VARIABLES: Final = ("SSL_CERT_FILE", "SSL_CERT_DIR")


def trusting(ca_file: Path | None, default: Callable[[], ssl.SSLContext]) -> ssl.SSLContext:
    """The context that trusts the authorities in `ca_file`, without one the `default`: those of the environment or the system.
    Raises PermanentError where they cannot be read."""
    try:
        return default() if ca_file is None else ssl.create_default_context(cafile=ca_file)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        message = f"the CA certificates {_source(ca_file)} cannot be used: {reason}; name a PEM file"
        raise PermanentError(message) from error


def not_trusted(error: Exception) -> PermanentError:
    """The error for a server whose certificate was refused with this one."""
    reason = error.verify_message if isinstance(error, ssl.SSLCertVerificationError) else str(error)
    return PermanentError(
        f"the server's certificate is not trusted: {reason}; correct the endpoint, or set SSL_CERT_FILE to its CA file"
    )


def _source(ca_file: Path | None) -> str:
    if ca_file is not None:
        return str(ca_file)
    name = next((name for name in _VARIABLES if os.environ.get(name)), None)
    return "of this machine" if name is None else f"in {os.environ[name]} (from {name})"
