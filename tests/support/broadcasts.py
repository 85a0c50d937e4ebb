"""Broadcasts for tests of operations: made, approved with a second key, their notices made by hand."""

from dataclasses import replace

from noticesvc.operations import broadcast_approval, broadcast_audience, broadcast_expansion, broadcasts
from noticesvc.operations.notice_request import NoticeRequest


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
