"""Anonymising over the API: processing stops at once, a hold forbids, the sweep destroys in every table, and proofs still hold."""

import json
from dataclasses import replace

import pytest
from sqlalchemy import select

from noticesvc.domain.contact import Wanted
from noticesvc.operations import anonymising, contacts, events, in_site, receipts, record
from noticesvc.operations.record import Answer
from noticesvc.proof.verify import verify
from noticesvc.storage import tables as t
from tests.support import notices, proofs
from tests.support.installation import installed
from tests.support.ledger import SIGNER
from tests.support.spying import loot

REASON = {"reason": "账号注销，协议终止"}
DAY = 86_400


@pytest.fixture
async def here(database_url):
    """An installation with routes."""
    async with installed(database_url) as made:
        yield made


@pytest.fixture
async def desk(database_url):
    """An installation whose notices are run by hand, with a ledger that signs."""
    async with proofs.desk(database_url) as made:
        yield made


def anonymise(here, recipient_id="u-1001"):
    return here.http.post(f"/v1/recipients/{recipient_id}/anonymise", json=REASON)


async def swept(here):
    """Let the time of requests in hand pass, and sweep."""
    here.clock.move(5)
    return await here.database.write(anonymising.sweep, here.world)


def types(entries):
    return [entry["type"] for entry in entries]


async def test_processing_stops_at_once(here):
    """What waits is cancelled, a new notice finds nobody, contacts, inbox and page are gone; the notice itself is still shown."""
    await notices.recipient(here)
    notice_id = await notices.accepted(here, channels=["in_site", "sms"], category="platform", content=notices.CONTENT)
    await notices.delivered_in_site(here)
    reply = await anonymise(here)
    assert reply.status_code == 200
    shred = reply.json()["shred_at"]
    assert shred.startswith("2029-09-20")  # 1,095 days after 2026-09-21
    shown = await notices.read(here, notice_id)
    assert [(one["channel"], one["state"]) for one in shown["deliveries"]] == [("in_site", "delivered"), ("sms", "cancelled")]
    assert shown["recipient_id"] == "u-1001"
    refused = await here.http.post("/v1/notices", json=notices.notice())
    assert (refused.status_code, refused.json()["type"]) == (422, "urn:noticesvc:problem:unknown-recipient")
    dry = await here.http.post("/v1/notices?dry_run=true", json=notices.notice())
    assert dry.status_code == 422
    for path in ("/v1/recipients/u-1001", "/v1/recipients/u-1001/contacts", "/v1/inbox/u-1001/messages"):
        assert (await here.http.get(path)).status_code == 404, path
    again = await here.http.put("/v1/recipients/u-1001/contacts", json={"contacts": [], "source": "crm"})
    assert (again.status_code, again.json()["type"]) == (409, "urn:noticesvc:problem:anonymised")
    assert (await here.http.put("/v1/recipients/u-1001/account", json={"state": "active"})).status_code == 404
    here.clock.move(60)
    repeated = await anonymise(here)
    assert (repeated.status_code, repeated.json()["shred_at"]) == (200, shred)
    entries = await here.entries()
    requested, = [entry for entry in entries if entry["type"] == "anonymisation.requested"]
    assert requested["shred_at"][:19] == shred[:19]
    assert "reason_commit" in requested
    assert [e["reason"] for e in entries if e["type"] == "delivery.closed"] == ["anonymised"]


async def test_a_claimed_delivery_is_cancelled_when_it_is_sealed(here):
    """A worker that had claimed before the request sends nothing after it."""
    await notices.recipient(here)
    notice_id = await notices.accepted(here, channels=["sms"])
    assert (await anonymise(here)).status_code == 200
    assert await notices.sealed(here) == []
    assert (await notices.read(here, notice_id))["state"] == "cancelled"


async def test_unknown_recipients_and_bad_bodies(here):
    """404 for nobody, 422 for a reason that is none, 403 for a key without the scope."""
    assert (await anonymise(here, "nobody")).status_code == 404
    assert (await here.http.put("/v1/recipients/nobody/legal-hold", json=REASON)).status_code == 404
    assert (await here.http.delete("/v1/recipients/nobody/legal-hold")).status_code == 404
    await notices.recipient(here)
    for body in ({}, {"reason": ""}, {"reason": "a\nb"}, {"reason": "x", "more": 1}):
        for method, path in (("POST", "anonymise"), ("PUT", "legal-hold")):
            assert (await here.http.request(method, f"/v1/recipients/u-1001/{path}", json=body)).status_code == 422


async def test_a_hold_stops_it(here):
    """While a hold stands nothing can be asked for; one set later keeps what was due; lifted, the sweep goes on."""
    await notices.recipient(here)
    held = await here.http.put("/v1/recipients/u-1001/legal-hold", json={"reason": "(2026)京0105民初1号"})
    assert (held.status_code, held.json()["recipient_id"]) == (200, "u-1001")
    refused = await anonymise(here)
    assert (refused.status_code, refused.json()["type"]) == (409, "urn:noticesvc:problem:legal-hold")
    assert (await here.http.delete("/v1/recipients/u-1001/legal-hold")).status_code == 204
    assert (await here.http.delete("/v1/recipients/u-1001/legal-hold")).status_code == 204
    assert (await anonymise(here)).status_code == 200
    assert (await here.http.put("/v1/recipients/u-1001/legal-hold", json=REASON)).status_code == 200
    here.clock.move(1096 * DAY)
    assert await swept(here) == 0
    assert (await here.http.delete("/v1/recipients/u-1001/legal-hold")).status_code == 204
    assert await swept(here) == 1
    assert await swept(here) == 0
    entries = await here.entries()
    assert [e["held"] for e in entries if e["type"] == "hold.set"] == [True, False, True, False]
    assert types(entries)[-1] == "recipient.anonymised"
    assert (await here.http.put("/v1/recipients/u-1001/legal-hold", json=REASON)).status_code == 404


async def test_nothing_is_destroyed_before_its_time(here):
    """A second before the retention time is over the key is still there; then the same id is a new recipient."""
    await notices.recipient(here)
    await anonymise(here)
    here.clock.move(1095 * DAY - 10)
    assert await swept(here) == 0
    here.clock.move(10)
    assert await swept(here) == 1
    await notices.recipient(here)
    assert (await here.http.get("/v1/recipients/u-1001/contacts")).status_code == 200
    assert len(await here.rows(t.recipient)) == 2


async def test_what_a_worker_holds_is_waited_for(here):
    """A delivery in a worker's hands is answered before its recipient's key is destroyed."""
    await notices.recipient(here)
    await notices.accepted(here, channels=["sms"])
    attempt, = await notices.sealed(here)
    await anonymise(here)
    here.clock.move(1095 * DAY)
    assert await swept(here) == 0
    now = here.clock.micros
    await here.database.write(record.record, here.world, proofs.SCHEDULE, [
        Answer(attempt.notice_id, "sms", 1, "submitted", now, now, raw=b"ok")], [0.0])
    assert await swept(here) == 1


async def story(desk, recipient_id, phone, mailbox, word):
    """A recipient with everything that leaves traces: contacts old and new, acceptance, notices, receipts, readings, an event."""
    await desk.recipient(recipient_id, Wanted(channel="sms", address=phone, confirmation="confirmed"),
                         Wanted(channel="email", address=mailbox, confirmation="confirmed"), source=f"crm-{word}")
    await desk.acceptance(recipient_id)
    notice_id = await desk.notice(recipient_id=recipient_id, channels=("in_site", "sms", "email"), subject=f"通知{word}",
                                  body=f"内容{word}", sms=f"短信{word}", sms_carries="full", reference=f"R-{word}",
                                  metadata={"note": word}, idempotency_key=f"key-{word}", body_hash=word.encode() * 4)
    await desk.deliver_in_site()
    await desk.dispatch()
    await desk.answer(notice_id, "sms", "submitted", provider_reference=f"P-{word}", raw=f"taken {word}".encode())
    await desk.answer(notice_id, "email", "submitted", raw=f"250 {word}".encode())
    await desk.receipt(notice_id, "sms", "arrived", raw=f"DLR {phone} {word}".encode())
    await desk.proof(notice_id, f"查{word}")
    return notice_id


async def test_destruction_reaches_every_table_and_proofs_still_hold(desk):
    """With the vault key in hand nothing of the recipient is found any more, all of it for a neighbour; the bundle says what is gone."""
    mine = await story(desk, "u-zhang-3000", "+8613800138000", "zhang@example.cn", "甲申甲")
    other = await story(desk, "u-li-4000", "+8613900139000", "li@example.cn", "乙酉乙")
    house = desk.house
    subject = {r.id: r.subject_id for r in await house.rows(t.notice)}
    # A callback that nobody understood stays as it came, under the system key.
    for phone in ("13800138000", "13900139000"):
        await house.database.write(_unread, house.world, phone)
    before = await house.database.read(loot, house.world.vault, (), house.world.system_key)
    words = [b"+8613800138000", b"zhang@example.cn", "通知甲申甲".encode(), "内容甲申甲".encode(), "短信甲申甲".encode(), b"u-zhang-3000",
             "R-甲申甲".encode(), "P-甲申甲".encode(), "crm-甲申甲".encode(), "查甲申甲".encode(), b"13800138000"]
    indexes = {("recipient", "u-zhang-3000"), ("reference", "R-甲申甲"), ("provider_reference", "sms\0P-甲申甲")}
    assert all(before.holds(word) for word in words)
    held = [contacts.address_index(house.world.vault, "sms", "+8613800138000"), *(house.world.vault.index(*one) for one in indexes)]
    assert all(before.holds(one) for one in held)
    salts = before.salts[subject[mine]]
    assert len(salts) > 20
    assert (await anonymise(house, "u-zhang-3000")).status_code == 200
    house.clock.move(1095 * DAY)
    assert await swept(house) == 1
    after = await house.database.read(loot, house.world.vault, (), house.world.system_key)
    assert [word.decode() for word in words if after.holds(word)] == []
    assert not any(after.holds(one) for one in held)
    assert not salts & {salt for of in after.salts.values() for salt in of}
    assert after.salts[subject[other]] == before.salts[subject[other]]
    theirs = [b"+8613900139000", b"li@example.cn", *(f"{kind}乙酉乙".encode() for kind in (
        "通知", "内容", "短信", "R-", "P-", "crm-", "查")), b"u-li-4000", b"13900139000"]
    assert [word.decode() for word in theirs if not after.holds(word)] == []
    bundle = await desk.proof(mine)
    report = verify(proofs.data(bundle), [SIGNER.verifier])
    assert report.ok, report.failures
    assert bundle["destroyed"]
    assert bundle["raw"] == []
    assert bundle["notice"]["recipient_id"] is bundle["notice"]["reference"] is bundle["notice"]["content_sha256"] is None
    assert bundle["notice"]["service"]["served"] is True
    assert bundle["notice"] == await proofs.shown(desk, mine, bundle["issued_at"])
    await proofs.holds(desk, other)
    assert json.dumps(bundle, ensure_ascii=False).count("甲申甲") == 0


def _unread(tx, world, phone):
    receipts.store(tx, world, "sms", "bytes", {"media_type": "text/plain"}, f"?? %2B86{phone}".encode(), refused=True)


async def test_late_facts_leave_no_traces(desk):
    """A receipt that comes after destruction is evidence still, but nothing is kept that would open it."""
    await desk.recipient()
    notice_id = await desk.notice(channels=("email",))
    await desk.dispatch()
    await desk.answer(notice_id, "email", "submitted", provider_reference="Q-1")
    await anonymise(desk.house)
    desk.house.clock.move(1095 * DAY)
    assert await swept(desk.house) == 1
    await desk.receipt(notice_id, "email", "arrived", raw=b"DSN for li@example.cn")
    late = [row for row in await desk.house.rows(t.evidence) if row.kind == "arrived"]
    assert [(row.sealed, row.raw_index) for row in late] == [(None, b"")]
    bundle = await desk.proof(notice_id)
    report = verify(proofs.data(bundle), [SIGNER.verifier])
    assert report.ok, report.failures
    assert bundle["notice"]["service"]["served_at"] is not None


async def test_a_document_is_destroyed_with_the_last_recipient_who_was_sent_it(here):
    """One that two recipients were sent stays until both are gone; one that only the first had goes at once."""
    for name in ("u-1001", "u-1002"):
        await notices.recipient(here, name)
    ids = []
    for body in (b"%PDF-1.7 alone", b"%PDF-1.7 shared"):
        reply = await here.http.post("/v1/documents", files={"file": ("a.pdf", body, "application/pdf")})
        ids.append(reply.json()["id"])
    await notices.accepted(here, documents=ids)
    await notices.accepted(here, recipient_id="u-1002", documents=ids[1:])
    for name, left in (("u-1001", ids[1:]), ("u-1002", [])):
        await anonymise(here, name)
        here.clock.move(1095 * DAY)
        assert await swept(here) == 1
        assert [row.id for row in await here.rows(t.document) if row.sealed is not None] == left


async def test_queued_events_of_the_recipient_go(database_url):
    """An event that waits for its receiver names the recipient, so it is destroyed with them."""
    async with installed(database_url) as here:
        world = replace(here.world, events_enabled=True)
        await notices.recipient(here)
        notice_id = await notices.accepted(here, channels=["in_site"])
        await here.database.write(in_site.deliver, world, 100)
        assert [row.type for row in await here.rows(t.outgoing_event)] == ["notice.served"]
        await anonymise(here)
        here.clock.move(1095 * DAY)
        assert await swept(here) == 1
        assert await here.rows(t.outgoing_event) == []
        assert (await here.database.write(events.due, world, 10))[0] == []
        assert (await notices.read(here, notice_id))["recipient_id"] is None
        assert await here.database.read(lambda tx: tx.execute(select(t.idempotency)).all()) == []
