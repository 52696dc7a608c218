"""Verifies that a trusted key signed a commit."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from pathlib import Path
from typing import Final

from kvsync.config.model import GitVerify
from kvsync.errors import SourceError
from kvsync.git.clone import Clone

_GPG_SETTINGS: Final = "trust-model always\nno-autostart\nno-auto-key-retrieve\nno-auto-key-locate\n"
"""Every key in the file that the configuration names counts, and no other is looked for."""


async def unsigned(clone: Clone, tag: str | None, commit: str, verify: GitVerify, root: Path) -> str | None:
    """Why the signature of a commit does not count; None when it does. `tag` is the id of the tag object that the ref points
    to, None where it points to the commit: a tag's signature is as good as the commit's.

    `root` is the folder of the configuration. Raises SourceError when the keys cannot be read.
    """
    settings = _ssh_settings(verify, root)
    with tempfile.TemporaryDirectory(prefix="kvsync-") as home:
        if verify.keyring is not None:
            await _import(_readable(root, verify.keyring, "keyring"), Path(home))
        names = [("tag", tag)] if tag is not None else []
        said = ""
        for kind, name in (*names, ("commit", commit)):
            good, said = await clone.verify(kind, name, settings, Path(home))
            if good:
                return None
    return _why(said)


def _ssh_settings(verify: GitVerify, root: Path) -> tuple[str, ...]:
    if verify.allowed_signers is None:
        return ()
    file = _readable(root, verify.allowed_signers, "allowed_signers")
    return ("-c", f"gpg.ssh.allowedSignersFile={file}")


def _readable(root: Path, name: str, what: str) -> Path:
    file = root / Path(name).expanduser()
    try:
        file.open("rb").close()
    except OSError as error:
        raise SourceError(f"source.git.verify.{what}: cannot read {file}: {error.strerror}") from None
    return file


async def _import(keyring: Path, home: Path) -> None:
    """Fill a keyring of our own. `home` is only ours; no agent is started in it."""
    (home / "gpg.conf").write_text(_GPG_SETTINGS)
    program = shutil.which("gpg")
    if program is None:
        raise SourceError("gpg is not installed", "install gpg, or use source.git.verify.allowed_signers")
    process = await asyncio.create_subprocess_exec(
        program, "--homedir", str(home), "--batch", "--quiet", "--import", str(keyring),
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    if await process.wait() != 0:
        raise SourceError(f"source.git.verify.keyring: {keyring} contains no OpenPGP public keys")


def _why(said: str) -> str:
    if not said.strip():
        return "it is not signed"
    if "No principal matched" in said or "No public key" in said:
        return "it is signed with a key that is not trusted"
    return "its signature is invalid"
