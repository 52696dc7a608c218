"""Recognizes values that look like secrets, so that a dump can name them before they are committed."""

from __future__ import annotations

import re
from typing import Final

from kvsync.app.dump.writer import DumpEntry
from kvsync.util.redaction.secret_names import hide_places, is_secret_name

_SECRET: Final = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----"
    r"|\beyJ[\w-]{10,}\.[\w-]{10,}\.[\w-]*"  # JSON Web Token
    r"|\b(?:AKIA|ASIA)[A-Z0-9]{16}\b"  # AWS
    r"|\b(?:gh[pousr]_\w{36}|github_pat_\w{22}|glpat-[\w-]{20})"
    r"|\b(?:sk|rk)_live_\w{16}|\bxox[abeprs]-[\w-]{10}|\bAIza[\w-]{35}\b"
    r"|(?i:(?:AccountKey|SharedAccessKey|Secret|Password|Pwd)=[^;\s]{8})"
)
_PARTS: Final = re.compile(r"[/:.\[\]]")


def looks_secret(entry: DumpEntry) -> bool:
    """True when the name or the value of an entry is like those of secrets. Values in files of their own are looked at too."""
    if not entry.content.value:
        return False
    if is_secret_name(_PARTS.split(entry.identity.key)[-1]):
        return True
    text = entry.content.value.decode(errors="ignore")
    return _SECRET.search(text) is not None or hide_places(text) != text
