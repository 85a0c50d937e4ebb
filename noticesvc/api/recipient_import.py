"""The streamed import of contacts: NDJSON, one PUT body with `recipient_id` a line, in constant memory.

Each line is judged as soon as it is whole; what can be used is recorded some lines at a time, so that after a crash a
repeated import finds what was recorded unchanged.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import structlog

from noticesvc.api import wire
from noticesvc.api.context import IMPORTING, Call
from noticesvc.api.endpoint import Endpoint
from noticesvc.api.recipient_wire import Imported, ImportLine, replacement
from noticesvc.errors import InputError, MalformedInput
from noticesvc.operations import recipient_import
from noticesvc.operations.recipient_import import Line
from noticesvc.upload.lines import Lines
from noticesvc.upload.row import LONGEST

log = structlog.get_logger()
MOST_REJECTED = 1000
_AT_ONCE = 16  # lines judged before others in the event loop have their turn: half a millisecond


@dataclass(slots=True)
class _Tally:
    accepted: int = 0
    unchanged: int = 0
    rejected_total: int = 0
    rejected: list[dict[str, Any]] = field(default_factory=list)

    def reject(self, line: int, reason: str) -> None:
        self.rejected_total += 1
        if len(self.rejected) < MOST_REJECTED:
            self.rejected.append({"line": line, "reason": reason})


async def import_contacts(call: Call) -> Any:
    """Record the contacts of many recipients; a line that cannot be taken is named and hinders no other."""
    tally, waiting = _Tally(), list[Line]()
    writing = _Writing(call, tally)
    try:
        async for number, data in lines(call.request.stream()):
            found = _judge(number, data, tally)
            if found is not None:
                waiting.append(found)
            if len(waiting) >= recipient_import.LARGEST:
                await writing.hand(waiting)
                waiting = []
            elif number % _AT_ONCE == 0:
                await asyncio.sleep(0)  # lines that came in one piece are judged without waiting: what is being recorded has its turn
        await writing.hand(waiting)
        await writing.finish()
    finally:
        writing.leave()
    tally.rejected.sort(key=lambda one: int(one["line"]))
    return {"accepted": tally.accepted, "unchanged": tally.unchanged, "rejected": tally.rejected,
            "rejected_total": tally.rejected_total}


class _Writing:
    """Records portions while the next is judged. Those that share no recipient are recorded at the same time, the others in turn."""

    def __init__(self, call: Call, tally: _Tally) -> None:
        self._call, self._tally = call, tally
        self._under_way: deque[_UnderWay] = deque()

    async def hand(self, portion: list[Line]) -> None:
        """Begin to record a portion, behind what an earlier one postponed; returns when few enough are under way.

        Where many were postponed, because their sets are large, they go first: at most six portions are ever held.
        """
        named = {line.recipient_id for line in portion}
        postponed = list[Line]()
        while len(self._under_way) >= IMPORTING or any(not named.isdisjoint(one.named) for one in self._under_way):
            postponed += await self._first_recorded()
        while len(postponed) > recipient_import.LARGEST // 2:
            self._begin(postponed)
            postponed = await self._all_recorded()
        self._begin(postponed + portion)

    async def finish(self) -> None:
        """Return when everything is recorded."""
        while postponed := await self._all_recorded():
            self._begin(postponed)

    def leave(self) -> None:
        """Nobody waits for what is still under way, as when the caller has hung up: it ends by itself."""
        for one in self._under_way:
            one.task.add_done_callback(_ended)

    def _begin(self, portion: list[Line]) -> None:
        if portion:
            task = asyncio.create_task(self._record(portion))
            self._under_way.append(_UnderWay(task, {line.recipient_id for line in portion}))

    async def _record(self, portion: list[Line]) -> recipient_import.Imported:
        async with self._call.house.importing:
            return await self._call.write(recipient_import.import_lines, portion)

    async def _all_recorded(self) -> list[Line]:
        postponed = list[Line]()
        while self._under_way:
            postponed += await self._first_recorded()
        return postponed

    async def _first_recorded(self) -> list[Line]:
        """Wait for the portion that was begun first; the lines that it postponed."""
        done = await self._under_way.popleft().task
        self._tally.accepted += done.accepted
        self._tally.unchanged += done.unchanged
        for number, reason in done.rejected:
            self._tally.reject(number, reason)
        return done.postponed


class _UnderWay(NamedTuple):
    """A portion that is being recorded, and whom it names."""

    task: asyncio.Task[recipient_import.Imported]
    named: set[str]


def _ended(task: asyncio.Task[Any]) -> None:
    error = None if task.cancelled() else task.exception()
    if error is not None:
        log.warning("a portion of an import that was given up could not be recorded", error=type(error).__name__)


def _judge(number: int, data: bytes | None, tally: _Tally) -> Line | None:
    if data is None:
        tally.reject(number, f"The line is longer than {LONGEST} bytes.")
        return None
    if not data.strip():
        return None
    try:
        body = wire.parse(ImportLine, data)
        return Line(number, body.recipient_id, replacement(body))
    except MalformedInput:
        tally.reject(number, "The line is not JSON in UTF-8.")
    except InputError as error:
        tally.reject(number, "; ".join(f"{fault.pointer}: {fault.detail}" for fault in error.faults[:5]) or error.detail)
    return None


async def lines(chunks: AsyncIterator[bytes]) -> AsyncIterator[tuple[int, bytes | None]]:
    """Numbered lines of a stream, from 1; null for one over the limit, of which no more than the limit is ever held."""
    cut = Lines(lone_cr=False)
    async for chunk in chunks:
        for line in cut.feed(chunk):
            yield line.number, line.data
    for line in cut.finish():
        yield line.number, line.data


IMPORT = Endpoint("POST", "/v1/recipients/import", import_contacts, "Contacts of many recipients, streamed", ("contacts:write",),
                  reply=Imported, media_type="application/x-ndjson", raw_body=True)
