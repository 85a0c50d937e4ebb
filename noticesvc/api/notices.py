"""Routes of notices: accepted singly or in batches, tried without effect, read, listed, counted, cancelled."""

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from noticesvc.api import cursor, problem, wire
from noticesvc.api.context import Call
from noticesvc.api.endpoint import Endpoint, json_reply
from noticesvc.api.notice_view import Notice, NoticePage
from noticesvc.api.notice_wire import (
    BATCH_LIMIT,
    AcceptedNotice,
    BatchItem,
    BatchReply,
    CountsReply,
    DryRun,
    NoticeFilter,
    NoticeQuery,
    PostBatch,
    PostNotice,
    PostQuery,
    micros,
    request_of,
)
from noticesvc.domain.identity import is_id
from noticesvc.errors import Fault, InputError, NotFound
from noticesvc.operations import cancel, dry_run, notice_reading
from noticesvc.operations.accept import Accepted
from noticesvc.operations.notice_reading import Filter
from noticesvc.operations.notice_request import NoticeRequest


def id_of(request: Request, name: str = "notice_id") -> str:
    """Our id in the path. NotFound for anything that is none."""
    found = request.path_params[name]
    if not is_id(found):
        raise NotFound
    return str(found)


async def post_notice(call: Call) -> Response:
    """Accept one notice: 202 when it is durable. `?dry_run=true`: 200 and nothing is kept."""
    request = request_of(call.body, _key(call.request))
    if call.query.dry_run:
        return json_reply(await call.read(dry_run.dry_run, call.access, request))
    outcome, = await call.house.acceptor.accept(call.access, [request])
    if not isinstance(outcome, Accepted):
        raise outcome
    headers = {"Location": f"/v1/notices/{outcome.id}"}
    if outcome.replayed:
        headers["Idempotent-Replayed"] = "true"
    return json_reply(_accepted(outcome, request), 202, headers)


async def post_batch(call: Call) -> dict[str, Any]:
    """Accept many notices, each answered by itself and in order."""
    requests: list[NoticeRequest] = []
    results: list[dict[str, Any] | None] = []
    bulk = len(call.body.notices) > 1
    for value in call.body.notices:
        read = _item(value, bulk=bulk)
        results.append(None if isinstance(read, NoticeRequest) else read)
        if isinstance(read, NoticeRequest):
            requests.append(read)
    outcomes = iter(zip(await call.house.acceptor.accept(call.access, requests), requests, strict=True))
    return {"results": [_result(*next(outcomes)) if result is None else result for result in results]}


def _item(value: Any, *, bulk: bool) -> NoticeRequest | dict[str, Any]:
    """One item as a request, or the result that refuses it."""
    try:
        item = wire.fitted(BatchItem, value)
        return request_of(item, item.idempotency_key, bulk=bulk)
    except InputError as error:
        return _refused(422, error.slug, error.detail, error.faults)


def _result(outcome: Accepted | Exception, request: NoticeRequest) -> dict[str, Any]:
    if isinstance(outcome, Accepted):
        made: dict[str, Any] = {"status": 202, **_accepted(outcome, request)}
        return made | {"replayed": True} if outcome.replayed else made
    status, slug, detail, faults, _ = problem.parts(outcome)
    return _refused(status, slug, detail, faults)


def _refused(status: int, slug: str, detail: str, faults: tuple[Fault, ...]) -> dict[str, Any]:
    return {"status": status, "problem": problem.body(status, slug, detail, faults)}


def _accepted(outcome: Accepted, request: NoticeRequest) -> dict[str, Any]:
    return {"id": outcome.id, "state": "queued", "accepted_at": outcome.accepted_at, "recipient_id": request.recipient_id,
            "warnings": list(outcome.warnings)}


def _key(request: Request) -> str | None:
    """The idempotency key of the header. InputError unless it is given once and fits."""
    given = request.headers.getlist("idempotency-key")
    if not given:
        return None
    try:
        key = given[0].encode("latin-1").decode()  # what a client wrote in UTF-8 is the same key as in a batch's JSON
    except UnicodeDecodeError:
        key = given[0]
    if len(given) != 1 or not 1 <= len(key) <= 255 or not wire.is_line(key):
        raise InputError("The Idempotency-Key cannot be used: give it once, as 1 to 255 characters without control characters.")
    return key


async def get_notice(call: Call) -> Any:
    """The notice as it stands now, with deliveries and evidence."""
    found = await call.read(notice_reading.one, id_of(call.request))
    call.access.require_category(found["category"])
    return found


async def list_notices(call: Call) -> Any:
    """The notices that fit, the newest first, without deliveries and evidence."""
    after = cursor.decode_id(call.query.cursor)
    items, last = await call.read(notice_reading.listed, _filter(call), call.query.limit, after)
    return {"items": items, "next_cursor": cursor.encode_id(last)}


async def count_notices(call: Call) -> Any:
    """How many notices fit, by state, from one snapshot."""
    return {"counts": await call.read(notice_reading.counts, _filter(call))}


def _filter(call: Call) -> Filter:
    """The caller's filter, within the categories of the key. Forbidden if it names another."""
    query: NoticeFilter = call.query
    if query.category is not None:
        call.access.require_category(query.category)
    return Filter(recipient_id=query.recipient_id, reference=query.reference, category=query.category, state=query.state,
                  broadcast_id=query.broadcast_id, accepted_from=micros(query.accepted_from), accepted_to=micros(query.accepted_to),
                  case_number=query.case_number, categories=call.access.categories)


async def cancel_notice(call: Call) -> Any:
    """Cancel a notice of which nothing was dispatched; cancelling again changes nothing."""
    return await call.write(cancel.cancel, call.access, id_of(call.request))


_READ, _WRITE = ("notices:read",), ("notices:write",)
_ALL = "/v1/notices"

ENDPOINTS: tuple[Endpoint, ...] = (
    Endpoint("POST", _ALL, post_notice, "Accept a notice", _WRITE, body=PostNotice, query=PostQuery, reply=AcceptedNotice, status=202,
             also=((200, DryRun),), headers=(("Idempotency-Key", "1 to 255 characters: the same key and body are one notice."),),
             errors=(409,)),
    Endpoint("GET", _ALL, list_notices, "Notices, the newest first", _READ, query=NoticeQuery, reply=NoticePage),
    Endpoint("POST", f"{_ALL}/batch", post_batch, "Accept up to 1,000 notices", _WRITE, body=PostBatch, reply=BatchReply,
             body_limit=BATCH_LIMIT),
    Endpoint("GET", f"{_ALL}/counts", count_notices, "Notices by state", _READ, query=NoticeFilter, reply=CountsReply),
    Endpoint("GET", f"{_ALL}/{{notice_id}}", get_notice, "A notice with deliveries and evidence", _READ, reply=Notice, errors=(404,)),
    Endpoint("POST", f"{_ALL}/{{notice_id}}/cancel", cancel_notice, "Cancel a notice before any dispatch", _WRITE, reply=Notice,
             errors=(404, 409)),
)
