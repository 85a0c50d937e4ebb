"""Server-sent events of a broadcast (WHATWG HTML, 9.2): its state and counts, at the start and at every change, until it has ended.

One watch a process looks at all broadcasts that somebody follows, once a second in one read, and makes the bytes of an event once for
all readers. A reader who is slow misses what came in between and gets what holds now: nothing is queued.
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from typing import Any

import structlog
from starlette.responses import Response, StreamingResponse

from noticesvc.api import access
from noticesvc.api.context import Call, House
from noticesvc.api.endpoint import Endpoint
from noticesvc.api.notices import id_of
from noticesvc.errors import AccessError, NoticesvcError
from noticesvc.operations import broadcast_watching, broadcasts

log = structlog.get_logger()
POLL_S = 1.0
HEARTBEAT_S = 15.0  # keeps proxies from closing a silent stream, and is when the key is checked again
_ENDED = ("completed", "cancelled")


class Watch:
    """The latest event of each broadcast that somebody follows."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._listeners: dict[str, set[asyncio.Event]] = {}
        self._known: dict[str, tuple[Any, ...]] = {}
        self.latest: dict[str, tuple[bytes, bool]] = {}  # the event, and whether it is the last
        self._task: asyncio.Task[None] | None = None

    def join(self, broadcast_id: str) -> asyncio.Event:
        """An event that is set when there is something new in `latest`. `leave` afterwards."""
        event = asyncio.Event()
        self._listeners.setdefault(broadcast_id, set()).add(event)
        if broadcast_id in self.latest:
            event.set()
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run(), name="broadcast-watch")
        return event

    def leave(self, broadcast_id: str, event: asyncio.Event) -> None:
        """Stop to listen."""
        mine = self._listeners.get(broadcast_id, set())
        mine.discard(event)
        if not mine:
            for kept in (self._listeners, self._known, self.latest):
                kept.pop(broadcast_id, None)

    async def _run(self) -> None:
        """Look until nobody listens."""
        while self._listeners:
            try:
                found = await self._house.database.read(broadcast_watching.several, self._house.world, list(self._listeners))
            except Exception as error:  # whatever it was, somebody still listens
                log.warning("broadcasts cannot be looked at", error=type(error).__name__)
            else:
                for broadcast_id, seen in found.items():
                    self._tell(broadcast_id, seen)
            await asyncio.sleep(POLL_S)

    def _tell(self, broadcast_id: str, seen: dict[str, Any]) -> None:
        """Wake those who follow it, if anything but the passing of time has changed."""
        known = (seen["state"], seen["counts"])
        if self._known.get(broadcast_id) == known or broadcast_id not in self._listeners:
            return
        self._known[broadcast_id] = known
        told = {name: seen[name] for name in ("id", "state", "counts", "rate_per_s", "eta_s")}
        self.latest[broadcast_id] = f"event: broadcast\ndata: {json.dumps(told)}\n\n".encode(), seen["state"] in _ENDED
        for event in self._listeners[broadcast_id]:
            event.set()


async def stream(call: Call) -> Response:
    """State and counts at the start and at every change; the stream ends with the broadcast."""
    broadcast_id = id_of(call.request, "broadcast_id")
    await call.read(broadcasts.one, call.access, broadcast_id)  # whether it is there, and this key may see it
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    if call.request.method == "HEAD":  # a body that nobody reads must not run
        return Response(headers=headers, media_type="text/event-stream")
    return StreamingResponse(_events(call, broadcast_id), media_type="text/event-stream", headers=headers)


def _watch(call: Call) -> Watch:
    state = call.request.app.state
    found: Watch | None = getattr(state, "broadcast_watch", None)
    if found is None:
        found = state.broadcast_watch = Watch(call.house)
    return found


async def _events(call: Call, broadcast_id: str) -> AsyncIterator[bytes]:
    stopping: asyncio.Event = call.request.app.state.stopping
    watch = _watch(call)
    changed = watch.join(broadcast_id)
    ended = asyncio.create_task(stopping.wait())
    checked = time.monotonic()
    try:
        while not stopping.is_set():
            if changed.is_set():
                changed.clear()
                data, last = watch.latest[broadcast_id]
                yield data
                if last:
                    return
            woken = asyncio.create_task(changed.wait())
            try:
                await asyncio.wait({woken, ended}, timeout=HEARTBEAT_S, return_when=asyncio.FIRST_COMPLETED)
            finally:  # also when the client has gone
                woken.cancel()
            if time.monotonic() - checked >= HEARTBEAT_S:
                checked = time.monotonic()
                await access.authenticate(call.request, call.house)  # revoked: the stream ends
                yield b": still here\n\n"
    except AccessError:
        return
    except NoticesvcError as error:
        log.warning("a broadcast's stream ends", error=type(error).__name__)  # the client comes again by itself
    finally:
        ended.cancel()
        watch.leave(broadcast_id, changed)


ENDPOINTS: tuple[Endpoint, ...] = (
    Endpoint("GET", "/v1/broadcasts/{broadcast_id}/events", stream, "State and counts of a broadcast, as server-sent events",
             ("broadcasts:write", "broadcasts:approve"), reply_media_type="text/event-stream", errors=(404,)),
)
