"""Encrypts the sensitive values of a dump with SOPS, in memory."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Mapping
from typing import Final

from kvsync.config.sops import SopsConfig
from kvsync.errors import KvsyncError, UsageError
from kvsync.util.bounded_process import ProcessOutputTooLarge, ProcessTimeout, run_bounded
from kvsync.util.escaping import escape_text

_MOST_BYTES: Final = 256 * 1024 * 1024
_LONGEST_ERROR: Final = 200
_AGE: Final = re.compile(r"age1[0-9a-z]{1,200}|ssh-(?:ed25519|rsa) [A-Za-z0-9+/=]{1,2000}")
_PGP: Final = re.compile(r"[0-9A-Fa-f]{40}")


class Encryption:
    """Encrypts for one recipient: an age or SSH public key, or the fingerprint of a PGP key. Raises UsageError for anything
    else."""

    def __init__(self, recipient: str, config: SopsConfig) -> None:
        self._config = config
        if _AGE.fullmatch(recipient):
            self._options = ("--age", recipient)
        elif _PGP.fullmatch(recipient):
            self._options = ("--pgp", recipient)
        else:
            raise UsageError("--sops needs an age recipient (age1…), an SSH public key, or a PGP fingerprint")

    def encrypted(self, values: Mapping[str, str]) -> bytes:
        """A SOPS document in JSON with these values. Raises KvsyncError."""
        program = shutil.which(self._config.program)
        if program is None:
            raise KvsyncError(f"there is no program {self._config.program} in PATH; install SOPS, or set sops.program")
        types = ("--input-type", "json", "--output-type", "json")
        command = (program, "--config", "/dev/null", "--encrypt", *self._options, *types, "/dev/stdin")
        data = json.dumps(dict(values)).encode()
        try:
            done = run_bounded(command, data, os.environ, timeout=self._config.timeout, most=_MOST_BYTES)
        except ProcessTimeout:
            raise KvsyncError(f"sops took longer than {self._config.timeout:g} s; see sops.timeout") from None
        except (OSError, ProcessOutputTooLarge) as error:
            raise KvsyncError(f"cannot run sops: {error}") from None
        if done.code != 0:
            reason = escape_text(" ".join(done.error.decode(errors="replace").split()))[:_LONGEST_ERROR]
            raise KvsyncError(f"sops cannot encrypt the sensitive values: {reason}")
        return done.output
