"""The upload of a broadcast's audience: CSV or NDJSON, streamed, in constant memory; a bad line hinders no other.

What is read is recorded a thousand rows at a time, each durable by itself: an upload that broke off is sent again whole, and what was
there already counts as duplicates. The body comes as it is: a Content-Encoding is refused, so that nothing can unfold here.
"""

from typing import Any

from python_multipart.multipart import parse_options_header
from starlette.requests import Request
from starlette.responses import Response

from noticesvc.api import problem, wire
from noticesvc.api.context import Call
from noticesvc.api.notices import id_of
from noticesvc.errors import Fault, InputError
from noticesvc.operations import broadcast_audience, broadcast_upload
from noticesvc.upload import charset
from noticesvc.upload.csv_rows import CsvRows
from noticesvc.upload.json_rows import JsonRows
from noticesvc.upload.row import BadLine, Found, Row

MOST_REJECTED = 1000
_HEAVY = 1 << 20  # characters in the rows of one call
_MOST_WAITING = 10 * broadcast_audience.LARGEST  # rows and bad lines
CSV, NDJSON = "text/csv", "application/x-ndjson"
_NDJSON = (NDJSON, "application/ndjson", "application/jsonl")


async def upload(call: Call) -> Any:
    """Add recipients to the draft; rows are recorded as they come, and a line that cannot be taken is named and hinders no other."""
    broadcast_id = id_of(call.request, "broadcast_id")
    reader = _reader(call.request)
    if isinstance(reader, Response):
        return reader
    wanted = await call.write(broadcast_upload.begin, call.access, broadcast_id)
    tally = _Tally(call, broadcast_id)
    async for chunk in call.request.stream():
        await tally.take(reader.feed(chunk), reader.columns, wanted)
    await tally.take(reader.finish(), reader.columns, wanted)
    await tally.record()
    return {"accepted": tally.accepted, "duplicates": tally.duplicates, "rejected": tally.rejected, "rejected_total": tally.rejected_total}


def _reader(request: Request) -> CsvRows | JsonRows | Response:
    """What reads this body, or the answer that nothing does."""
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in {"", "identity"}:
        return problem.answer(415, "unsupported-encoding", "Send the upload as it is, without Content-Encoding: it is read while it "
                              "arrives, and its size has no limit.")
    media_type, options = parse_options_header(request.headers.get("content-type", ""))
    kind = media_type.decode("latin-1").lower()
    declared = options.get(b"charset")
    try:
        codec = charset.codec(None if declared is None else declared.decode("latin-1"))
    except LookupError:
        return problem.answer(415, "unsupported-charset", "Declare the charset utf-8, gb18030 (gbk, gb2312) or utf-16, or none.")
    if kind == CSV:
        return CsvRows(codec)
    if kind in _NDJSON:
        if codec not in {None, "utf-8"}:
            return problem.answer(415, "unsupported-charset", "NDJSON is written in UTF-8.")
        return JsonRows()
    return problem.answer(415, "unsupported-media-type", f"Send the upload as {CSV} (a header with recipient_id) or {NDJSON}.")


def _judge_columns(columns: tuple[str, ...], wanted: frozenset[str]) -> None:
    """A header that does not fit the template spoils every row, so it refuses the whole."""
    faults = [Fault(wire.pointer((name,)), "is a parameter of the template, and no column of the header")
              for name in sorted(wanted - {*columns})]
    faults += [Fault(wire.pointer((name,)), "is a column, and no parameter that the template still needs; remove it")
               for name in columns if name not in wanted]
    if faults:
        raise InputError("The header (the first line) does not fit the notice: beside recipient_id it names the parameters that its "
                         "template still needs, and nothing else.", tuple(faults[:50]))


class _Tally:
    """Rows on their way to the database, and what became of them, in the order of their lines."""

    def __init__(self, call: Call, broadcast_id: str) -> None:
        self._call, self._broadcast_id = call, broadcast_id
        self._waiting: list[Found] = []
        self._rows = self._weight = 0
        self._judged = False
        self.accepted = self.duplicates = self.rejected_total = 0
        self.rejected: list[dict[str, Any]] = []

    async def take(self, found: list[Found], columns: tuple[str, ...] | None, wanted: frozenset[str]) -> None:
        """Take what was found under a header with these columns (null: not read yet, or there is none); record what is enough."""
        if columns is not None and not self._judged:
            _judge_columns(columns, wanted)
            self._judged = True
        for one in found:
            checked = _checked(one) if isinstance(one, Row) else one
            self._waiting.append(checked)
            if isinstance(checked, Row):
                self._rows += 1
                self._weight += sum(map(len, map(str, checked.params.values())))
            if self._rows >= broadcast_audience.LARGEST or self._weight >= _HEAVY or len(self._waiting) >= _MOST_WAITING:
                await self.record()

    async def record(self) -> None:
        """Record what waits."""
        rows = [one for one in self._waiting if isinstance(one, Row)]
        refused: dict[int, str] = {}
        if rows:
            done = await self._call.write(broadcast_audience.add, self._broadcast_id, [(one.recipient_id, one.params) for one in rows])
            self.accepted += done.accepted
            self.duplicates += done.duplicates
            refused = {rows[at].line: reason for at, reason in done.rejected}
        for one in self._waiting:
            reason = one.reason if isinstance(one, BadLine) else refused.get(one.line)
            if reason is not None:
                self.rejected_total += 1
                if len(self.rejected) < MOST_REJECTED:
                    self.rejected.append({"line": one.line, "reason": reason})
        self._waiting, self._rows, self._weight = [], 0, 0


def _checked(row: Row) -> Found:
    """The row, if its id and parameters can be written at all."""
    if not wire.is_caller_id(row.recipient_id):
        return BadLine(row.line, f"recipient_id {wire.NO_CALLER_ID}.")
    if any(isinstance(value, str) and not wire.is_line(value) for value in row.params.values()):
        return BadLine(row.line, "A parameter is not one line of valid Unicode without control characters.")
    return row
