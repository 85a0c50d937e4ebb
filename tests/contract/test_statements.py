"""Evidence that people state and responses of recipients, over every database: what is taken, what it changes, and its proof."""

from base64 import b64decode, b64encode

import pytest
from sqlalchemy import update

from noticesvc.domain import instant
from noticesvc.domain.contact import Wanted
from noticesvc.proof.verify import verify
from noticesvc.storage import tables as t
from tests.support import proofs
from tests.support.ledger import SIGNER
from tests.support.proofs import holds, sound

ADDRESS = "北京市海淀区中关村大街1号"
DAY = 86_400


@pytest.fixture
async def desk(database_url):
    """A desk on each database in turn."""
    async with proofs.desk(database_url) as made:
        yield made


def rfc(micros):
    return instant.text(instant.from_micros(micros))


async def letter(desk, **more):
    """A judicial notice by post without a provider, dispatched; its id and its delivery's id."""
    await desk.recipient("u-1001", Wanted(channel="postal", address=ADDRESS, confirmation="confirmed"))
    notice_id = await desk.notice(category="judicial", channels=("postal",), response_window={"days": 15}, **more)
    await desk.dispatch()
    return notice_id, (await body(desk, notice_id))["deliveries"][0]["id"]


async def body(desk, notice_id):
    reply = await desk.house.http.get(f"/v1/notices/{notice_id}")
    assert reply.status_code == 200, reply.text
    return reply.json()


async def post(desk, notice_id, what="evidence", **more):
    return await desk.house.http.post(f"/v1/notices/{notice_id}/{what}", json=more)


async def stated(desk, notice_id, delivery_id, kind, **more):
    """The item of a statement that is taken."""
    given = {"delivery_id": delivery_id, "kind": kind, "occurred_at": rfc(desk.house.clock.micros), "statement": "邮政回单"} | more
    reply = await post(desk, notice_id, **given)
    assert reply.status_code == 201, reply.text
    item = reply.json()
    assert item in (await body(desk, notice_id))["evidence"]
    return item


async def test_a_letter_is_pending_until_people_say_what_became_of_it(desk):
    """Attempt 1 has no provider; counter receipt and signature make the delivery sent and delivered, and serve the notice."""
    notice_id, delivery_id = await letter(desk)
    before = await body(desk, notice_id)
    assert before["deliveries"][0]["state"] == "pending"
    assert [(one["number"], one["provider"]) for one in before["deliveries"][0]["attempts"]] == [(1, None)]
    for kind, state in (("submitted", "sent"), ("relayed", "sent"), ("arrived", "delivered")):
        desk.house.clock.move(DAY)
        item = await stated(desk, notice_id, delivery_id, kind)
        assert (await body(desk, notice_id))["deliveries"][0]["state"] == state
    bundle = await holds(desk, notice_id)
    service = bundle["notice"]["service"]
    assert (service["served_at"], service["evidence_id"], service["independent"]["evidence_id"]) == (
        item["occurred_at"], item["id"], item["id"])
    assert [one["kind"] for one in bundle["notice"]["deadlines"]] == ["response"]


async def test_a_letter_returned_by_the_recipients_fault_serves_under_6_3(desk):
    """It counts from when it came back, as a consequence on the recipient; without that fault it only fails."""
    notice_id, delivery_id = await letter(desk)
    desk.house.clock.move(9 * DAY)
    came_back = desk.house.clock.micros - 3600 * 1_000_000
    await stated(desk, notice_id, delivery_id, "returned", fault="recipient", occurred_at=rfc(came_back))
    found = (await holds(desk, notice_id))["notice"]
    assert (found["service"]["served_at"], found["service"]["basis"]) == (rfc(came_back), "consequence_on_recipient")
    assert (found["state"], found["deliveries"][0]["state"]) == ("served", "failed")
    other, its = await letter(desk)
    await stated(desk, other, its, "returned")
    found = (await holds(desk, other))["notice"]
    assert (found["state"], found["service"]["served"], found["service"]["basis"]) == ("unserved", False, None)


async def test_a_claim_counts_only_where_it_can_be_true(desk):
    """As it came it stays beside; what lies too far ahead is no claim; before a provider was called nothing happened."""
    notice_id, delivery_id = await letter(desk)
    desk.house.clock.move(DAY)
    now = desk.house.clock.micros
    item = await stated(desk, notice_id, delivery_id, "submitted", occurred_at="2026-09-22T09:30:00+08:00")
    assert (item["claimed_time_raw"], item["occurred_at"]) == ("2026-09-22T09:30:00+08:00", "2026-09-22T01:30:00.000000Z")
    assert (await stated(desk, notice_id, delivery_id, "relayed", occurred_at=rfc(now + 299_000_000)))["occurred_at"] == rfc(now)
    assert (await stated(desk, notice_id, delivery_id, "relayed", occurred_at=rfc(now + 301_000_000)))["occurred_at"] == rfc(now)
    await desk.recipient("u-2")
    mail = await desk.notice(recipient_id="u-2", channels=("email",))
    desk.sealed.clear()
    await desk.dispatch({"email"})
    desk.house.clock.move(10)
    await desk.answer(mail, "email", "submitted")
    desk.house.clock.move(600)
    its = (await body(desk, mail))["deliveries"][0]["id"]
    item = await stated(desk, mail, its, "arrived", occurred_at=rfc(now - 3600 * 1_000_000))
    assert item["occurred_at"] == item["observed_at"], "claims that lie before the call are not believed"
    assert (await body(desk, mail))["state"] == "served"


async def test_rebuttals_strike_or_move_what_they_name(desk):
    """Without `proved_at` service falls, with it it moves and its deadlines with it; one that names nothing known changes nothing."""
    notice_id, delivery_id = await letter(desk)
    desk.house.clock.move(5 * DAY)
    arrived = await stated(desk, notice_id, delivery_id, "arrived")
    first = await body(desk, notice_id)
    for names in ({"refers_to": "nothing-we-know"}, {}, {"refers_to": "01a0c450-6fe8-7000-8001-e055710184c8"}):
        await stated(desk, notice_id, delivery_id, "rebutted", **names)
    assert (await body(desk, notice_id))["service"] == first["service"]
    proved = rfc(desk.house.clock.micros + 2 * DAY * 1_000_000)
    desk.house.clock.move(4 * DAY)
    moved = await stated(desk, notice_id, delivery_id, "rebutted", refers_to=arrived["id"], proved_at=proved)
    second = await body(desk, notice_id)
    assert (second["service"]["served_at"], second["service"]["revision"]) == (proved, 2)
    assert second["deadlines"][0]["ends_at"] > first["deadlines"][0]["ends_at"]
    assert next(one for one in second["evidence"] if one["id"] == arrived["id"])["occurred_at"] == proved
    assert moved["kind"] == "rebutted"
    await stated(desk, notice_id, delivery_id, "rebutted", refers_to=arrived["id"])
    bundle = await holds(desk, notice_id)
    third = bundle["notice"]
    assert (third["service"]["served"], third["service"]["revision"], third["deadlines"]) == (False, 3, [])
    assert third["deliveries"][0]["state"] == "pending"
    await sound(desk)


async def test_a_message_whose_arrival_was_rebutted_is_not_delivered_again(desk):
    """An account that becomes active calls up what was parked for it, and nothing else; other messages go on."""
    await desk.recipient()
    notice_id = await desk.notice(channels=("in_site",))
    await desk.deliver_in_site()
    arrived = (await body(desk, notice_id))["evidence"][-1]
    await stated(desk, notice_id, arrived["delivery_id"], "rebutted", refers_to=arrived["id"])
    for account in ("locked", "active"):
        assert (await desk.house.http.put("/v1/recipients/u-1001/account", json={"state": account})).status_code == 200
    other = await desk.notice(channels=("in_site",))
    assert await desk.deliver_in_site() == 1
    assert [(await body(desk, one))["deliveries"][0]["state"] for one in (notice_id, other)] == ["pending", "delivered"]
    await holds(desk, notice_id)
    await sound(desk)


async def test_a_reply_is_an_acknowledgement_and_outweighs_a_bounce(desk):
    """A person who saw the reply states it; the bounce before it strikes nothing more, and the conflict is shown."""
    await desk.recipient()
    notice_id = await desk.notice(channels=("email",))
    await desk.dispatch()
    await desk.answer(notice_id, "email", "arrived")
    desk.house.clock.move(60)
    await desk.receipt(notice_id, "email", "failed_permanent", raw=b"DSN", source="dsn")
    assert (await body(desk, notice_id))["service"]["served"] is False
    delivery_id = (await body(desk, notice_id))["deliveries"][0]["id"]
    await stated(desk, notice_id, delivery_id, "acknowledged", attempt=1)
    found = (await holds(desk, notice_id))["notice"]
    assert (found["service"]["served"], found["service"]["conflict"], found["deliveries"][0]["state"]) == (True, True, "delivered")


async def test_documents_stand_behind_a_statement(desk):
    """Their hashes are committed with the statement, and a proof opens both; a bundle that lies about them fails."""
    notice_id, delivery_id = await letter(desk)
    upload = await desk.house.http.post("/v1/documents", files={"file": ("回单.png", b"\x89PNG\r\n\x1a\n" + bytes(9), "image/png")})
    document = upload.json()
    await stated(desk, notice_id, delivery_id, "arrived", document_ids=[document["id"]])
    await sound(desk)
    bundle = await holds(desk, notice_id)
    opened = {one["field"]: one["value"] for one in bundle["openings"]}
    assert b64decode(opened["documents"]).decode() == f'["{document["sha256"]}"]'
    assert b64decode(opened["statement"]).decode() == "邮政回单"
    for one in bundle["openings"]:
        if one["field"] == "documents":
            one["value"] = b64encode(b"[]").decode()
    assert not verify(proofs.data(bundle), [SIGNER.verifier]).ok


async def test_what_cannot_be_stated_is_refused_with_its_place(desk):
    """Kinds that a channel does not know, faults and rebuttals where they do not belong, things that do not exist: 422 with pointers."""
    notice_id, delivery_id = await letter(desk)
    good = {"delivery_id": delivery_id, "kind": "arrived", "occurred_at": rfc(desk.house.clock.micros), "statement": "回单"}
    await desk.recipient("u-2")
    mail = await desk.notice(recipient_id="u-2", channels=("in_site", "email"))
    await desk.deliver_in_site()
    other = {one["channel"]: one["id"] for one in (await body(desk, mail))["deliveries"]}
    before = len(await desk.house.rows(t.evidence))
    for where, more, pointer in (
        (notice_id, {"kind": "intended"}, "/kind"), (notice_id, {"kind": "acknowledged"}, "/kind"),
        (notice_id, {"kind": "unmapped"}, "/kind"),
        (mail, {"delivery_id": other["in_site"]}, "/kind"), (mail, {"delivery_id": other["email"], "kind": "returned"}, "/kind"),
        (mail, {"delivery_id": other["email"]}, "/delivery_id"), (mail, {}, "/delivery_id"),
        (notice_id, {"delivery_id": "x"}, "/delivery_id"),
        (notice_id, {"attempt": 2}, "/attempt"), (notice_id, {"attempt": 0}, "/attempt"), (notice_id, {"fault": "recipient"}, "/fault"),
        (notice_id, {"kind": "returned", "fault": "post"}, "/fault"), (notice_id, {"refers_to": delivery_id}, "/refers_to"),
        (notice_id, {"proved_at": good["occurred_at"]}, "/proved_at"), (notice_id, {"occurred_at": "2026-09-21 10:00"}, "/occurred_at"),
        (notice_id, {"occurred_at": None}, "/occurred_at"), (notice_id, {"statement": " "}, "/statement"),
        (notice_id, {"document_ids": [delivery_id]}, "/document_ids/0"), (notice_id, {"more": 1}, "/more"),
    ):
        reply = await post(desk, where, **(good | more))
        assert reply.status_code == 422, more
        assert pointer in [one["pointer"] for one in reply.json()["errors"]], (more, reply.text)
    assert len(await desk.house.rows(t.evidence)) == before
    assert (await post(desk, "01a0c450-6fe8-7000-8001-e055710184c8", **good)).status_code == 404
    await desk.house.database.write(lambda tx: tx.execute(update(t.api_key).values(categories="agreement")))
    assert (await post(desk, notice_id, **good)).status_code == 403


async def test_a_refusal_is_express_only_before_the_change_takes_effect(desk):
    """Recorded with its statement and proved; after the effective time, or of another kind of notice, it is a plain refusal."""
    await desk.recipient()
    effective = desk.house.clock.micros + 7 * DAY * 1_000_000
    change = await desk.notice(category="agreement", effective_at=effective)
    given = {"recipient_id": "u-1001", "response": "refuse", "statement": "不接受"}
    reply = await post(desk, change, "responses", **given)
    assert reply.status_code == 201
    assert {name: value for name, value in reply.json().items() if name != "id"} == {
        "response": "refuse", "express_refusal": True, "effective_at": rfc(effective)}
    assert (await post(desk, change, "responses", **(given | {"response": "accept", "statement": None}))).json()["express_refusal"] is False
    desk.house.clock.move(7 * DAY)
    assert (await post(desk, change, "responses", **given)).json()["express_refusal"] is False
    inquiry = await desk.notice(category="inquiry", effective_at=effective + 1)
    assert (await post(desk, inquiry, "responses", **(given | {"response": "object"}))).json()["express_refusal"] is False
    bundle = await holds(desk, change)
    assert proofs.types(bundle).count("response.recorded") == 3
    assert "不接受" in [b64decode(one["value"]).decode() for one in bundle["openings"] if one["field"] == "statement"]


async def test_a_response_of_somebody_else_is_refused(desk):
    """Another recipient, an unknown word, a missing member: 422; an unknown notice: 404; nothing is recorded."""
    await desk.recipient()
    await desk.recipient("u-2")
    notice_id = await desk.notice()
    given = {"recipient_id": "u-1001", "response": "refuse", "statement": "不"}
    for more, pointer in (({"recipient_id": "u-2"}, "/recipient_id"), ({"recipient_id": "nobody"}, "/recipient_id"),
                          ({"response": "maybe"}, "/response"), ({"statement": "x" * 4001}, "/statement"), ({"more": 1}, "/more")):
        reply = await post(desk, notice_id, "responses", **(given | more))
        assert (reply.status_code, [one["pointer"] for one in reply.json()["errors"]]) == (422, [pointer])
    assert (await post(desk, "01a0c450-6fe8-7000-8001-e055710184c8", "responses", **given)).status_code == 404
    assert await desk.house.rows(t.notice_entry) == []
