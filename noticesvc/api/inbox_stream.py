"""Server-sent events of an inbox (WHATWG HTML, 9.2): the unread count and new messages, at the start and at every change.

One watch a process looks at all inboxes that somebody listens to, in one statement: after commits that touched an inbox, and
every two seconds for what other processes did. Called by the route in `inbox`.
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
from noticesvc.api.event_stream import News
from noticesvc.api.recipients import recipient_id_of
from noticesvc.operations import inbox
from noticesvc.operations.inbox import Pulse

log = structlog.get_logger()
POLL_S = 2.0
_SETTLE_S = 0.05  # many commits in a row are looked at once


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
    return event_stream.reply(call, lambda: _events(call, subject_id))


def _watch(call: Call) -> Watch:
    state = call.request.app.state
    found: Watch | None = getattr(state, "inbox_watch", None)
    if found is None:
        found = state.inbox_watch = Watch(call.house)
    return found


async def _events(call: Call, subject_id: str) -> AsyncIterator[bytes]:
    watch = _watch(call)
    changed = watch.join(subject_id)
    changed.set()
    told: set[str] = set()
    last: bytes | None = None

    async def news() -> News:
        nonlocal told, last
        before = last
        last, told = await _news(call, subject_id, told)
        return News(None if last == before else last)

    try:
        async with aclosing(event_stream.kept_open(call, changed, news, inbox_token=True)) as events:
            async for event in events:
                yield event
    finally:
        watch.leave(subject_id, changed)


async def _news(call: Call, subject_id: str, told: set[str]) -> tuple[bytes, set[str]]:
    """One event, and the messages that it leaves unread."""
    pulse, ids = await call.house.database.read(_unread, subject_id)
    data: dict[str, Any] = {"unread": pulse.unread, "messages": [one for one in ids if one not in told]}
    return f"event: inbox\ndata: {json.dumps(data)}\n\n".encode(), set(ids)


def _unread(tx: Any, subject_id: str) -> tuple[Pulse, list[str]]:
    """Count and ids from one snapshot."""
    return inbox.pulses(tx, [subject_id]).get(subject_id, Pulse(0, 0, 0, 0, 0)), inbox.unread_ids(tx, subject_id)
