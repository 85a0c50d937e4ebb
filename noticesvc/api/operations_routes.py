"""What operators and machines ask of the process itself: health, readiness, metrics, the OpenAPI document, the sandbox.

`/readyz` is 503 only for database, migrations, signer and disk; everything else that is wrong is listed as `degraded`
with 200, because a late anchor or a sandbox is no reason to take a process out of service.
"""

import asyncio
import shutil
import time
from typing import Any, Literal

import msgspec
from starlette.responses import Response

from noticesvc import metrics
from noticesvc.api import cursor, problem, wire
from noticesvc.api.context import Call, House
from noticesvc.api.endpoint import Endpoint
from noticesvc.api.patience import in_time
from noticesvc.errors import NoticesvcError
from noticesvc.operations import health, sandbox_messages

FATAL = ("database", "migrations", "signer", "disk")
_FRESH_S = 0.5  # how long one answer serves all who ask: a probe writes to the database, and asking needs no key
_LEAST_FREE_BYTES = 1 << 20


class Healthy(wire.Wire):
    """The process lives."""

    status: Literal["ok"]


class Degraded(wire.Wire):
    """Something that is wrong, but no reason to stop."""

    name: str
    detail: str


class Ready(wire.Wire):
    """The process can do its work."""

    status: Literal["ready"]
    role: str
    checks: dict[str, str]
    degraded: list[Degraded]


class SandboxQuery(wire.Wire):
    """A page of what the sandbox took, the newest first."""

    limit: wire.Limit = 50
    cursor: str | None = None


class SandboxMessage(wire.Wire):
    """A message that the sandbox took."""

    channel: str
    to: str
    subject: str
    text: str
    received_at: wire.Instant


class SandboxPage(wire.Wire):
    """A page."""

    items: list[SandboxMessage]
    next_cursor: str | None


async def healthz(call: Call) -> dict[str, Any]:  # noqa: ARG001 (every route is given its call)
    """The event loop turns."""
    return {"status": "ok"}


async def readyz(call: Call) -> Response:
    """Whether this process can do its work, checked at most every half second."""
    state = call.request.app.state
    now = time.monotonic()
    asked: tuple[float, asyncio.Task[dict[str, str]]] | None = getattr(state, "readiness", None)
    if asked is None or (asked[1].done() and now - asked[0] > _FRESH_S):
        asked = (now, asyncio.create_task(_wrong(call.house)))
        state.readiness = asked
    wrong = await asyncio.shield(asked[1])
    checks = {name: wrong.get(name, "ok") for name in FATAL}
    degraded = [{"name": name, "detail": detail} for name, detail in wrong.items() if name not in FATAL]
    if any(name in wrong for name in FATAL):
        named = ", ".join(name for name in FATAL if name in wrong)
        made = problem.body(503, "not-ready", f"Not ready: {named}.") | {"checks": checks, "degraded": degraded}
        return Response(msgspec.json.encode(made), 503, {"Retry-After": "1"}, "application/problem+json")
    made = {"status": "ready", "role": state.role, "checks": checks, "degraded": degraded}
    return Response(msgspec.json.encode(made), media_type="application/json")


async def _wrong(house: House) -> dict[str, str]:
    """Everything that is wrong now, by name."""
    found = dict(house.readiness())
    folder = house.settings.folder
    try:
        if shutil.disk_usage(folder).free < _LEAST_FREE_BYTES:
            found["disk"] = "The disk under the installation's folder is full."
    except OSError as error:
        found["disk"] = f"The installation's folder cannot be looked at ({type(error).__name__})."
    try:
        fit = await in_time(house.database.write(health.probe))
    except NoticesvcError as error:
        found["database"] = str(error)
    except Exception as error:  # a probe that fails in any other way is no healthy database either
        found["database"] = f"The database cannot be written ({type(error).__name__})."
    else:
        if not fit:
            found["migrations"] = ("The database is at no version that this program can work on; run `noticesvc migrate`, or the newer "
                                   "program.")
    return found


async def metrics_text(call: Call) -> Response:  # noqa: ARG001 (as healthz)
    """Everything that this process counts."""
    text, media_type = metrics.exposition()
    return Response(text, headers={"Content-Type": media_type})


async def openapi_document(call: Call) -> dict[str, Any]:
    """The description of every endpoint."""
    document: dict[str, Any] = call.request.app.state.openapi
    return document


async def sandbox(call: Call) -> dict[str, Any]:
    """What the sandbox took, the newest first."""
    items, last = await call.read(sandbox_messages.listed, call.query.limit, cursor.decode_id(call.query.cursor))
    return {"items": items, "next_cursor": cursor.encode_id(last)}


ENDPOINTS = (
    Endpoint("GET", "/healthz", healthz, "Whether the process lives", reply=Healthy),
    Endpoint("GET", "/readyz", readyz, "Whether the process can do its work", reply=Ready, errors=(503,)),
    Endpoint("GET", "/metrics", metrics_text, "Metrics for Prometheus", reply_media_type="text/plain"),
    Endpoint("GET", "/openapi.json", openapi_document, "This document"),
    Endpoint("GET", "/sandbox/messages", sandbox, "What the sandbox took, the newest first", scopes=("ops",),
             query=SandboxQuery, reply=SandboxPage),
)
