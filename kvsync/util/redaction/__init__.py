"""Redaction of secrets in everything that leaves the process.

Two ways, both needed:

- by value: a secret is registered once it is known, and replaced wherever it appears, whatever it is written in (`views`);
- by place: what stands under a name such as `token` or `password`, after `Bearer`, or in a URL before the `@`.

How much of a secret must appear depends on who wrote the text:

- `redact_foreign`, for text of servers and other programs, which repeat values cut short: 8 bytes of a secret are enough;
- `redact`, for kvsync's own text: a whole secret, or 8 bytes that are hardly words. A sensitive URL must not take every
  `https://` out of a plan.

A secret of fewer than 6 characters is hidden by place only: replacing every `1` in an output would destroy it.
"""

from kvsync.util.redaction.redactor import REDACTOR, SHORTEST, Redactor
from kvsync.util.redaction.secret_names import HIDDEN, is_secret_name

__all__ = ["HIDDEN", "REDACTOR", "SHORTEST", "Redactor", "is_secret_name"]
