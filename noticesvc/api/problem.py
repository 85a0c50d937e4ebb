"""The one place where an exception becomes an HTTP answer: RFC 9457 problem+json.

No stack trace, SQL, key, address or rejected value ever leaves through here: an unexpected exception is logged by its type
and place and answered with a constant sentence.
"""

import traceback
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import msgspec
import structlog
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from noticesvc import errors

log = structlog.get_logger()
TITLES = {400: "Malformed request", 401: "Not authenticated", 403: "Not allowed", 404: "Not found", 405: "Method not allowed",
          406: "Not acceptable", 409: "Conflict", 413: "Too large", 415: "Unsupported media type",
          422: "Cannot be accepted", 500: "Internal error", 503: "Not available now"}


def answer(status: int, slug: str, detail: str, faults: tuple[errors.Fault, ...] = (),
           headers: Mapping[str, str] | None = None) -> Response:
    """A problem as a response."""
    return Response(msgspec.json.encode(body(status, slug, detail, faults)), status, headers, "application/problem+json")


def body(status: int, slug: str, detail: str, faults: tuple[errors.Fault, ...] = ()) -> dict[str, Any]:
    """A problem as an object, also for the items of a batch."""
    made: dict[str, Any] = {"type": f"urn:noticesvc:problem:{slug}", "title": TITLES.get(status, HTTPStatus(status).phrase),
                            "status": status, "detail": detail}
    if faults:
        made["errors"] = [{"pointer": f.pointer, "detail": f.detail} for f in faults]
    return made


def parts(error: Exception) -> tuple[int, str, str, tuple[errors.Fault, ...], dict[str, str]]:
    """Status, slug, detail, faults and headers for an exception. The order follows the tree in noticesvc.errors."""
    match error:
        case errors.MalformedInput():
            return 400, error.slug, error.detail, error.faults, {}
        case errors.InputTooLarge():
            return 413, error.slug, error.detail, error.faults, {"Connection": "close"}
        case errors.InputError():
            return 422, error.slug, error.detail, error.faults, {}
        case errors.NotFound():
            return 404, error.slug, error.detail, error.faults, {}
        case errors.Conflict():
            return 409, error.slug, error.detail, error.faults, {}
        case errors.RefusedError():
            return 422, error.slug, error.detail, error.faults, {}
        case errors.Unauthenticated():
            return 401, "unauthenticated", str(error), (), {"WWW-Authenticate": "Bearer"}
        case errors.Forbidden():
            return 403, error.slug, str(error), (), {}
        case errors.AccessError():
            return 403, "forbidden", str(error), (), {}
        case errors.CertificateError():
            return 422, "certificate", str(error), (), {}
        case errors.UnavailableError():
            return 503, "unavailable", error.detail, (), {"Retry-After": str(error.retry_after_s)}
        case ClientDisconnect():  # nobody hears the answer
            return 400, "cut-short", "The body ended before it was whole.", (), {}
        case HTTPException():
            slug = HTTPStatus(error.status_code).phrase.lower().replace(" ", "-")
            return error.status_code, slug, TITLES.get(error.status_code, "Refused") + ".", (), dict(error.headers or {})
        case _:
            places = [f"{frame.filename}:{frame.lineno}" for frame in traceback.extract_tb(error.__traceback__)[-3:]]
            log.error("unexpected error", error=type(error).__name__, places=places)
            return 500, "internal", "Something went wrong here; nothing was accepted. Repeat the request, and tell the operators.", (), {}


async def on_error(request: Request, error: Exception) -> Response:  # noqa: ARG001 (Starlette's signature)
    """Starlette's exception handler for every exception."""
    status, slug, detail, faults, headers = parts(error)
    return answer(status, slug, detail, faults, headers)
