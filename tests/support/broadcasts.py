"""Broadcasts for tests of operations: made, approved with a second key, their notices made by hand."""

from dataclasses import replace

from noticesvc.operations import broadcast_approval, broadcast_audience, broadcast_expansion, broadcasts
from noticesvc.operations.notice_request import NoticeRequest
from tests.support.notices import CONTENT, PHONE, recipient


async def running(database, world, access, rows, *, audience="upload", rates=None, **notice):
    """An approved broadcast to these rows (recipient id, parameters); its id."""
    asked = {"recipient_id": "", "category": "agreement", "subject": "协议更新", "body": "自 **12 月 15 日** 起"} | notice
    made = await database.write(broadcasts.create, world, access, "更新", NoticeRequest(**asked, bulk=True), audience, rates or {})
    if audience == "upload":
        added = await database.write(broadcast_audience.add, world, made["id"], rows)
        assert not added.rejected, added
    second = replace(access, key_id=database.sources.new_id())
    await database.write(broadcast_approval.approve, world, second, made["id"])
    return made["id"]


async def expanded(database, world, limit=broadcast_expansion.TOGETHER):
    """Make every notice of every running broadcast, so many recipients a transaction."""
    while await database.write(broadcast_expansion.expand, world, limit):
        pass


async def approved(here, second, *recipients, audience="upload", notice=None, params=None, **more):
    """A running broadcast to these recipients, who are recorded first; its id."""
    for number, recipient_id in enumerate(recipients):
        await recipient(here, recipient_id, phone=f"{PHONE[:-2]}{number:02d}")
    body = {"name": "更新", "notice": {"category": "agreement", "content": CONTENT} | (notice or {}), "audience": {"type": audience}} | more
    reply = await here.http.post("/v1/broadcasts", json=body)
    assert reply.status_code == 201, reply.text
    broadcast_id = reply.json()["id"]
    if audience == "upload":
        rows = [(recipient_id, (params or {}).get(recipient_id, {})) for recipient_id in recipients]
        added = await here.database.write(broadcast_audience.add, here.world, broadcast_id, rows)
        assert added.accepted == len(recipients), added
    reply = await here.http.post(f"/v1/broadcasts/{broadcast_id}/approve", headers=second)
    assert reply.status_code == 200, reply.text
    return broadcast_id
