"""Pushes that nobody vouches for: kept, without effect, and the vendor itself is asked at once, whose answer counts."""

import json

import pytest

from noticesvc.config import ProviderSettings
from noticesvc.dispatch.asking import Asking
from noticesvc.dispatch.housekeeping import Housekeeping
from noticesvc.operations import callback_address, record
from noticesvc.operations.record import Answer, Schedule
from noticesvc.storage import tables as t
from tests.fakes.provider_peers import PEERS, Context
from tests.support.installation import installed
from tests.support.notices import accepted, read, recipient, sealed

SCHEDULE = Schedule(first_s=30, max_s=3600, reconcile_after_s=5, longest_s={}, can_be_asked=frozenset({"gate"}))
THEIRS = {"aliyun": "9006195469^0", "tencent": "5000:00001", "twilio": "SM00000000000001", "kannel": "msg-1"}
PATH = "/v1/providers/gate/callbacks"


@pytest.fixture(params=["aliyun", "tencent", "twilio"])
def vendor(request):
    return request.param


class Scene:
    """A notice whose SMS a vendor took, and somebody who pushes reports about it."""

    def __init__(self, here, peer, vendor, notice_id, reference):
        self.here, self.peer, self.vendor, self.notice_id, self.reference = here, peer, vendor, notice_id, reference
        settings = {"gate": ProviderSettings(kind=vendor, channel="sms")}
        self.asking = Asking(here.database, here.world, here.house.providers, settings)

    def report(self, arrived):
        """A report of this vendor about the message."""
        theirs = THEIRS[self.vendor]
        return {
            "aliyun": lambda: json.dumps([{"success": arrived, "err_code": "DELIVERED" if arrived else "MK:0001", "out_id": self.reference,
                                           "biz_id": theirs, "report_time": "2026-09-21 21:33:22", "phone_number": "13800138000"}]),
            "tencent": lambda: json.dumps([{"report_status": "SUCCESS" if arrived else "FAIL",
                                            "errmsg": "DELIVRD" if arrived else "MK:0001", "sid": theirs,
                                            "user_receive_time": "2026-09-21 21:33:22", "mobile": "13800138000"}]),
            "twilio": lambda: f"MessageSid={theirs}&MessageStatus=" + ("delivered" if arrived else "undelivered&ErrorCode=30005"),
            "kannel": lambda: f"status={1 if arrived else 2}&text=" + ("stat:DELIVRD" if arrived else "stat:UNDELIV+err:001"),
        }[self.vendor]().encode()

    def vendor_says(self, arrived):
        """What the vendor's records say: arrived, failed for good, or nothing yet."""
        server = self.peer.server
        if self.vendor == "aliyun":
            server.details[:] = [{"PhoneNum": "13800138000", "OutId": self.reference, "ReceiveDate": "2026-09-21 21:33:22",
                                  "SendStatus": {None: 1, True: 3, False: 2}[arrived], "ErrCode": "DELIVERED" if arrived else "MK:0001"}]
        elif self.vendor == "tencent":
            server.details[:] = [] if arrived is None else [{
                "PhoneNumber": "+8613800138000", "SerialNo": THEIRS["tencent"], "UserReceiveTime": 1_790_000_002,
                "ReportStatus": "SUCCESS" if arrived else "FAIL", "Description": "DELIVRD" if arrived else "MK:0001"}]
        else:
            status = {None: "queued", True: "delivered", False: "undelivered"}[arrived]
            server.resources[THEIRS["twilio"]] = {"sid": THEIRS["twilio"], "status": status, "to": "+8613800138000",
                                                  "error_code": 30005 if arrived is False else None,
                                                  "date_updated": "Mon, 21 Sep 2026 13:33:22 +0000"}

    async def push(self, body, **query):
        reply = await self.here.http.post(PATH, params=query, content=body, headers={"Authorization": ""})
        await Housekeeping(self.here.database, self.here.world, self.here.house.providers)._receipts()
        return reply.status_code

    async def seen(self):
        shown = await read(self.here, self.notice_id)
        return shown["state"], shown["deliveries"][0]["state"], shown["service"]["served"], shown["service"]["conflict"]


@pytest.fixture
async def scene(database_url, vendor):
    peer = PEERS[vendor]()
    async with peer.run():
        provider = peer.provider(**({} if vendor in ("twilio", "kannel") else {"unknown_subscriber_errors": ["MK:0001"]}))
        await provider.open(Context())
        async with installed(database_url, {"gate": provider}) as here:
            await recipient(here)
            notice_id = await accepted(here, channels=["sms"])
            one, = await sealed(here, "gate")
            answer = Answer(one.notice_id, one.channel, one.number, "submitted", here.clock.micros, here.clock.micros, raw=b"taken",
                            media_type="text/plain", provider_reference=THEIRS[vendor])
            await here.database.write(record.record, here.world, SCHEDULE, [answer], [0.5])
            here.clock.move(2)
            yield Scene(here, peer, vendor, notice_id, one.reference)
        await provider.close()


@pytest.mark.parametrize("arrived", [True, False])
async def test_a_forged_report_changes_nothing_and_makes_us_ask(scene, arrived):
    """A forged arrival and a forged missing number: 401, kept, no effect; the vendor knows of neither."""
    before = await read(scene.here, scene.notice_id)
    scene.vendor_says(None)
    assert await scene.push(scene.report(arrived)) == 401
    assert await read(scene.here, scene.notice_id) == before
    assert [row.state for row in await scene.here.rows(t.receipt)] == ["refused"]
    await scene.asking.once()
    assert len(scene.peer.server.requests) == 1, "asked at once"
    assert await read(scene.here, scene.notice_id) == before


@pytest.mark.parametrize("claimed", [True, False])
@pytest.mark.parametrize("arrived", [True, False])
async def test_what_the_vendor_answers_is_the_receipt(scene, claimed, arrived):
    """Whatever the push claimed, our own question tells, and its answer is authenticated evidence."""
    scene.vendor_says(arrived)
    assert await scene.push(scene.report(claimed)) == 401
    await scene.asking.once()
    assert await scene.seen() == (("served", "delivered", True, False) if arrived else ("unserved", "failed", False, False))
    item = (await read(scene.here, scene.notice_id))["evidence"][-1]
    assert (item["kind"], item["authenticated"], item["source"]) == ("arrived" if arrived else "failed_permanent", True, "gateway")


async def test_a_flood_of_forged_reports_asks_once_a_minute(scene):
    """Who forges a hundred reports makes us ask about an attempt once, and again only after a minute."""
    scene.vendor_says(None)
    for _ in range(20):
        await scene.push(scene.report(True))
    await scene.push(scene.report(True).replace(THEIRS[scene.vendor].encode(), b"SM99999999999999").replace(
        scene.reference.encode(), b"x.sms.1"))
    await scene.asking.once()
    await scene.push(scene.report(True))
    await scene.asking.once()
    assert len(scene.peer.server.requests) == 1
    scene.here.clock.move(61)
    await scene.push(scene.report(True))
    await scene.asking.once()
    assert len(scene.peer.server.requests) == 2


async def test_a_lost_push_is_asked_for(scene):
    """Nothing is pushed at all: after five minutes the vendor is asked, and asked again until it knows."""
    scene.vendor_says(None)
    await scene.asking.once()
    assert scene.peer.server.requests == []
    for wait, asked, arrived in ((300, 1, None), (1, 1, None), (1800, 2, None), (3 * 3600, 3, True)):
        scene.here.clock.move(wait)
        scene.vendor_says(arrived)
        await scene.asking.once()
        assert len(scene.peer.server.requests) == asked
    assert (await scene.seen())[:2] == ("served", "delivered")
    scene.here.clock.move(13 * 3600)
    await scene.asking.once()
    assert len(scene.peer.server.requests) == 3
    assert await scene.here.rows(t.inquiry) == []


async def test_a_vendor_that_does_not_answer_is_asked_again(scene):
    """A question without an answer changes nothing, and is put again at its next time."""
    scene.peer.play("server error")
    before = await read(scene.here, scene.notice_id)
    await scene.push(scene.report(True))
    await scene.asking.once()
    assert await read(scene.here, scene.notice_id) == before
    scene.peer.play("good")
    scene.vendor_says(True)
    scene.here.clock.move(300)
    await scene.asking.once()
    assert (await scene.seen())[1] == "delivered"


@pytest.mark.parametrize("vendor", ["aliyun", "tencent"], indirect=True)
async def test_a_push_to_the_registered_address_counts(scene):
    """The address that `noticesvc providers` prints carries the token that makes a vendor's push count; another provider's does not."""
    def told(name):
        return callback_address.of_provider(scene.here.world.vault, "", name).rpartition("token=")[2]

    assert await scene.push(scene.report(True), token=told("another")) == 401
    assert (await scene.seen())[1] == "sent"
    assert await scene.push(scene.report(True), token=told("gate")) == 200
    assert await scene.seen() == ("served", "delivered", True, False)
    assert await scene.push(scene.report(True), token=told("gate")) == 200
    arrivals = [e for e in (await read(scene.here, scene.notice_id))["evidence"] if e["kind"] == "arrived"]
    assert [e["duplicate_of"] for e in arrivals] == [None, arrivals[0]["id"]]


@pytest.mark.parametrize("vendor", ["twilio"], indirect=True)
async def test_a_signed_callback_of_twilio_counts(scene):
    """Signed over the whole address that we gave out, token included, and read again by the worker."""
    url = callback_address.of_attempt(scene.here.world.vault, "http://test", "gate", scene.reference)
    body = scene.report(True)
    signature = scene.here.house.providers["gate"].signature(url, body).decode()
    assert (await scene.here.http.post(url, content=body, headers={"X-Twilio-Signature": signature[::-1]})).status_code == 401
    assert (await scene.here.http.post(url, content=body, headers={"X-Twilio-Signature": signature})).status_code == 200
    await Housekeeping(scene.here.database, scene.here.world, scene.here.house.providers)._receipts()
    assert await scene.seen() == ("served", "delivered", True, False)


@pytest.mark.parametrize("vendor", ["kannel"], indirect=True)
@pytest.mark.parametrize("arrived", [True, False])
async def test_kannel_cannot_be_asked(scene, arrived):
    """A forged report to Kannel's address is kept and does nothing; there is nobody to ask."""
    before = await read(scene.here, scene.notice_id)
    assert await scene.push(scene.report(arrived), reference=scene.reference, token="guessed") == 401
    await scene.asking.once()
    assert await read(scene.here, scene.notice_id) == before
    assert scene.peer.server.requests == []
