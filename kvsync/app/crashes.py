"""Exceptions that kvsync does not expect: they end the work on one target."""

from __future__ import annotations

from kvsync.errors import UnexpectedError
from kvsync.http.failures import cleaned
from kvsync.logs import get_logger
from kvsync.model.entry import Target

_log = get_logger()


def crashed(target: Target, what: str, error: Exception) -> UnexpectedError:
    """Return the error of a target during whose planning or applying (`what`) this was raised. Logs the exception at hand."""
    _log.error("store.crashed", store=target.store, namespace=target.namespace, error=what, exc_info=True)
    reason = f"{what} failed: unexpected {cleaned(f'{type(error).__name__}: {error}')}"
    return UnexpectedError(f"{target}: {reason}; this is a bug in kvsync; the log has the traceback")
