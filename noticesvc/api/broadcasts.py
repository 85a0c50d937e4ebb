"""Routes of broadcasts: made, shown, listed, approved by a second key, paused, resumed, cancelled."""

from collections.abc import Awaitable, Callable
from typing import Any

from starlette.responses import Response

from noticesvc.api import cursor
from noticesvc.api.broadcast_wire import Broadcast, BroadcastPage, BroadcastQuery, PostBroadcast
from noticesvc.api.context import Call
from noticesvc.api.endpoint import Endpoint, json_reply
from noticesvc.api.notice_wire import PageQuery, request_of
from noticesvc.api.notices import id_of
from noticesvc.domain.broadcast import Verb
from noticesvc.errors import Fault, InputError
from noticesvc.operations import broadcast_approval, broadcasts


async def post_broadcast(call: Call) -> Response:
    """Make a draft."""
    body: PostBroadcast = call.body
    notice = body.notice
    if body.effective_at is not None:
        if notice.effective_at is not None:
            raise InputError("The broadcast cannot be made as it is.", (
                Fault("/effective_at", "is given in the notice too; give it once"),
                Fault("/notice/effective_at", "is given beside the notice too; give it once")))
        notice = notice.model_copy(update={"effective_at": body.effective_at})
    try:
        made = await call.write(broadcasts.create, call.access, body.name, request_of(notice, None, bulk=True), body.audience.type,
                                dict(body.rates or {}))
    except InputError as error:
        # What is wrong with the notice stands under /notice here.
        raise InputError(error.detail, tuple(Fault(f"/notice{fault.pointer}", fault.detail) for fault in error.faults)) from None
    return json_reply(made, 201, {"Location": f"/v1/broadcasts/{made['id']}"})


async def get_broadcast(call: Call) -> Any:
    """The broadcast and its counts, from one snapshot."""
    return await call.read(broadcasts.one, call.access, id_of(call.request, "broadcast_id"), call.query.days)


async def list_broadcasts(call: Call) -> Any:
    """Broadcasts, the newest first."""
    items, last = await call.read(broadcasts.listed, call.access, call.query.limit, cursor.decode_id(call.query.cursor))
    return {"items": items, "next_cursor": cursor.encode_id(last)}


async def approve_broadcast(call: Call) -> Any:
    """Freeze audience, content, policy and rates, and begin; it answers when that is durable, however long the audience is."""
    broadcast_id = id_of(call.request, "broadcast_id")
    await call.house.database.write(broadcast_approval.approve, call.house.world, call.access, broadcast_id)
    return await call.read(broadcasts.one, call.access, broadcast_id)


def _acting(verb: Verb) -> Callable[[Call], Awaitable[Any]]:
    async def run(call: Call) -> Any:
        broadcast_id = id_of(call.request, "broadcast_id")
        await call.write(broadcasts.act, call.access, broadcast_id, verb)
        return await call.read(broadcasts.one, call.access, broadcast_id)
    return run


_WRITE, _EITHER = ("broadcasts:write",), ("broadcasts:write", "broadcasts:approve")
_ALL = "/v1/broadcasts"
_ONE = f"{_ALL}/{{broadcast_id}}"

ENDPOINTS: tuple[Endpoint, ...] = (
    Endpoint("POST", _ALL, post_broadcast, "Make the draft of a broadcast", _WRITE, body=PostBroadcast, reply=Broadcast, status=201),
    Endpoint("GET", _ALL, list_broadcasts, "Broadcasts, the newest first", _EITHER, query=PageQuery, reply=BroadcastPage),
    Endpoint("GET", _ONE, get_broadcast, "A broadcast and its counts", _EITHER, query=BroadcastQuery, reply=Broadcast, errors=(404,)),
    Endpoint("POST", f"{_ONE}/approve", approve_broadcast, "Approve with a second key, and begin", ("broadcasts:approve",), reply=Broadcast,
             errors=(404, 409, 422)),
    Endpoint("POST", f"{_ONE}/pause", _acting("pause"), "Stop dispatching", _WRITE, reply=Broadcast, errors=(404, 409)),
    Endpoint("POST", f"{_ONE}/resume", _acting("resume"), "Go on dispatching", _WRITE, reply=Broadcast, errors=(404, 409)),
    Endpoint("POST", f"{_ONE}/cancel", _acting("cancel"), "Cancel whatever was not sent yet", _WRITE, reply=Broadcast, errors=(404, 409)),
)
