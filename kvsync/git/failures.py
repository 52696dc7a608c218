"""Translates error output of git to messages with a hint."""

from __future__ import annotations

import re
from typing import Final

from kvsync.errors import SourceError
from kvsync.git.command import GitFailed

_MEANINGS: Final = (
    (
        r"Host key verification failed|REMOTE HOST IDENTIFICATION HAS CHANGED",
        "unknown host key of the SSH server",
        "verify the key, and add it to the file in source.git.credentials.known_hosts",
    ),
    (
        r"Authentication failed|could not read (Username|Password)|returned error: 40[13]|Permission denied|access denied",
        "the credential was refused",
        "check that source.git.credentials is correct, valid, and may read this repository",
    ),
    (r"returned error: 30\d", "the server redirects to another address", "set source.git.url to that address"),
    (
        r"returned error: 404|[Rr]epository .{0,500}not found|does not appear to be a git repository|not a git repository",
        "no such repository, or the credential has no access to it",
        "check source.git.url",
    ),
    (
        r"SSL certificate|certificate verif",
        "the certificate of the server is not trusted",
        "to trust another CA, set GIT_SSL_CAINFO to its file",
    ),
    (
        r"Could not resolve host|Could not resolve hostname|Name or service not known",
        "unknown host name",
        None,
    ),
    (
        r"Connection refused|Failed to connect|Connection timed out|Operation too slow|Couldn't connect|No route|unreachable"
        r"|Connection reset|Connection closed|early EOF|remote end hung up",
        "the server cannot be reached",
        None,
    ),
    (
        r"File size limit exceeded|signal 25|File too large",
        "the fetch exceeds the size limit",
        "raise source.git.max_size, or set source.git.depth to fetch less history",
    ),
    (r"No space left on device", "the disk is full", "free some space on the disk of state_dir"),
)


def is_known(failure: GitFailed) -> bool:
    """True when what git says is about the server or the disk, so that the clone has no part in it."""
    return any(re.search(pattern, failure.text) for pattern, _, _ in _MEANINGS)


def explained(url: str, failure: GitFailed) -> SourceError:
    """The failure of git as an error for people."""
    detail = _reason_line(failure.text)
    for pattern, meaning, hint in _MEANINGS:
        if re.search(pattern, failure.text):
            return SourceError(f"{url}: {meaning}: {detail}" if hint is None else f"{url}: {meaning}", hint)
    return SourceError(f"{url}: git {failure.verb} failed: {detail}")


def _reason_line(text: str) -> str:
    """The line that says why, without the words that git puts before it."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    fatal = [line for line in lines if line.startswith(("fatal:", "error:", "ssh:"))]
    chosen = (fatal or lines or ["no output"])[0]
    return chosen.removeprefix("fatal: ").removeprefix("error: ")
