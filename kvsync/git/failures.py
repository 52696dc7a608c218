"""What git says when a server cannot be had, in words that say what to do."""

from __future__ import annotations

import re
from typing import Final

from kvsync.errors import SourceError
from kvsync.git.command import GitFailed

_MEANINGS: Final = (
    (
        r"Host key verification failed|REMOTE HOST IDENTIFICATION HAS CHANGED",
        "the key of the SSH server is not known",
        "put it, once checked, into the file that source.git.credentials.known_hosts names",
    ),
    (
        r"Authentication failed|could not read (Username|Password)|returned error: 40[13]|Permission denied|access denied",
        "the credential was refused",
        "see source.git.credentials: is it right, still valid, and allowed to read this repository?",
    ),
    (r"returned error: 30\d", "the server sends us to another address", "write that address into source.git.url"),
    (
        r"returned error: 404|[Rr]epository .*not found|does not appear to be a git repository|not a git repository",
        "there is no such repository, or the credential may not see it",
        "check source.git.url",
    ),
    (
        r"SSL certificate|certificate verif",
        "the certificate of the server is not trusted",
        "GIT_SSL_CAINFO names a CA file",
    ),
    (
        r"Could not resolve host|Could not resolve hostname|Name or service not known",
        "its host name is not known",
        None,
    ),
    (
        r"Connection refused|Failed to connect|Connection timed out|Operation too slow|Couldn't connect|No route|unreachable"
        r"|Connection reset|Connection closed|early EOF|remote end hung up",
        "it cannot be reached",
        None,
    ),
    (
        r"File size limit exceeded|signal 25|File too large",
        "it brings more than is allowed",
        "source.git.max_size sets it; source.git.depth brings less history",
    ),
    (r"No space left on device", "the disk is full", "make room where state_dir is"),
)


def is_known(failure: GitFailed) -> bool:
    """True when what git says is about the server or the disk, so that the clone has no part in it."""
    return any(re.search(pattern, failure.text) for pattern, _, _ in _MEANINGS)


def explained(url: str, failure: GitFailed) -> SourceError:
    """The failure of git as an error for people."""
    detail = _last_word(failure.text)
    for pattern, meaning, hint in _MEANINGS:
        if re.search(pattern, failure.text):
            return SourceError(f"{url}: {meaning}: {detail}" if hint is None else f"{url}: {meaning}", hint)
    return SourceError(f"{url}: git {failure.verb} failed: {detail}")


def _last_word(text: str) -> str:
    """The line that says why, without the words that git puts before it."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    fatal = [line for line in lines if line.startswith(("fatal:", "error:", "ssh:"))]
    chosen = (fatal or lines or ["it said nothing"])[0]
    return chosen.removeprefix("fatal: ").removeprefix("error: ")
