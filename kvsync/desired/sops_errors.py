"""Short messages for the errors of the `sops` program."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from kvsync.util.escaping import escape_text
from kvsync.util.patterns import lazy_pattern

_LONGEST: Final = 400
_MOST_KEYS: Final = 3
_NO_KEY: Final = "Failed to get the data key"
_KEY: Final = lazy_pattern(r"^ *(\S+): FAILED\n((?: *(?:- )?\|.*\n?)+)", re.MULTILINE)
"""A key that does not open the file, and the block with the reason."""

_SEARCHED: Final = "Did not find keys in locations"
_AGE: Final = "give kvsync the private key of a recipient in SOPS_AGE_KEY_FILE or SOPS_AGE_KEY"
_DAMAGED: Final = "the file is damaged, or was edited without sops"


def sops_failure(error: bytes) -> str:
    """The reason on one line, and what to do if that is known. It names keys and recipients, never plain text."""
    text = error.decode(errors="replace")
    reasons = list(_keys(text)) if _NO_KEY in text else []
    words = "; ".join(reasons[:_MOST_KEYS]) or " ".join(text.split())
    cure = _AGE if any(one.startswith("age1") for one in reasons) else ""
    if "message authentication failed" in text:
        cure = _DAMAGED
    shown = escape_text(words)[:_LONGEST] or "it gave no reason"
    return f"{shown}; {cure}" if cure else shown


def _keys(text: str) -> Iterator[str]:
    """The keys that were tried, each with the reason why it does not open the file."""
    for key, block in _KEY.findall(text):
        reason = " ".join(line.strip(" -").removeprefix("|").strip() for line in block.splitlines())
        yield f"{key}: {reason.partition(_SEARCHED)[0].rstrip(' .')}"
