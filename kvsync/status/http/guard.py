"""Middleware for every route: authorization, body limits, and errors as JSON."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from aiohttp import web
from aiohttp.typedefs import Middleware

from kvsync.errors import KvsyncError
from kvsync.logs import get_logger
from kvsync.status.http.access import Access
from kvsync.status.http.actions import FORMS
from kvsync.status.http.answers import HEADERS, failure, failure_of
from kvsync.status.http.body import BODY_WITHIN, LARGEST_BODY
from kvsync.status.http.hook_handler import HOOK_PATH

_log = get_logger()

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def guarded(access: Access) -> Middleware:
    """The middleware around all paths."""

    @web.middleware
    async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            refusal = access.misdirected(request)
            if refusal is None and not _proves_itself(request):
                refusal = access.refuse(request)
            return refusal if refusal is not None else await handler(request)
        except web.HTTPException as error:
            headers = {name: error.headers[name] for name in ("Allow",) if name in error.headers}
            return failure(error.status, _words(request, error), headers)
        except KvsyncError as error:
            return failure_of(error)
        except ConnectionError:  # nobody waits for an answer any more
            return failure(400, "the request was incomplete")
        except Exception:  # noqa: BLE001 - one accident is not a reason to show a traceback, or to end the others
            _log.error("http.failed", method=request.method[:20], path=request.path[:200], exc_info=True)
            return failure(500, "internal error in kvsync; see the log for details")

    return guard


def _proves_itself(request: web.Request) -> bool:
    """True where the handler asks for another proof than the token: a hook's secret, a form's session."""
    return request.path == HOOK_PATH or (request.method == "POST" and request.path in FORMS)


async def with_headers(_request: web.Request, response: web.StreamResponse) -> None:
    """Put the headers for safety on an answer, unless it has its own."""
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    response.headers["Server"] = "kvsync"  # not which library, in which version


def _words(request: web.Request, error: web.HTTPException) -> str:
    words = {
        404: f"not found: {request.path[:200]}",
        405: f"{request.path[:200]} does not allow {request.method[:20]}",
        408: f"the body did not arrive within {BODY_WITHIN:g} s",
        413: f"the body is larger than {LARGEST_BODY:,} bytes",
    }
    return words.get(error.status, error.reason)
