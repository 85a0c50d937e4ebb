"""Server-sent events of a broadcast (WHATWG HTML, 9.2): its state and counts, at the start and at every change, until it has ended.

One watch a process looks at all broadcasts that somebody follows, once a second in one read, and makes the bytes of an event once for
all readers. A reader who is slow misses what came in between and gets what holds now: nothing is queued.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import structlog
from starlette.responses import Response

from noticesvc.api import event_stream
from noticesvc.api.context import Call, House
from noticesvc.api.endpoint import Endpoint
from noticesvc.api.event_stream import News
from noticesvc.api.notices import id_of
from noticesvc.operations import broadcast_watching, broadcasts

log = structlog.get_logger()
POLL_S = 1.0
_ENDED = ("completed", "cancelled")


class Watch:
    """The latest event of each broadcast that somebody follows."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._listeners: dict[str, set[asyncio.Event]] = {}
        self._known: dict[str, tuple[Any, ...]] = {}
        self.latest: dict[str, News] = {}
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
        self.latest[broadcast_id] = News(f"event: broadcast\ndata: {json.dumps(told)}\n\n".encode(), last=seen["state"] in _ENDED)
        for event in self._listeners[broadcast_id]:
            event.set()


async def stream(call: Call) -> Response:
    """State and counts at the start and at every change; the stream ends with the broadcast."""
    broadcast_id = id_of(call.request, "broadcast_id")
    await call.read(broadcasts.one, call.access, broadcast_id)  # whether it is there, and this key may see it
    return event_stream.reply(call, lambda: _events(call, broadcast_id))


def _watch(call: Call) -> Watch:
    state = call.request.app.state
    found: Watch | None = getattr(state, "broadcast_watch", None)
    if found is None:
        found = state.broadcast_watch = Watch(call.house)
    return found


async def _events(call: Call, broadcast_id: str) -> AsyncIterator[bytes]:
    watch = _watch(call)
    changed = watch.join(broadcast_id)

    async def news() -> News:
        return watch.latest[broadcast_id]

    try:
        async with aclosing(event_stream.kept_open(call, changed, news)) as events:
            async for event in events:
                yield event
    finally:
        watch.leave(broadcast_id, changed)


ENDPOINTS: tuple[Endpoint, ...] = (
    Endpoint("GET", "/v1/broadcasts/{broadcast_id}/events", stream, "State and counts of a broadcast, as server-sent events",
             ("broadcasts:write", "broadcasts:approve"), reply_media_type="text/event-stream", errors=(404,)),
)
