"""Unexpected exceptions: they end the work on one target, and no other."""

from __future__ import annotations

from kvsync.errors import StoreError, TransientError, UnexpectedError
from kvsync.logs import get_logger
from kvsync.model.entry import Target
from kvsync.util.shortage import shortage_of

_log = get_logger()


def crashed(target: Target, what: str, error: Exception) -> StoreError:
    """Return the error of a target during whose planning or applying (`what`) this was raised. Logs the exception at hand,
    unless the machine lacks something."""
    from kvsync.http.failures import cleaned  # a plan of local stores does not pay for HTTP

    if (shortage := shortage_of(error)) is not None:
        return TransientError(f"{target}: {what} failed: {shortage}")
    _log.error(
        "store.crashed",
        store=target.store,
        namespace=target.namespace,
        error=what,
        code=UnexpectedError.code,
        exc_info=True,
    )
    reason = f"{what} failed: unexpected {cleaned(f'{type(error).__name__}: {error}')}"
    return UnexpectedError(f"{target}: {reason}; this is a bug in kvsync; the log has the traceback")
