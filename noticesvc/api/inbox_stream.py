"""Server-sent events of an inbox (WHATWG HTML, 9.2): the unread count and new messages, at the start and at every change.

One watch a process looks at all inboxes that somebody listens to, in one statement: after commits that touched an inbox, and
every two seconds for what other processes did. Called by the route in `inbox`.
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
from noticesvc.api.recipients import recipient_id_of
from noticesvc.errors import AccessError, NoticesvcError
from noticesvc.operations import inbox
from noticesvc.operations.inbox import Pulse

log = structlog.get_logger()
POLL_S = 2.0
_SETTLE_S = 0.05  # many commits in a row are looked at once
HEARTBEAT_S = 15.0  # keeps proxies from closing a silent stream, and is when the key or token is checked again


class Watch:
    """Wakes listeners whose inbox changed."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._listeners: dict[str, set[asyncio.Event]] = {}
        self._known: dict[str, Pulse] = {}
        self._touched = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        house.database.on_commit("inbox", self._touched.set)

    def join(self, subject_id: str) -> asyncio.Event:
        """An event that is set when this inbox changes. `leave` afterwards."""
        event = asyncio.Event()
        self._listeners.setdefault(subject_id, set()).add(event)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run(), name="inbox-watch")
        return event

    def leave(self, subject_id: str, event: asyncio.Event) -> None:
        """Stop to listen."""
        mine = self._listeners.get(subject_id, set())
        mine.discard(event)
        if not mine:
            self._listeners.pop(subject_id, None)
            self._known.pop(subject_id, None)

    async def _run(self) -> None:
        """Look until nobody listens."""
        while self._listeners:
            self._touched.clear()
            try:
                found = await self._house.database.read(inbox.pulses, list(self._listeners))
            except Exception as error:  # whatever it was, somebody still listens
                log.warning("inboxes cannot be looked at", error=type(error).__name__)
            else:
                for subject_id, events in self._listeners.items():
                    pulse = found.get(subject_id, Pulse(0, 0, 0, 0, 0))
                    if self._known.get(subject_id) != pulse:
                        self._known[subject_id] = pulse
                        for event in events:
                            event.set()
            try:
                async with asyncio.timeout(POLL_S):
                    await self._touched.wait()
            except TimeoutError:
                continue
            await asyncio.sleep(_SETTLE_S)


async def stream(call: Call) -> Response:
    """The unread count and new messages, at the start and at every change."""
    subject_id = await call.read(inbox.subject_of, call.access, recipient_id_of(call.request))
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    if call.request.method == "HEAD":  # a body that nobody reads must not run
        return Response(headers=headers, media_type="text/event-stream")
    return StreamingResponse(_events(call, subject_id), media_type="text/event-stream", headers=headers)


def _watch(call: Call) -> Watch:
    state = call.request.app.state
    found: Watch | None = getattr(state, "inbox_watch", None)
    if found is None:
        found = state.inbox_watch = Watch(call.house)
    return found


async def _events(call: Call, subject_id: str) -> AsyncIterator[bytes]:
    stopping: asyncio.Event = call.request.app.state.stopping
    watch = _watch(call)
    changed = watch.join(subject_id)
    changed.set()
    ended = asyncio.create_task(stopping.wait())
    told: set[str] = set()
    last: bytes | None = None
    checked = time.monotonic()
    try:
        while not stopping.is_set():
            if changed.is_set():
                changed.clear()
                data, told = await _news(call, subject_id, told)
                if data != last:
                    yield data
                    last = data
            woken = asyncio.create_task(changed.wait())
            try:
                await asyncio.wait({woken, ended}, timeout=HEARTBEAT_S, return_when=asyncio.FIRST_COMPLETED)
            finally:  # also when the client has gone
                woken.cancel()
            if time.monotonic() - checked >= HEARTBEAT_S:
                checked = time.monotonic()
                await access.authenticate(call.request, call.house, inbox_token=True)  # revoked or over: the stream ends
                yield b": still here\n\n"
    except AccessError:
        return
    except NoticesvcError as error:
        log.warning("an inbox stream ends", error=type(error).__name__)  # the client comes again by itself
    finally:
        ended.cancel()
        watch.leave(subject_id, changed)


async def _news(call: Call, subject_id: str, told: set[str]) -> tuple[bytes, set[str]]:
    """One event, and the messages that it leaves unread."""
    pulse, ids = await call.house.database.read(_unread, subject_id)
    data: dict[str, Any] = {"unread": pulse.unread, "messages": [one for one in ids if one not in told]}
    return f"event: inbox\ndata: {json.dumps(data)}\n\n".encode(), set(ids)


def _unread(tx: Any, subject_id: str) -> tuple[Pulse, list[str]]:
    """Count and ids from one snapshot."""
    return inbox.pulses(tx, [subject_id]).get(subject_id, Pulse(0, 0, 0, 0, 0)), inbox.unread_ids(tx, subject_id)
