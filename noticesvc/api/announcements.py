"""Routes of announcements: published with a key, read by everybody."""

from typing import Any

from noticesvc.api import cursor
from noticesvc.api.context import Call
from noticesvc.api.endpoint import Endpoint
from noticesvc.api.notice_wire import Announcement, Announcements, PageQuery, PostAnnouncement, micros
from noticesvc.errors import Forbidden
from noticesvc.operations import announcements

ANNOUNCED = ("agreement", "platform")  # the categories whose notices may be announced


async def post_announcement(call: Call) -> Any:
    """Publish, or join what is live with the same content."""
    if not any(call.access.allows_category(category) for category in ANNOUNCED):
        raise Forbidden(f"Announcing needs a key for notices of the category {' or '.join(ANNOUNCED)}.")
    body: PostAnnouncement = call.body
    return await call.write(announcements.publish, body.subject, body.body, micros(body.effective_at))


async def list_announcements(call: Call) -> Any:
    """Live announcements, the newest first."""
    items, last = await call.read(announcements.listed, call.query.limit, cursor.decode_id(call.query.cursor))
    return {"items": items, "next_cursor": cursor.encode_id(last)}


ENDPOINTS: tuple[Endpoint, ...] = (
    Endpoint("POST", "/v1/announcements", post_announcement, "Publish an announcement", ("notices:write",), body=PostAnnouncement,
             reply=Announcement, status=201),
    Endpoint("GET", "/v1/announcements", list_announcements, "Live announcements, the newest first", query=PageQuery, reply=Announcements,
             errors=(503,)),
)
