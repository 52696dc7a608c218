"""Crash guard: an unexpected exception ends the work on one target, and no other."""

from __future__ import annotations

from types import TracebackType

from kvsync.errors import KvsyncError, StoreError, TransientError, UnexpectedError
from kvsync.logs import get_logger
from kvsync.model.entry import Target
from kvsync.util.shortage import shortage_of

_log = get_logger()


class CrashGuard:
    """Context manager that ends the block at an unexpected exception, and keeps it as the error of a target. Errors of kvsync
    pass. `what` is done to the target, such as "planning"."""

    def __init__(self, target: Target, what: str) -> None:
        self._target, self._what = target, what
        self._failure: StoreError | None = None

    @property
    def failure(self) -> StoreError:
        """The error, if an unexpected exception has ended the block."""
        assert self._failure is not None, "the block ended without an unexpected exception"
        return self._failure

    def __enter__(self) -> CrashGuard:
        return self

    def __exit__(self, _kind: object, error: BaseException | None, _trace: TracebackType | None) -> bool:
        if not isinstance(error, Exception) or isinstance(error, KvsyncError):
            return False
        self._failure = crashed(self._target, self._what, error)
        return True


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
