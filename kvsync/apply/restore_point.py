"""Restore point of a target before the first write of a run, for stores that make one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final, TypeVar, cast

from kvsync.apply.ports import RunPort
from kvsync.apply.store_access import StoreAccess
from kvsync.errors import NotLeader, PermanentError, StoreError, TransientError
from kvsync.model.entry import Target
from kvsync.stores.base import Store
from kvsync.stores.extensions import RestorePointMaking, restore_point_requests
from kvsync.stores.pacing import Stopped

MOST_WAIT: Final = 120.0
"""Seconds to wait until a restore point is complete."""

_PAUSE: Final = 2.0
"""Seconds between two looks."""

_WAITING: Final = "a restore point"

_Result = TypeVar("_Result")


async def make_restore_point(store: Store, target: Target, run: RunPort, access: StoreAccess) -> None:
    """Make the restore point of a target, unless the run has made it. If that fails, `access.halt` says why nothing is sent.
    Raises StateDirError."""
    if not restore_point_requests(store) or run.restore_point(target) is not None:
        return
    try:
        name = await _made(cast("RestorePointMaking", store), target.namespace, run.id, access)
    except (Stopped, NotLeader):
        return  # which `access.halt` knows
    except StoreError as error:
        access.halt.store_error = _explained(error)
        return
    run.keep_restore_point(target, name)


async def _made(store: RestorePointMaking, namespace: str, run: str, access: StoreAccess) -> str:
    """The name of a new restore point that is complete. Raises StoreError, Stopped."""
    name = await _with_retries(lambda: store.begin_restore_point(namespace, run), access)
    until = access.clock.monotonic() + MOST_WAIT
    while not await _with_retries(lambda: store.complete_restore_point(namespace, name), access):
        if access.clock.monotonic() >= until:
            raise TransientError(f"the restore point {name} was not complete after {MOST_WAIT:g} s")
        await access.retries.pause(_PAUSE, _WAITING)
    return name


async def _with_retries(call: Callable[[], Awaitable[_Result]], access: StoreAccess) -> _Result:
    """The result of a call that can be repeated. Raises StoreError, Stopped."""
    while True:
        await access.ready()
        try:
            return await call()
        except NotLeader:
            raise
        except TransientError as error:
            await access.retries.wait(error)


def _explained(error: StoreError) -> StoreError:
    text = f"nothing was written, because no restore point could be made first: {error}"
    return TransientError(text, error.retry_after) if isinstance(error, TransientError) else PermanentError(text)
