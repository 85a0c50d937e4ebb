"""What every stream of server-sent events has in common (WHATWG HTML, 9.2): its reply, its heartbeat, and when it ends.

Called by `inbox_stream` and `broadcast_stream`, which know what there is to tell and when.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from typing import NamedTuple

import structlog
from starlette.responses import Response, StreamingResponse

from noticesvc.api import access
from noticesvc.api.context import Call
from noticesvc.errors import AccessError, NoticesvcError

log = structlog.get_logger()
HEARTBEAT_S = 15.0  # keeps proxies from closing a silent stream, and is when the key or token is checked again
STILL_HERE = b": still here\n\n"


class News(NamedTuple):
    """What has changed, as the bytes of an event; null for nothing that the reader does not know already."""

    event: bytes | None
    last: bool = False


def reply(call: Call, events: Callable[[], AsyncIterator[bytes]]) -> Response:
    """The stream of these events; for HEAD its headers alone, since a body that nobody reads must not run."""
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    if call.request.method == "HEAD":
        return Response(headers=headers, media_type="text/event-stream")
    return StreamingResponse(events(), media_type="text/event-stream", headers=headers)


async def kept_open(call: Call, changed: asyncio.Event, news: Callable[[], Awaitable[News]], *,
                    inbox_token: bool = False) -> AsyncGenerator[bytes]:
    """The news whenever something has changed, until the last, and a heartbeat; ends with the service, and with the key or token.

    A fault of the service ends it too: the client comes again by itself. Close it (`aclosing`) before what it reads is freed.
    """
    stopping: asyncio.Event = call.request.app.state.stopping
    ended = asyncio.create_task(stopping.wait())
    checked = time.monotonic()
    try:
        while not stopping.is_set():
            if changed.is_set():
                changed.clear()
                event, last = await news()
                if event is not None:
                    yield event
                if last:
                    return
            woken = asyncio.create_task(changed.wait())
            try:
                await asyncio.wait({woken, ended}, timeout=HEARTBEAT_S, return_when=asyncio.FIRST_COMPLETED)
            finally:  # also when the client has gone
                woken.cancel()
            if time.monotonic() - checked >= HEARTBEAT_S:
                checked = time.monotonic()
                await access.authenticate(call.request, call.house, inbox_token=inbox_token)
                yield STILL_HERE
    except AccessError:  # revoked, or over
        return
    except NoticesvcError as error:
        log.warning("a stream of events ends", error=type(error).__name__)
    finally:
        ended.cancel()
