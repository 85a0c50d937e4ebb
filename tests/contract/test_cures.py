"""Cures of dead contacts over every database: begun through another contact, ended by a new one, lapsed, told, and proved."""

import json
from base64 import b64decode
from dataclasses import replace
from types import MappingProxyType

import pytest
from sqlalchemy import update

from noticesvc.dispatch.housekeeping import Housekeeping
from noticesvc.domain import calendar, instant
from noticesvc.domain.contact import Wanted
from noticesvc.ledger.entry import decode
from noticesvc.operations import consents, cures, events, horizons, statements
from noticesvc.proof.verify import verify
from noticesvc.storage import tables as t
from tests.support import proofs
from tests.support.ledger import SIGNER
from tests.support.proofs import MAILBOX, PHONE, holds, sound

DAY = 86_400
SMS = Wanted(channel="sms", address=PHONE, confirmation="confirmed")
MAIL = Wanted(channel="email", address=MAILBOX, confirmation="confirmed")
# 2026-09-21 is a Monday; with the day after the service not counted, three working days end on Thursday night.
LATER = Wanted(channel="sms", address="+8613900139000", confirmation="confirmed")


@pytest.fixture
async def desk(database_url):
    """A desk on each database in turn, with events."""
    async with proofs.desk(database_url) as made:
        made.house.world = replace(made.house.world, events_enabled=True, calendar=calendar.BUILT_IN)
        yield made


async def dies(desk, channel="sms", **more):
    """A notice on this channel meets a contact that does not exist; the notice's id."""
    notice_id = await desk.notice(channels=(channel,), sms="短信", sms_carries="full", **more)
    await desk.dispatch({channel})
    desk.house.clock.move(1)
    await desk.answer(notice_id, channel, "failed_permanent", code="5.1.1")
    return notice_id


async def run(desk):
    """What the housekeeping does, until there is nothing due."""
    while found := await desk.house.database.read(cures.due, 10):
        for one in found:
            await desk.write(cures.look, one)


async def begun(desk):
    """A recipient whose number is dead, and the cure notice through the mailbox; its id."""
    await desk.recipient("u-1001", SMS, MAIL)
    await dies(desk)
    await run(desk)
    row, = await desk.house.rows(t.cure)
    assert (row.state, row.notice_id is not None) == ("open", True)
    return row.notice_id


async def told(desk, notice_id, outcome="arrived", **more):
    """The cure notice goes out by mail, and the mail is answered."""
    await desk.dispatch({"email"})
    desk.house.clock.move(1)
    await desk.answer(notice_id, "email", outcome, **more)
    await run(desk)


async def states(desk):
    return [(row.state, row.reason) for row in sorted(await desk.house.rows(t.cure), key=lambda one: one.id)]


async def sent(desk):
    """The events that wait, by type, with their data."""
    return [(body["type"], body["data"]) for one in (await desk.write(events.due, 100))[0] for body in [json.loads(one.body)]]


async def entries(desk):
    """The types of all entries about cures, from the recipient's own bundle, which verifies."""
    bundle = await desk.contacts_proof()
    report = verify(proofs.data(bundle), [SIGNER.verifier])
    assert report.ok, report.failures
    read = [decode(b64decode(one["entry"])) for one in bundle["entries"]]
    return [(one["type"], one.get("reason")) for one in read if one["type"].startswith("cure.")]


async def test_a_dead_number_is_told_by_mail_with_three_working_days(desk):
    """The notice goes in-site and to the mailbox, says in part which contact is dead, and its deadline runs from the mail."""
    notice_id = await begun(desk)
    await desk.deliver_in_site()
    shown = (await desk.house.http.get(f"/v1/notices/{notice_id}")).json()
    assert (shown["category"], [one["channel"] for one in shown["deliveries"]], shown["deadlines"]) == (
        "contact_cure", ["in_site", "email"], []), "in-site service sets no deadline that is adverse to somebody"
    await told(desk, notice_id)
    bundle = await holds(desk, notice_id)
    assert bundle["notice"]["deadlines"] == [
        {"kind": "cure", "ends_at": "2026-09-24T16:00:00.000000Z", "provisional": True}]
    assert proofs.types(bundle)[:3] == ["recipient.recorded", "contact.recorded", "cure.begun"]
    content = next(b64decode(one["value"]).decode() for one in bundle["openings"] if one["field"] == "content")
    assert "手机号码" in content
    assert "+86138" in content
    assert PHONE not in content
    assert await entries(desk) == [("cure.begun", None)]
    await sound(desk)


async def test_it_lapses_when_deadline_and_service_are_final(desk):
    """Three working days have passed and no bounce can come any more: one event says that the ground for termination exists."""
    notice_id = await begun(desk)
    await told(desk, notice_id)
    await sent(desk)
    for days in (4, 0.9):
        desk.house.clock.move(days * DAY)
        await run(desk)
        assert await states(desk) == [("open", None)], "the mail may still bounce, so nothing adverse is done"
    desk.house.clock.move(0.1 * DAY + 1)
    await run(desk)
    assert await states(desk) == [("lapsed", "not_answered")]
    (type_, data), = await sent(desk)
    assert type_ == "contact.cure_lapsed"
    assert (data["recipient_id"], data["reason"], data["notice_id"], data["ends_at"], data["channel"]) == (
        "u-1001", "not_answered", notice_id, "2026-09-24T16:00:00.000000Z", "sms")
    await run(desk)
    assert await sent(desk) == []
    assert await entries(desk) == [("cure.begun", None), ("cure.lapsed", "not_answered")]
    await sound(desk)


async def test_mail_that_is_proved_to_have_arrived_waits_only_for_the_deadline(desk):
    """A DSN `delivered` makes the service final; the cure lapses with the deadline itself."""
    notice_id = await begun(desk)
    await told(desk, notice_id)
    await desk.receipt(notice_id, "email", "arrived", raw=b"DSN", source="dsn")
    desk.house.clock.micros = instant.to_micros(instant.parse("2026-09-24T15:59:59Z"))
    await run(desk)
    assert await states(desk) == [("open", None)]
    desk.house.clock.move(1)
    await run(desk)
    assert await states(desk) == [("lapsed", "not_answered")]


async def test_a_new_contact_ends_it(desk):
    """Whatever its channel; the dead address again, under another source, is none."""
    await begun(desk)
    await desk.recipient("u-1001", SMS, MAIL, source="app")
    await run(desk)
    assert await states(desk) == [("open", None)]
    desk.house.clock.move(1)
    await desk.recipient("u-1001", LATER, MAIL, source="app")
    await run(desk)
    assert await states(desk) == [("ended", "new_contact")]
    desk.house.clock.move(30 * DAY)
    await run(desk)
    assert "contact.cure_lapsed" not in [type_ for type_, _ in await sent(desk)]
    assert await entries(desk) == [("cure.begun", None), ("cure.ended", "new_contact")]
    await sound(desk)


async def test_a_rebuttal_ends_it_and_a_new_failure_begins_another(desk):
    """The contact is usable again; when it fails again, a second cure begins."""
    await begun(desk)
    failed = next(one for one in await desk.house.rows(t.evidence) if one.kind == "failed_permanent")
    delivery = next(one for one in await desk.house.rows(t.delivery) if one.notice_id == failed.notice_id)
    desk.house.clock.move(60)
    await desk.write(statements.state, desk.access, failed.notice_id, statements.Statement(
        delivery_id=delivery.id, attempt=None, kind="rebutted", occurred_at=instant.text(instant.from_micros(desk.house.clock.micros)),
        occurred_at_raw="now", statement="号码有效", refers_to=failed.id))
    await run(desk)
    assert await states(desk) == [("ended", "rebutted")]
    assert {row.state for row in await desk.house.rows(t.contact)} == {"usable"}
    await dies(desk)
    await run(desk)
    assert await states(desk) == [("ended", "rebutted"), ("open", None)]
    assert await entries(desk) == [("cure.begun", None), ("cure.ended", "rebutted"), ("cure.begun", None)]
    await sound(desk)


async def test_where_no_other_contact_works_it_lapses_at_once(desk):
    """Nobody can be told, so there is no cure notice; the event comes with the failure."""
    await desk.recipient("u-1001", SMS)
    await dies(desk)
    await run(desk)
    assert await states(desk) == [("lapsed", "no_other_contact")]
    assert [row.category for row in await desk.house.rows(t.notice)] == ["platform"]
    assert [(type_, data.get("reason")) for type_, data in await sent(desk)] == [
        ("notice.unserved", None), ("contact.invalid", None), ("contact.cure_lapsed", "no_other_contact")]
    assert await entries(desk) == [("cure.begun", None), ("cure.lapsed", "no_other_contact")]
    await sound(desk)


async def test_silence_ends_it_and_nothing_adverse_follows(desk):
    """The mail was taken, nobody ever says that it arrived, and its horizon passes: no event, no ground, and it is not open for ever."""
    notice_id = await begun(desk)
    await desk.deliver_in_site()
    await told(desk, notice_id, "submitted")
    await sent(desk)
    desk.house.clock.move(5 * DAY - 10)
    await desk.write(horizons.sweep)
    await run(desk)
    assert await states(desk) == [("open", None)], "a receipt may still come"
    desk.house.clock.move(20)
    await desk.write(horizons.sweep)
    await run(desk)
    assert await states(desk) == [("ended", "not_told")]
    assert [type_ for type_, _ in await sent(desk)] == []
    assert await entries(desk) == [("cure.begun", None), ("cure.ended", "not_told")]
    await sound(desk)


async def test_after_silence_the_next_failure_begins_another(desk):
    """The recipient was never told, so nothing is held against asking again; who was told is not asked twice."""
    notice_id = await begun(desk)
    await told(desk, notice_id, "submitted")
    desk.house.clock.move(5 * DAY + 1)
    await desk.write(horizons.sweep)
    await run(desk)
    last, = [row for row in await desk.house.rows(t.notice) if row.category == "platform"]
    await desk.receipt(last.id, "sms", "failed_permanent", raw=b"again")
    await run(desk)
    assert await states(desk) == [("ended", "not_told"), ("open", None)]
    later, = [row.notice_id for row in await desk.house.rows(t.cure) if row.state == "open"]
    await told(desk, later)
    desk.house.clock.move(30 * DAY)
    await run(desk)
    await desk.receipt(last.id, "sms", "failed_permanent", raw=b"and again")
    await run(desk)
    assert await states(desk) == [("ended", "not_told"), ("lapsed", "not_answered")]
    assert await entries(desk) == [("cure.begun", None), ("cure.ended", "not_told"), ("cure.begun", None), ("cure.lapsed", "not_answered")]
    await sound(desk)


async def test_what_is_still_on_its_way_is_waited_for(desk):
    """A mail that is tried again for days, and one whose outcome nobody knows yet, keep the cure open beyond the time of receipts."""
    notice_id = await begun(desk)
    await told(desk, notice_id, "unknown", raw=None, code=None, media_type=None)
    desk.house.clock.move(9 * DAY)
    await run(desk)
    assert await states(desk) == [("open", None)]
    await desk.receipt(notice_id, "email", "arrived", raw=b"late", source="dsn")
    await run(desk)
    assert (await desk.house.http.get(f"/v1/notices/{notice_id}")).json()["deadlines"][0]["kind"] == "cure"
    desk.house.clock.move(30 * DAY)
    await run(desk)
    assert await states(desk) == [("lapsed", "not_answered")]


async def test_a_cure_notice_that_fails_starts_no_other(desk):
    """The mailbox is dead too: no other contact works, so the first cure lapses, and no second one begins."""
    notice_id = await begun(desk)
    await told(desk, notice_id, "failed_permanent", code="5.1.1")
    assert await states(desk) == [("lapsed", "no_other_contact")]
    assert sorted(row.category for row in await desk.house.rows(t.notice)) == ["contact_cure", "platform"]
    assert {row.state for row in await desk.house.rows(t.contact)} == {"invalid"}
    assert [data["notice_id"] for type_, data in await sent(desk) if type_ == "contact.cure_lapsed"] == [notice_id]
    await entries(desk)


async def test_a_failure_that_begins_nothing_takes_no_beginning_away(desk):
    """A cure notice of a caller fails on the number that just died: the cure of that number begins all the same."""
    await desk.recipient("u-1001", SMS, MAIL)
    await dies(desk)
    await dies(desk, category="contact_cure")
    await run(desk)
    assert await states(desk) == [("open", None)]


async def test_a_cure_that_cannot_be_looked_at_holds_up_no_other(desk):
    """Its contact can no longer be opened: the other recipient is told, and the first is tried again."""
    for recipient_id, phone, mailbox in (("a", "+8613800138021", "a@example.cn"), ("b", "+8613800138022", "b@example.cn")):
        await desk.recipient(recipient_id, Wanted(channel="sms", address=phone, confirmation="confirmed"),
                             Wanted(channel="email", address=mailbox, confirmation="confirmed"))
        await dies(desk, recipient_id=recipient_id)
        desk.house.clock.move(1)
    first = min(await desk.house.rows(t.contact), key=lambda row: row.cure_due_at or 2**62)
    await desk.house.database.write(lambda tx: tx.execute(update(t.contact).where(t.contact.c.id == first.id).values(sealed=b"spoilt")))
    await Housekeeping(desk.house.database, desk.house.world, {})._cures()
    cure, = await desk.house.rows(t.cure)
    assert cure.contact_id != first.id
    assert await desk.house.database.read(cures.due, 10) == [cures.Due(first.id, None)]


async def test_one_contact_has_one_cure(desk):
    """Further failures of the same number begin nothing, neither while its cure is open nor after it lapsed."""
    notice_id = await begun(desk)
    await told(desk, notice_id)
    await dies(desk, reference="second")
    await run(desk)
    desk.house.clock.move(30 * DAY)
    await run(desk)
    await dies(desk, reference="third")
    await run(desk)
    assert await states(desk) == [("lapsed", "not_answered")]
    assert [row.category for row in await desk.house.rows(t.notice)].count("contact_cure") == 1


async def test_a_bounce_of_the_cure_notice_takes_its_deadline_back(desk):
    """The mail is undone, so nothing runs; with the mailbox dead as well nobody can be told."""
    notice_id = await begun(desk)
    await told(desk, notice_id)
    desk.house.clock.move(DAY)
    await desk.receipt(notice_id, "email", "failed_permanent", raw=b"DSN", source="dsn")
    assert (await desk.house.http.get(f"/v1/notices/{notice_id}")).json()["deadlines"] == []
    await run(desk)
    assert await states(desk) == [("lapsed", "no_other_contact")]
    await entries(desk)


async def test_nothing_lapses_while_the_service_is_in_conflict(desk):
    """A forged bounce strikes nothing, but as long as it stands beside the arrival no adverse step is taken."""
    notice_id = await begun(desk)
    await told(desk, notice_id)
    await desk.receipt(notice_id, "email", "failed_permanent", raw=b"forged", source="dsn", authenticated_by=None)
    await run(desk)
    desk.house.clock.move(30 * DAY)
    await run(desk)
    assert await states(desk) == [("open", None)]


async def test_nothing_lapses_while_days_are_without_data(desk):
    """A calendar that ends too early makes the deadline provisional; when the operator extends it, the cure lapses."""
    known = desk.house.world.calendar
    desk.house.world = replace(desk.house.world, calendar=calendar.Calendar("short", MappingProxyType({})))
    notice_id = await begun(desk)
    await told(desk, notice_id)
    shown = (await desk.house.http.get(f"/v1/notices/{notice_id}")).json()
    assert shown["deadlines"][0]["provisional"] is True
    desk.house.clock.move(30 * DAY)
    await run(desk)
    assert await states(desk) == [("open", None)]
    desk.house.world = replace(desk.house.world, calendar=known)
    desk.house.clock.move(DAY)
    await run(desk)
    assert await states(desk) == [("lapsed", "not_answered")]
    bundle = await holds(desk, notice_id)
    assert proofs.types(bundle).count("deadline.set") == 2
    assert bundle["notice"]["deadlines"][0]["provisional"] is False


async def test_of_an_agreement_that_is_over_nothing_begins_and_nothing_lapses(desk):
    """Void or closed: the open cure ends, and another dead contact has none."""
    await begun(desk)
    await desk.house.http.put("/v1/recipients/u-1001/account", json={"state": "closed"})
    desk.house.clock.move(DAY)
    await desk.recipient("u-1001", MAIL)
    await run(desk)
    assert await states(desk) == [("ended", "agreement_over")]
    await dies(desk, "email")
    await run(desk)
    assert await states(desk) == [("ended", "agreement_over")]
    await sound(desk)


async def test_a_cure_notice_of_a_caller_has_its_deadline_too(desk):
    """The category alone gives three working days; a dry run shows them."""
    await desk.recipient("u-1001", MAIL)
    body = {"recipient_id": "u-1001", "category": "contact_cure", "channels": ["email"], "content": {"subject": "S", "body": "B"}}
    dry = (await desk.house.http.post("/v1/notices?dry_run=true", json=body)).json()
    assert [one["kind"] for one in dry["deadlines"]] == ["cure"]
    notice_id = await desk.notice(category="contact_cure", channels=("email",), response_window={"days": 15})
    await told(desk, notice_id)
    assert [one["kind"] for one in (await holds(desk, notice_id))["notice"]["deadlines"]] == ["cure", "response"]
    await desk.write(consents.put_preferences, "u-1001", [])


async def test_a_bundle_without_what_closed_a_cure_fails(desk):
    """The recipient's entries are numbered; a lapse that is made up, or left out, is found."""
    await desk.recipient("u-1001", SMS)
    await dies(desk)
    await run(desk)
    bundle = await desk.contacts_proof()
    kinds = proofs.types(bundle)
    gone = kinds.index("cure.lapsed")
    bundle["entries"] = bundle["entries"][:gone] + bundle["entries"][gone + 1:]
    bundle["openings"] = [one | {"entry": one["entry"] - (one["entry"] > gone)} for one in bundle["openings"]]
    failures = verify(proofs.data(bundle), [SIGNER.verifier]).failures
    assert any("without a gap" in one for one in failures), failures


async def test_where_vendors_send_approved_texts_alone_a_number_is_not_written_to(desk):
    """The mailbox is dead and the number works, but no vendor takes our text: the inbox has it, nothing lapses, and it ends."""
    desk.house.world = replace(desk.house.world, sms_templates=frozenset())
    await desk.recipient("u-1001", SMS, MAIL)
    notice_id = await desk.notice(channels=("email",))
    await desk.dispatch({"email"})
    desk.house.clock.move(1)
    await desk.answer(notice_id, "email", "failed_permanent", code="5.1.1")
    await run(desk)
    row, = await desk.house.rows(t.cure)
    assert [one.channel for one in await desk.house.rows(t.delivery) if one.notice_id == row.notice_id] == ["in_site"]
    await desk.deliver_in_site()
    desk.house.clock.move(5 * DAY - 10)
    await run(desk)
    assert await states(desk) == [("open", None)]
    desk.house.clock.move(10)
    await run(desk)
    assert await states(desk) == [("ended", "not_told")]
    assert await entries(desk) == [("cure.begun", None), ("cure.ended", "not_told")]
