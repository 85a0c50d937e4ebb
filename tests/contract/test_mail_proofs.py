"""What came back by mail is proved like any other evidence: believed, not believed, and believed of another address only."""

import pytest

from tests.support import proofs
from tests.support.proofs import holds, sound


@pytest.fixture
async def desk(database_url):
    """A desk on each database in turn."""
    async with proofs.desk(database_url) as made:
        yield made


async def test_mail_evidence_of_every_authenticity_is_proved(desk):
    """A forged bounce, a read receipt and a reply that are signed, one of somebody else, and our relay's report, in one bundle."""
    await desk.recipient()
    notice_id = await desk.notice(channels=("email",))
    await desk.dispatch()
    await desk.answer(notice_id, "email", "arrived", provider_reference="4DK1")
    mails = [
        ("failed_permanent", dict(source="dsn", authenticated_by=None, final_recipient=proofs.MAILBOX)),
        ("accessed", dict(source="mdn", authenticated_by="dkim", aligned_domain="example.cn", sender=proofs.MAILBOX)),
        ("acknowledged", dict(source="reply", authenticated_by="spf", aligned_domain="mx.example.cn", sender=proofs.MAILBOX.upper())),
        ("acknowledged", dict(source="reply", authenticated_by="dkim", aligned_domain="example.cn", sender="wang@example.cn")),
        ("arrived", dict(source="dsn", authenticated_by="dsn-own-relay", provider_reference="4DK1", final_recipient="alias@example.cn")),
        ("arrived", dict(source="dsn", authenticated_by="dsn-own-relay", provider_reference="4DK2", final_recipient="alias@example.cn")),
        ("unmapped", dict(source="reply", authenticated_by=None, code="auto-reply")),
    ]
    for number, (kind, more) in enumerate(mails):
        desk.house.clock.move(2)
        await desk.receipt(notice_id, "email", kind, raw=f"mail {number}".encode(), **more)
    bundle = await holds(desk, notice_id)
    shown = [(one["kind"], one["authenticated"]) for one in bundle["notice"]["evidence"] if one["source"] in {"dsn", "mdn", "reply"}]
    assert shown == [("failed_permanent", False), ("accessed", True), ("acknowledged", True), ("acknowledged", False), ("arrived", True),
                     ("arrived", False), ("unmapped", False)]
    service = bundle["notice"]["service"]
    assert (service["served"], service["conflict"], service["provisional"]) == (True, True, False)
    await sound(desk)
