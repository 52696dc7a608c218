"""Credentials: found where they are referred to, registered for redaction, never repeated."""

from __future__ import annotations

from pathlib import Path

import pytest

from kvsync.config.credentials import resolve
from kvsync.config.model import Credential, CredentialKind
from kvsync.errors import AuthError, Origin
from kvsync.util.redaction import HIDDEN, REDACTOR, Redactor

ENV = Credential(CredentialKind.ENV, "API_TOKEN", Origin("kvsync.yaml", 4, 30))
FILE = Credential(CredentialKind.FILE, "secrets/token")
SYSTEMD = Credential(CredentialKind.CREDENTIAL, "cf-token")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets/token").write_text("from-the-file\n")
    (tmp_path / "cf-token").write_text("from-systemd\r\n")
    return tmp_path


def test_found(root: Path) -> None:
    """A secret comes from the environment, a file next to the configuration, or systemd, without the line end."""
    redactor = Redactor()
    environ = {"API_TOKEN": "from-env", "CREDENTIALS_DIRECTORY": str(root)}
    found = [resolve(credential, root, environ, redactor) for credential in (ENV, FILE, SYSTEMD)]
    assert found == ["from-env", "from-the-file", "from-systemd"]
    assert redactor.redact(" ".join(found)) == " ".join([HIDDEN] * 3)


def test_absolute_file(root: Path) -> None:
    """An absolute path is taken as it is."""
    credential = Credential(CredentialKind.FILE, str(root / "secrets/token"))
    assert resolve(credential, Path("/nowhere"), {}, Redactor()) == "from-the-file"


def test_rotated(root: Path) -> None:
    """A file that changed gives its new secret, and the old one stays hidden."""
    redactor = Redactor()
    resolve(FILE, root, {}, redactor)
    (root / "secrets/token").write_text("a-new-one")
    assert resolve(FILE, root, {}, redactor) == "a-new-one"
    assert redactor.redact("from-the-file a-new-one") == "*** ***"


def test_the_process_redactor_learns(root: Path) -> None:
    """Unless told otherwise, a secret is registered with the redactor of the process."""
    (root / "secrets/token").write_text("only-in-this-test-7781")
    resolve(FILE, root, {})
    assert REDACTOR.redact("only-in-this-test-7781") == HIDDEN


def test_spaces_are_kept(root: Path) -> None:
    """Only line ends are taken off: a space may belong to a password."""
    (root / "secrets/token").write_text(" pass word \n\n")
    assert resolve(FILE, root, {}, Redactor()) == " pass word "


@pytest.mark.parametrize(
    ("credential", "environ", "message"),
    [
        (ENV, {}, "kvsync.yaml:4:30: the environment variable API_TOKEN is not set"),
        (ENV, {"API_TOKEN": ""}, "kvsync.yaml:4:30: the environment variable API_TOKEN is empty"),
        (Credential(CredentialKind.FILE, "none"), {}, "the credential file none cannot be read: No such file or directory"),
        (Credential(CredentialKind.FILE, "secrets"), {}, "the credential file secrets cannot be read: Is a directory"),
        (Credential(CredentialKind.FILE, "a\0b"), {}, "cannot be read: its name is not valid"),
        (SYSTEMD, {}, "the systemd credential cf-token is missing: $CREDENTIALS_DIRECTORY is not set"),
        (SYSTEMD, {"CREDENTIALS_DIRECTORY": "/nowhere"}, "the systemd credential cf-token cannot be read: No such file"),
    ],
)  # fmt: skip
def test_not_found(root: Path, credential: Credential, environ: dict[str, str], message: str) -> None:
    """A missing secret stops the store with an error that names the reference and its place."""
    with pytest.raises(AuthError) as caught:
        resolve(credential, root, environ, Redactor())
    assert message in str(caught.value)


@pytest.mark.parametrize("content", [b"s3cr3t\xff", b"s3cr3t" + bytes(1024 * 1024), b"\n"])
def test_not_a_credential(root: Path, content: bytes) -> None:
    """What is not a credential is refused without a word of it, also in the chain of exceptions."""
    (root / "secrets/token").write_bytes(content)
    with pytest.raises(AuthError) as caught:
        resolve(FILE, root, {}, Redactor())
    assert "s3cr3t" not in repr(caught.value)
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
