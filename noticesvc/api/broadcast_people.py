"""Routes of broadcasts that people use: whom it goes to, what they would get, what to know before approval, who was served."""

from typing import Any

from noticesvc.api import broadcast_report, broadcast_upload, cursor
from noticesvc.api.broadcast_people_wire import MemberPage, PdfQuery, PostFollowUp, Preview, PreviewQuery, ReportQuery, Uploaded, Warnings
from noticesvc.api.broadcast_wire import Broadcast
from noticesvc.api.context import Call
from noticesvc.api.endpoint import Endpoint
from noticesvc.api.notice_wire import PageQuery
from noticesvc.api.notices import id_of
from noticesvc.operations import broadcast_preview, broadcast_warnings


async def preview(call: Call) -> Any:
    """What this recipient would get, on every channel, and why not where not; addresses are shown in part."""
    return await call.read(broadcast_preview.preview, call.access, id_of(call.request, "broadcast_id"), call.query.recipient_id)


async def warnings(call: Call) -> Any:
    """What to know before approval, in numbers. Names stand behind each kind of recipients, for who may upload them."""
    mapped = {name: one.templates for name, one in call.house.providers.items() if one.templates is not None and "sms" in one.channels}
    return await call.read(broadcast_warnings.warnings, call.access, id_of(call.request, "broadcast_id"), mapped)


async def warned_of(call: Call) -> Any:
    """The recipients behind a warning whose kind begins with `no_`, or invalid_contact."""
    items, last = await call.read(broadcast_warnings.members, call.access, id_of(call.request, "broadcast_id"),
                                  call.request.path_params["kind"], call.query.limit, cursor.decode_id(call.query.cursor))
    return {"items": items, "next_cursor": cursor.encode_id(last)}


_WRITE, _EITHER = ("broadcasts:write",), ("broadcasts:write", "broadcasts:approve")
_ONE = "/v1/broadcasts/{broadcast_id}"

ENDPOINTS: tuple[Endpoint, ...] = (
    Endpoint("POST", f"{_ONE}/recipients", broadcast_upload.upload, "Add recipients to a draft, streamed", _WRITE, reply=Uploaded,
             media_type=broadcast_upload.NDJSON, more_media_types=(broadcast_upload.CSV,), raw_body=True, errors=(404, 409, 415)),
    Endpoint("GET", f"{_ONE}/preview", preview, "What a recipient would get", _WRITE, query=PreviewQuery, reply=Preview, errors=(404,)),
    Endpoint("GET", f"{_ONE}/warnings", warnings, "What to know before approval", _EITHER, reply=Warnings, errors=(404, 422)),
    Endpoint("GET", f"{_ONE}/warnings/{{kind}}", warned_of, "The recipients behind a warning", _WRITE, query=PageQuery, reply=MemberPage,
             errors=(404,)),
    Endpoint("GET", f"{_ONE}/report.csv", broadcast_report.report_csv, "Who was served, and why not where not", _EITHER, query=ReportQuery,
             reply_media_type="text/csv", errors=(404,)),
    Endpoint("GET", f"{_ONE}/report.pdf", broadcast_report.report_pdf, "The summary of what came of it", _EITHER, query=PdfQuery,
             reply_media_type="application/pdf", errors=(404, 409)),
    Endpoint("POST", f"{_ONE}/follow-up", broadcast_report.follow_up, "A new draft for whoever was not served", _WRITE, body=PostFollowUp,
             reply=Broadcast, status=201, errors=(404, 409)),
)
