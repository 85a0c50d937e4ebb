"""Routes of the inbox: messages, what the recipient does with them, tokens. The stream stands in inbox_stream."""

from typing import Annotated, Any

from pydantic import Field

from noticesvc.api import cursor, wire
from noticesvc.api.context import Call
from noticesvc.api.endpoint import Endpoint
from noticesvc.api.inbox_stream import stream
from noticesvc.api.notice_wire import DocumentReply
from noticesvc.api.notices import id_of
from noticesvc.api.recipients import recipient_id_of
from noticesvc.operations import inbox


class MessagesQuery(wire.Wire):
    """A page of messages; `unread`: only those neither opened nor acknowledged, or only the others."""

    unread: Annotated[bool, Field(strict=False)] | None = None
    limit: wire.Limit = 50
    cursor: str | None = None


class Message(wire.Wire):
    """An in-site message; subject and body are null once they were destroyed."""

    id: str
    notice_id: str
    subject: str | None
    body_html: str | None
    sent_at: wire.Instant
    displayed_at: wire.Instant | None
    opened_at: wire.Instant | None
    acknowledged_at: wire.Instant | None
    documents: list[DocumentReply]


class Messages(wire.Wire):
    """A page, and how many messages of the whole inbox are unread."""

    items: list[Message]
    unread: int
    next_cursor: str | None


class Token(wire.Wire):
    """A Bearer for one recipient's inbox."""

    token: str
    expires_at: wire.Instant


async def get_messages(call: Call) -> Any:
    """Messages, the newest first."""
    query: MessagesQuery = call.query
    items, last, unread = await call.read(inbox.messages, call.access, recipient_id_of(call.request), query.unread, query.limit,
                                          cursor.decode_id(query.cursor))
    return {"items": items, "unread": unread, "next_cursor": cursor.encode_id(last)}


async def post_displayed(call: Call) -> Any:
    """The message was shown in a list; evidence without a level."""
    return await _act(call, "displayed")


async def post_opened(call: Call) -> Any:
    """The recipient opened the message in their own session."""
    return await _act(call, "opened")


async def post_acknowledged(call: Call) -> Any:
    """The recipient pressed 已收悉."""
    return await _act(call, "acknowledged")


async def _act(call: Call, done: str) -> Any:
    return await call.write(inbox.act, call.access, recipient_id_of(call.request), id_of(call.request, "message_id"), done)


async def post_token(call: Call) -> Any:
    """A token for this recipient's inbox alone, good for an hour."""
    return await call.read(inbox.token, call.access, recipient_id_of(call.request))


_SCOPE = ("inbox",)
_ONE = "/v1/inbox/{recipient_id}"
_MESSAGE = f"{_ONE}/messages/{{message_id}}"

ENDPOINTS: tuple[Endpoint, ...] = (
    Endpoint("GET", f"{_ONE}/messages", get_messages, "Messages, the newest first", _SCOPE, query=MessagesQuery, reply=Messages,
             inbox_token=True),
    Endpoint("POST", f"{_MESSAGE}/displayed", post_displayed, "The message was shown", _SCOPE, reply=Message, inbox_token=True),
    Endpoint("POST", f"{_MESSAGE}/opened", post_opened, "The message was opened", _SCOPE, reply=Message, inbox_token=True),
    Endpoint("POST", f"{_MESSAGE}/acknowledged", post_acknowledged, "The message was acknowledged", _SCOPE, reply=Message,
             inbox_token=True),
    Endpoint("GET", f"{_ONE}/stream", stream, "The unread count and new messages, as server-sent events", _SCOPE,
             reply_media_type="text/event-stream", inbox_token=True),
    Endpoint("POST", f"{_ONE}/token", post_token, "A token for this inbox alone", _SCOPE, reply=Token, status=201),
)
