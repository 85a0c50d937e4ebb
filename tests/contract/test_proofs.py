"""Proof bundles of real histories over every database: what the operations record is complete, opens, and derives to what is shown."""

from base64 import b64decode
from dataclasses import replace

import pytest
from sqlalchemy import delete, select, update

from noticesvc.domain import instant
from noticesvc.domain.contact import Wanted, wanted_set
from noticesvc.domain.rules import BUILT_IN, configured
from noticesvc.errors import Forbidden, NotFound
from noticesvc.ledger.entry import decode
from noticesvc.operations import cancel, consents, document_page, in_site, inbox, later_announcements, proving, recipients, statements
from noticesvc.operations.contacts import Replacement
from noticesvc.proof.verify import verify
from noticesvc.storage import tables as t
from tests.support import proofs
from tests.support.ledger import SIGNER
from tests.support.proofs import holds, types


@pytest.fixture
async def desk(database_url):
    """A desk on each database in turn."""
    async with proofs.desk(database_url) as made:
        yield made


async def test_a_notice_that_was_only_accepted_is_proved(desk):
    """Before dispatch the bundle holds acceptance, recipient and reading; nothing is served."""
    await desk.recipient()
    notice_id = await desk.notice(sms="短信", sms_carries="full", ground="五.2①", metadata={"钥": [1, {"b": None}]}, reference="R-1")
    bundle = await holds(desk, notice_id)
    assert types(bundle) == ["recipient.recorded", "notice.accepted", "proof.read"]
    assert bundle["notice"]["state"] == "queued"
    assert bundle["notice"]["reference"] == "R-1"
    assert [one["rule"] for one in bundle["outcomes"]] == list(BUILT_IN)


async def test_parts_duplicates_documents_and_a_case_are_proved(desk):
    """A judicial notice by every channel: two SMS parts reported twice in one body each, a document, an acceptance, a window."""
    await desk.recipient("u-1001", Wanted(channel="sms", address=proofs.PHONE, confirmation="confirmed"),
                         Wanted(channel="email", address=proofs.MAILBOX, confirmation="identified"),
                         Wanted(channel="postal", address="北京市海淀区中关村大街1号", confirmation="identified"))
    await desk.acceptance()
    notice_id = await desk.notice(
        category="judicial", sms="您有新文书 {link}", sms_carries="link", documents=(await desk.document(),),
        response_window={"working_days": 3},
        case={"court": "北京互联网法院", "case_number": "（2026）京0491民初1号", "stage": "first_instance", "document_type": "传票"})
    await desk.deliver_in_site()
    await desk.dispatch()
    desk.house.clock.move(1)
    await desk.answer(notice_id, "sms", "submitted", provider_reference="gw-1", parts=2)
    await desk.answer(notice_id, "email", "relayed", claimed_time_raw="Mon, 21 Sep 2026 22:13:21 +0800",
                      claimed_at="2026-09-21T22:13:21+08:00")
    for _ in range(3):
        desk.house.clock.move(2)
        await desk.receipt(notice_id, "sms", ("arrived", {"part": 1, "parts": 2}), ("arrived", {"part": 2, "parts": 2}))
    bundle = await holds(desk, notice_id)
    notice = bundle["notice"]
    assert (notice["state"], notice["service"]["channel"], notice["service"]["revision"]) == ("served", "in_site", 2)
    assert notice["service"]["independent"]["channel"] == "sms"
    assert [one["kind"] for one in notice["deadlines"]] == ["response"]
    assert sum(one["duplicate_of"] is not None for one in notice["evidence"]) == 4
    assert {one["channel"]: one["state"] for one in notice["deliveries"]} == {
        "in_site": "delivered", "sms": "delivered", "email": "sent", "postal": "pending"}
    assert notice["deliveries"][1]["contact"]["address_masked"] == "+86138****8000"
    assert types(bundle).count("contact.recorded") == 3
    assert types(bundle).count("acceptance.recorded") == 1


async def test_failures_retries_and_what_was_not_sent_are_proved(desk):
    """An unknown outcome with a late answer, an attempt never sent, a temporary failure, a permanent one: one number each."""
    await desk.recipient()
    notice_id = await desk.notice(channels=("email", "sms"), sms="短信", sms_carries="full")
    await desk.dispatch({"email", "sms"})
    await desk.answer(notice_id, "email", "unknown", raw=None, code=None, media_type=None)
    await desk.answer(notice_id, "sms", "not_sent")
    await desk.answer(notice_id, "email", "submitted", provider_reference="late")
    desk.house.clock.move(10)
    await desk.dispatch()
    await desk.answer(notice_id, "sms", "failed_temporary", code="451")
    desk.house.clock.move(3600)
    await desk.dispatch()
    await desk.answer(notice_id, "sms", "failed_permanent", code="5.1.1")
    await desk.receipt(notice_id, "email", "failed_permanent", raw=b"DSN", source="dsn",
                       authenticated_by="dsn-own-relay", final_recipient="li@example.cn")
    bundle = await holds(desk, notice_id)
    notice = bundle["notice"]
    assert [[a["outcome"] for a in one["attempts"]] for one in notice["deliveries"]] == [
        ["unknown"], ["not_sent", "failed_temporary", "failed_permanent"]]
    assert (notice["state"], notice["service"]["basis"]) == ("unserved", "consequence_on_recipient")


async def test_a_switch_of_provider_is_told_by_the_attempt_that_follows(desk):
    """Its sealed intent names who was passed over and why, GET shows it, and the notice in the bundle has the contract's members alone."""
    await desk.recipient()
    notice_id = await desk.notice(channels=("sms",), sms="短信", sms_carries="full")
    await desk.dispatch(passed_over={"sms": (("first", "breaker_open"), ("other", "refused"))})
    await desk.answer(notice_id, "sms", "submitted", code="202")
    told = [{"provider": "first", "reason": "breaker_open"}, {"provider": "other", "reason": "refused"}]
    bundle = await holds(desk, notice_id)
    intended, = [one for one in (decode(b64decode(one["entry"])) for one in bundle["entries"]) if one["type"] == "attempt.intended"]
    assert intended["passed_over"] == told
    reply = await desk.house.http.get(f"/v1/notices/{notice_id}")
    shown, proved = reply.json()["deliveries"][0]["attempts"][0], bundle["notice"]["deliveries"][0]["attempts"][0]
    assert (shown["code"], shown["passed_over"]) == ("202", told)
    assert shown.keys() - proved.keys() == {"code", "passed_over"}
    await proofs.sound(desk)


async def test_a_new_attempt_ends_the_consequence_of_dead_contacts(desk):
    """The fault of the contacts is determined, and determined away by the intent of the next rung of a ladder."""
    await desk.recipient()
    notice_id = await desk.notice(channels=("email", "sms"), sms="短信", sms_carries="full", strategy="ladder", ladder_after="PT24H")
    await desk.dispatch()
    await desk.answer(notice_id, "email", "failed_permanent", code="5.1.1")
    assert (await holds(desk, notice_id))["notice"]["service"]["basis"] == "consequence_on_recipient"
    desk.house.clock.move(1)
    await desk.dispatch()
    bundle = await holds(desk, notice_id)
    assert bundle["notice"]["service"]["basis"] is None
    assert bundle["notice"]["service"]["revision"] == 2
    assert types(bundle).count("proof.read") == 2


async def test_a_bounce_after_arrival_is_a_revision(desk):
    """Service by mail alone, undone by the bounce: revision 2, a conflict, and the earlier determination stays in the bundle."""
    await desk.recipient()
    notice_id = await desk.notice(channels=("email",))
    await desk.dispatch()
    await desk.answer(notice_id, "email", "arrived")
    assert (await holds(desk, notice_id))["notice"]["service"]["provisional"] is True
    desk.house.clock.move(2)
    await desk.receipt(notice_id, "email", "failed_permanent", raw=b"DSN", source="dsn")
    bundle = await holds(desk, notice_id)
    service = bundle["notice"]["service"]
    assert (service["served"], service["conflict"], service["revision"]) == (False, True, 2)
    assert types(bundle).count("service.determined") == 2


async def test_statements_and_rebuttals_are_proved(desk):
    """A person's statement that post arrived, and a rebuttal that moves the arrival."""
    await desk.recipient("u-1001", Wanted(channel="postal", address="北京市海淀区中关村大街1号", confirmation="confirmed"))
    notice_id = await desk.notice(category="judicial", channels=("postal",), response_window={"days": 15})
    await desk.dispatch()
    desk.house.clock.move(86400)

    delivery, = await desk.house.rows(t.delivery)

    async def state(kind, **more):
        return (await desk.write(statements.state, desk.access, notice_id, statements.Statement(
            delivery_id=delivery.id, attempt=None, kind=kind, occurred_at=instant.text(instant.from_micros(desk.house.clock.micros)),
            occurred_at_raw="2026-09-22", statement="邮政回单", **more)))["id"]
    arrived = await state("arrived")
    before = await holds(desk, notice_id)
    desk.house.clock.move(60)
    await state("rebutted", refers_to=arrived, proved_at=desk.house.clock.micros + 86_400_000_000)
    bundle = await holds(desk, notice_id)
    assert before["notice"]["deadlines"] != bundle["notice"]["deadlines"]
    assert bundle["notice"]["service"]["revision"] == 2


async def test_an_announcement_is_proved_with_the_content_that_others_share(desk):
    """Two notices join one announcement; each bundle holds its publication and shared content, whose hash is the notice's."""
    await desk.recipient()
    first, second = [await desk.notice(category="agreement", channels=("announcement", "in_site"),
                                       effective_at=desk.house.clock.micros + 7 * 86_400_000_000) for _ in range(2)]
    await desk.deliver_in_site()
    for notice_id in (first, second):
        bundle = await holds(desk, notice_id)
        assert types(bundle)[:3] == ["recipient.recorded", "content.shared", "announcement.published"]
        assert [one["kind"] for one in bundle["notice"]["deadlines"]] == ["effective"]


async def test_a_later_announcement_is_proved_by_what_joined_it(desk):
    """With `not_before` the notice joins the announcement after its acceptance; leave that out, or the publication, and it fails."""
    await desk.recipient()
    notice_id = await desk.notice(category="agreement", channels=("announcement",),
                                  not_before=desk.house.clock.micros + 60_000_000)
    desk.house.clock.move(61)
    assert await desk.write(later_announcements.deliver, 100) == 1
    bundle = await holds(desk, notice_id)
    assert bundle["notice"]["service"]["channel"] == "announcement"
    kinds = types(bundle)
    for needed in ("announcement.joined", "announcement.published"):
        gone = kinds.index(needed)
        openings = [one | {"entry": one["entry"] - (one["entry"] > gone)} for one in bundle["openings"]]
        left = bundle | {"entries": bundle["entries"][:gone] + bundle["entries"][gone + 1:], "openings": openings}
        assert bundle["raw"] == []
        failures = verify(proofs.data(left), [SIGNER.verifier]).failures
        assert any("missing" in one or "without a gap" in one for one in failures), failures


async def test_a_contact_with_an_announced_end_and_a_refusal_are_proved(desk):
    """The intent holds the end as known then; its `contact.ended` is in the bundle. A commercial notice closes a refused channel."""
    await desk.recipient()
    end = desk.house.clock.micros + 3600_000_000
    await desk.write(recipients.put_contacts, "u-1001", Replacement(wanted=wanted_set([]), source="registration", effective_from=end))
    desk.house.clock.move(1)
    await desk.write(consents.put_preferences, "u-1001", ["in_site"])
    notice_id = await desk.notice(category="commercial", channels=("in_site", "email"))
    await desk.deliver_in_site()
    await desk.dispatch()
    await desk.answer(notice_id, "email", "submitted")
    bundle = await holds(desk, notice_id)
    assert types(bundle).count("contact.ended") == 1
    assert bundle["notice"]["deliveries"][0]["state"] == "cancelled"


async def test_a_configured_rule_is_proved_with_its_definition(desk):
    """Its definition stands in the acceptance, and `outcomes` has one more result."""
    rule = configured("house", {"version": "3", "clause": "6.2", "levels": {"email": "submitted"}, "confirmations": ["confirmed"]})
    desk.house.world = replace(desk.house.world, rules={**BUILT_IN, "house": rule})
    await desk.recipient()
    notice_id = await desk.notice(channels=("email",), service_rule="house")
    await desk.dispatch()
    await desk.answer(notice_id, "email", "submitted")
    bundle = await holds(desk, notice_id)
    assert bundle["notice"]["service"]["policy_version"] == "3"
    assert [one["rule"] for one in bundle["outcomes"]] == [*BUILT_IN, "house"]


async def test_evidence_recorded_after_the_reading_does_not_leak_into_the_bundle(desk):
    """What comes between the reading and its checkpoint stands behind it, sequenced or not."""
    await desk.recipient()
    notice_id = await desk.notice(channels=("email",))
    await desk.dispatch()
    reading = await desk.write(proving.read_notice, desk.access, notice_id, "诉讼举证")
    assert await desk.house.database.read(proving.notice_proof, desk.house.world, reading) is None
    await desk.answer(notice_id, "email", "arrived")
    await desk.sequence()
    await desk.receipt(notice_id, "email", "failed_permanent", raw=b"DSN")
    bundle = await desk.house.database.read(proving.notice_proof, desk.house.world, reading)
    report = verify(proofs.data(bundle), [SIGNER.verifier])
    assert report.ok, report.failures
    assert bundle["notice"]["service"]["revision"] == 0
    assert types(bundle)[-1] == "proof.read"


async def test_destroyed_openings_are_listed_and_results_still_follow(desk):
    """Without the recipient's key the bundle shows null for what was erased; hashes, results and the numbering still verify."""
    await desk.recipient()
    notice_id = await desk.notice(channels=("email", "in_site"), reference="R-2")
    await desk.deliver_in_site()
    await desk.dispatch()
    await desk.answer(notice_id, "email", "submitted", provider_reference="q-1")
    await desk.receipt(notice_id, "email", "arrived", raw=b"DSN")
    await desk.receipt(notice_id, "email", "arrived", raw=b"DSN")
    before = await holds(desk, notice_id)

    def destroy(tx, _world):
        row = tx.execute(select(t.recipient)).one()
        ref = tx.append("recipient.anonymised", {"subject_id": row.subject_id, "subject_seq": row.subject_seq + 1})
        tx.insert(t.subject_entry, [{"subject_id": row.subject_id, "subject_seq": row.subject_seq + 1, "type": "recipient.anonymised",
                                     "about_id": None, "sealed": None, **ref.columns}])
        tx.execute(update(t.recipient).values(wrapped_key=None, recipient_index=None, sealed=None, subject_seq=row.subject_seq + 1))
    await desk.write(destroy)
    bundle = await desk.proof(notice_id)
    report = verify(proofs.data(bundle), [SIGNER.verifier])
    assert report.ok, report.failures
    assert bundle["raw"] == []
    after = bundle["notice"]
    assert (after["recipient_id"], after["reference"], after["content_sha256"]) == (None, None, None)
    assert after["deliveries"][0]["contact"]["address_masked"] is None
    assert after["service"]["evidence_id"] == before["notice"]["service"]["evidence_id"]
    assert [one["duplicate_of"] for one in after["evidence"]] == [one["duplicate_of"] for one in before["notice"]["evidence"]]
    with pytest.raises(NotFound):
        await desk.write(proving.read_contacts, desk.access, "u-1001", None, "查")


async def test_contacts_in_effect_at_a_time_are_proved(desk):
    """A set replaced by another: each instant has its own bundle, complete up to its own reading, and equal to the reading of contacts."""
    await desk.recipient()
    then = desk.house.clock.micros
    desk.house.clock.move(3600)
    await desk.recipient("u-1001", Wanted(channel="sms", address="+8613900139000", confirmation="unknown"), source="app")
    for at in (then, None):
        bundle = await desk.contacts_proof(at=at)
        report = verify(proofs.data(bundle), [SIGNER.verifier])
        assert report.ok, report.failures
        assert bundle["recipient"] == await desk.house.database.read(recipients.get_contacts, desk.house.world, "u-1001",
                                                                     instant.to_micros(instant.parse(bundle["recipient"]["at"])))
    assert [one["address"] for one in bundle["recipient"]["contacts"]] == ["+8613900139000"]


async def test_a_key_limited_to_categories_reads_no_other_proof(desk):
    """The reading is refused before anything is recorded."""
    await desk.recipient()
    notice_id = await desk.notice()
    with pytest.raises(Forbidden):
        await desk.write(proving.read_notice, replace(desk.access, categories=frozenset({"judicial"})), notice_id, "查")
    assert await desk.house.rows(t.notice_entry) == []


async def test_a_row_lost_from_the_database_makes_the_bundle_fail(desk):
    """An operator who deletes a failure's row leaves a gap in the numbers."""
    await desk.recipient()
    notice_id = await desk.notice(channels=("email", "in_site"))
    await desk.write(in_site.deliver, 10)
    await desk.dispatch()
    await desk.answer(notice_id, "email", "failed_temporary", code="451")
    await desk.house.database.write(lambda tx: tx.execute(delete(t.evidence).where(t.evidence.c.channel == "email")))
    report = verify(proofs.data(await desk.proof(notice_id)), [SIGNER.verifier])
    assert any("without a gap" in failure for failure in report.failures)


async def test_acts_of_the_recipient_are_proved(desk):
    """Opened and acknowledged in the inbox, the link fetched and opened from the SMS: evidence without a provider."""
    await desk.recipient()
    notice_id = await desk.notice(sms="短信 {link}", sms_carries="link")
    await desk.deliver_in_site()
    await desk.dispatch()
    await desk.answer(notice_id, "sms", "submitted")
    desk.house.clock.move(5)
    message, = await desk.house.rows(t.inbox_message)
    for done in ("displayed", "opened", "acknowledged"):
        await desk.write(inbox.act, desk.access, "u-1001", message.id, done)
    for kind in ("link_fetched", "accessed"):
        await desk.write(document_page.visit, desk.sealed[notice_id, "sms"].link_token, kind)
    kinds = [one["kind"] for one in (await holds(desk, notice_id))["notice"]["evidence"]]
    assert {"displayed", "accessed", "acknowledged", "link_fetched"} <= set(kinds)
    assert kinds.count("accessed") == 2


async def test_a_cancelled_notice_is_proved(desk):
    """Cancelled before dispatch: every delivery is closed by an entry."""
    await desk.recipient()
    notice_id = await desk.notice()
    await desk.write(cancel.cancel, desk.access, notice_id)
    bundle = await holds(desk, notice_id)
    assert bundle["notice"]["state"] == "cancelled"
    assert types(bundle)[2:] == ["notice.cancelled", "delivery.closed", "delivery.closed", "proof.read"]
