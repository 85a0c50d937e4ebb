"""Notices of broadcasts are proved like any other, with what was approved; the audit counts what the service only adds up."""

import json
from dataclasses import replace

import pytest
from sqlalchemy import select, update

from noticesvc.ledger.entry import decode
from noticesvc.operations import anonymising, broadcast_upkeep, broadcasts, contents, responses
from noticesvc.proof.verify import verify
from noticesvc.storage import tables as t
from tests.support import proofs
from tests.support.broadcasts import expanded, running
from tests.support.ledger import SIGNER


@pytest.fixture
async def desk(database_url):
    async with proofs.desk(database_url) as made:
        for recipient_id in ("u-1001", "u-1002", "u-1003"):
            await made.recipient(recipient_id)
            await made.acceptance(recipient_id)
        yield made


async def made(desk, *rows, **notice):
    broadcast_id = await running(desk.house.database, desk.house.world, desk.access, rows, **notice)
    await expanded(desk.house.database, desk.house.world, 2)
    return broadcast_id


async def of(desk, recipient_id):
    """The notice of a recipient."""
    subject = desk.house.world.vault.index("recipient", recipient_id)
    query = select(t.notice.c.id).join(t.recipient, t.recipient.c.subject_id == t.notice.c.subject_id).where(
        t.recipient.c.recipient_index == subject)
    return await desk.house.database.read(lambda tx: tx.execute(query).scalar_one())


async def test_a_shared_content_is_proved_with_each_notice(desk):
    """The bundle holds the approval and the shared content; it verifies, and fails without either or with another approval."""
    await made(desk, ("u-1001", {}), ("u-1002", {}), ("u-1003", {}), channels=("in_site", "email"), effective_at=1_790_100_000_000_000,
               rates={"email": 2.5})
    await desk.deliver_in_site()
    await desk.dispatch()
    await desk.answer(await of(desk, "u-1002"), "email", "arrived")
    bundle = await proofs.holds(desk, await of(desk, "u-1002"))
    types = proofs.types(bundle)
    assert types.count("broadcast.approved") == types.count("content.shared") == 1
    for missing in ("broadcast.approved", "content.shared"):
        at = types.index(missing)
        less = bundle | {"entries": bundle["entries"][:at] + bundle["entries"][at + 1:], "openings": [
            one | {"entry": one["entry"] - (one["entry"] > at)} for one in bundle["openings"] if one["entry"] != at]}
        assert not verify(proofs.data(less), [SIGNER.verifier]).ok
    await proofs.sound(desk)


async def test_own_contents_are_proved_with_their_notice(desk):
    """With template parameters each notice commits to its own text; nobody else's stands in its bundle."""
    await desk.write(contents.put_template, "greeting", "更新", "{{ name }}，您好", None, None)
    await made(desk, ("u-1001", {"name": "李四"}), ("u-1002", {"name": "王五"}), channels=("in_site",), subject=None, body=None,
               template="greeting")
    await desk.deliver_in_site()
    bundle = await proofs.holds(desk, await of(desk, "u-1001"))
    opened = json.dumps(bundle, ensure_ascii=False)
    assert "content.shared" not in proofs.types(bundle)
    assert "王五" not in opened
    await proofs.sound(desk)


async def test_the_audit_holds_through_pause_cancel_and_late_receipts(desk):
    """After a cancel in the midst, and receipts that come after it, everything still agrees and adds up."""
    broadcast_id = await made(desk, ("u-1001", {}), ("u-1002", {}), ("u-1003", {}), channels=("in_site", "sms"), sms="短信",
                              sms_carries="full")
    await desk.dispatch(only=("sms",))
    first = await of(desk, "u-1001")
    await desk.answer(first, "sms", "submitted")
    await desk.house.database.write(broadcasts.act, desk.house.world, desk.access, broadcast_id, "cancel")
    for _ in range(9):
        desk.house.clock.move(2)
        await desk.write(broadcast_upkeep.look)
    await proofs.sound(desk)
    await desk.receipt(first, "sms", "arrived")
    await proofs.sound(desk)
    await proofs.holds(desk, first)
    counts = (await desk.house.database.read(broadcasts.one, desk.house.world, desk.access, broadcast_id))["counts"]
    assert (counts["served"], counts["by_channel"]["sms"]["served"], counts["by_channel"]["in_site"]["cancelled"]) == (1, 1, 3)


async def test_answers_are_counted_and_acceptances_recorded(desk):
    """Each kind of answer of a recipient counts once; an acceptance is recorded as one, of the version that the notice names."""
    effective = desk.house.clock.micros + 10 * 86_400_000_000
    broadcast_id = await made(desk, ("u-1001", {}), ("u-1002", {}), ("u-1003", {}), channels=("in_site", "email"), effective_at=effective,
                              metadata={"agreement": "用户协议", "version": "2026-12"})
    await desk.deliver_in_site()
    await desk.dispatch()
    await desk.answer(await of(desk, "u-1001"), "email", "arrived")
    for recipient_id, response in (("u-1001", "accept"), ("u-1002", "refuse"), ("u-1002", "refuse"), ("u-1003", "object")):
        await desk.write(responses.respond, desk.access, await of(desk, recipient_id), recipient_id, response, None)
    for days, number in ((7, 1), (9, 1), (11, 0)):
        told = (await desk.house.database.read(broadcasts.one, desk.house.world, desk.access, broadcast_id, days))["agreement"]
        assert told == {"accepted": 1, "refused": 1, "refused_expressly": 1, "objected": 1, "served_independently": 1, "days": days,
                        "served_independently_in_time": number}
    await desk.sequence()
    bundle = await desk.contacts_proof("u-1001")
    newest = [decode(one) for one in map(_entry, bundle["entries"]) if decode(one)["type"] == "acceptance.recorded"][-1]
    opened = {_value(one) for one in bundle["openings"]}
    assert newest["at"] > newest["accepted_at"] or newest["at"] == newest["accepted_at"]
    assert "2026-12" in opened
    await proofs.sound(desk)


async def test_a_count_that_is_wrong_is_found(desk):
    """The audit counts the notices, their deliveries and the audience, and says which number is wrong."""
    broadcast_id = await made(desk, ("u-1001", {}), ("u-1002", {}), channels=("in_site",))
    await proofs.sound(desk)
    await desk.house.database.write(lambda tx: tx.execute(update(t.broadcast).where(t.broadcast.c.id == broadcast_id).values(expanded=1)))
    with pytest.raises(AssertionError, match="counts 1 notices, there are 2"):
        await proofs.sound(desk)


def _entry(one):
    return proofs.b64decode(one["entry"])


def _value(one):
    return proofs.b64decode(one["value"]).decode("utf-8", "replace")


async def test_what_was_uploaded_of_an_anonymised_recipient_is_destroyed(desk):
    """Their parameters are gone from audience and content, whether their notice was made or not; proof and audit still hold."""
    await desk.write(contents.put_template, "greeting", "更新", "{{ name }}，您好", None, None)
    more = {"channels": ("in_site",), "subject": None, "body": None, "template": "greeting"}
    await made(desk, ("u-1001", {"name": "李四"}), ("u-1002", {"name": "王五"}), **more)
    await desk.deliver_in_site()
    notice_id = await of(desk, "u-1001")
    rows = [("u-1001", {"name": "李四"}), ("u-1003", {"name": "赵"})]
    later = await running(desk.house.database, desk.house.world, desk.access, rows, **more)
    desk.house.world = replace(desk.house.world, retention_days=0)
    await desk.write(anonymising.anonymise, None, "u-1001", "本人要求")
    desk.house.clock.move(60)
    assert await desk.write(anonymising.sweep) == 1
    kept = [row for row in await desk.house.rows(t.broadcast_recipient) if row.sealed is None]
    assert len(kept) == 2
    assert any(row.sealed is None for row in await desk.house.rows(t.content))
    await expanded(desk.house.database, desk.house.world)
    counts = (await desk.house.database.read(broadcasts.one, desk.house.world, desk.access, later))["counts"]
    assert (counts["expanded"], counts["cancelled"]) == (1, 1)
    bundle = await desk.proof(notice_id)
    assert verify(proofs.data(bundle), [SIGNER.verifier]).ok
    assert bundle["destroyed"]
    await proofs.sound(desk)
