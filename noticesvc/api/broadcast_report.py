"""Routes of what came of a broadcast: the coverage report as CSV, its summary as PDF, and the follow-up to whoever was not served.

In the CSV a cell that a spreadsheet program would take for a formula (it begins with = + - @, a tab or a line break, or their full-width
forms) gets an apostrophe before it, and so does a cell that begins with an apostrophe: taking one away gives the cell back.
"""

import asyncio
import csv
import io
from collections.abc import AsyncIterator, Iterable
from typing import Any

from starlette.responses import Response, StreamingResponse

from noticesvc.api.broadcast_people_wire import PostFollowUp
from noticesvc.api.context import Call
from noticesvc.api.endpoint import json_reply
from noticesvc.api.notices import id_of
from noticesvc.certificate import coverage
from noticesvc.operations import broadcast_follow_up, broadcast_report, broadcast_summary, broadcasts
from noticesvc.operations.broadcast_report import Line, Place

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠", "'")


def cell(text: str) -> str:
    """A cell that no spreadsheet program computes."""
    return f"'{text}" if text.startswith(_FORMULA) else text


def lines_of(rows: Iterable[Line]) -> bytes:
    """These lines as CSV (RFC 4180)."""
    out = io.StringIO(newline="")
    csv.writer(out).writerows([cell(one) for one in row] for row in rows)
    return out.getvalue().encode()


async def report_csv(call: Call) -> Response:
    """Every recipient of the audience: served when and by which channel, or the reason why not, in words.

    Streamed; with `excel=true` a byte order mark comes first, so that spreadsheet programs read it as UTF-8.
    """
    broadcast_id = id_of(call.request, "broadcast_id")
    first = await call.read(broadcast_report.page, call.access, broadcast_id, call.query.lang, Place())  # whatever fails, fails before 200
    return StreamingResponse(_pages(call, broadcast_id, first), media_type="text/csv; charset=utf-8; header=present", headers={
        "Content-Disposition": f'attachment; filename="broadcast-{broadcast_id}.csv"', "Cache-Control": "no-store"})


async def _pages(call: Call, broadcast_id: str, first: tuple[list[Line], Place | None]) -> AsyncIterator[bytes]:
    yield (b"\xef\xbb\xbf" if call.query.excel == "true" else b"") + ",".join(Line._fields).encode() + b"\r\n"
    rows, place = first
    while True:
        if rows:
            yield lines_of(rows)
        if place is None:
            return
        rows, place = await call.read(broadcast_report.page, call.access, broadcast_id, call.query.lang, place)


async def report_pdf(call: Call) -> Response:
    """The summary for people: totals, a chart of served over time and by channel, reasons, and who was served in time."""
    broadcast_id = id_of(call.request, "broadcast_id")
    story = await call.read(broadcast_summary.summary, call.access, broadcast_id, call.query.days)
    made = await asyncio.to_thread(coverage.make, story, call.query.lang)
    return Response(made, media_type="application/pdf", headers={
        "Content-Disposition": f'attachment; filename="broadcast-{broadcast_id}.pdf"', "Cache-Control": "no-store"})


async def follow_up(call: Call) -> Response:
    """Make a new draft with the same notice for whoever this broadcast has not served (unserved or expired), by these channels."""
    broadcast_id, body = id_of(call.request, "broadcast_id"), call.body
    assert isinstance(body, PostFollowUp)  # noqa: S101 (the endpoint's model)
    made: dict[str, Any] = await call.write(broadcast_follow_up.draft, call.access, broadcast_id, body.channels, body.name)
    try:
        after = await call.write(broadcast_follow_up.fill, broadcast_id, made["id"], None)
        while after is not None:
            after = await call.write(broadcast_follow_up.fill, broadcast_id, made["id"], after)
    except BaseException:  # a draft to some of them must not be taken for one to all
        await asyncio.shield(call.write(broadcasts.act, call.access, made["id"], "cancel"))
        raise
    shown = await call.read(broadcasts.one, call.access, made["id"])
    return json_reply(shown | {"warnings": made["warnings"]}, 201, {"Location": f"/v1/broadcasts/{made['id']}"})
