"""Resolves credential references to secrets, just before use, and registers them for redaction."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from kvsync.config.model import Credential, CredentialKind
from kvsync.errors import AuthError
from kvsync.util.redaction import REDACTOR, Redactor

_LARGEST: Final = 1024 * 1024
"""Bytes; a file larger than this holds no credential."""


def resolve(
    credential: Credential, config_root: Path, environ: Mapping[str, str], redactor: Redactor = REDACTOR
) -> str:
    """The secret that `credential` refers to, without the newlines at its end.

    Files are relative to `config_root` and read at every call, so that a rotated secret is found. The value is registered
    with `redactor` before it is returned. Raises AuthError, which names the reference and never the value.
    """
    if credential.kind is CredentialKind.ENV:
        value = _from_environment(credential, environ)
    else:
        value = _from_file(credential, _file_of(credential, config_root, environ))
    value = value.rstrip("\r\n")
    if not value:
        raise _unusable(credential, "is empty")
    redactor.register(value)
    return value


def describe(credential: Credential) -> str:
    """The reference in words: `the environment variable API_TOKEN`."""
    words = {
        CredentialKind.ENV: "the environment variable",
        CredentialKind.FILE: "the credential file",
        CredentialKind.CREDENTIAL: "the systemd credential",
    }
    return f"{words[credential.kind]} {credential.name}"


def _from_environment(credential: Credential, environ: Mapping[str, str]) -> str:
    value = environ.get(credential.name)
    if value is None:
        raise _unusable(credential, "is not set; set it, or correct its name")
    return value


def _file_of(credential: Credential, config_root: Path, environ: Mapping[str, str]) -> Path:
    if credential.kind is CredentialKind.FILE:
        return config_root / credential.name
    folder = environ.get("CREDENTIALS_DIRECTORY")
    if not folder:
        raise _unusable(
            credential, "is missing: $CREDENTIALS_DIRECTORY is not set; add LoadCredential= to the systemd unit"
        )
    return Path(folder) / credential.name


def _from_file(credential: Credential, file: Path) -> str:
    try:
        with file.open("rb") as stream:
            data = stream.read(_LARGEST + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "its name is not valid"
        raise _unusable(credential, f"cannot be read: {reason}") from None
    if len(data) > _LARGEST:
        raise _unusable(credential, "is larger than 1 MiB; credentials must be smaller")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise _unusable(credential, "is not UTF-8 text") from None


def _unusable(credential: Credential, reason: str) -> AuthError:
    place = f"{credential.origin}: " if credential.origin else ""
    return AuthError(f"{place}{describe(credential)} {reason}")
