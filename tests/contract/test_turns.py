"""When a notice's channels have their turn, on every engine: announcements that wait, the rungs of a ladder, quiet hours."""

from dataclasses import replace

import pytest

from noticesvc.domain.quiet import hours
from noticesvc.operations import horizons, later_announcements, record
from noticesvc.operations.record import Answer, Schedule
from tests.support.installation import START, installed
from tests.support.notices import accepted, delivered_in_site, read, recipient, sealed

HOUR = 3600
SCHEDULE = Schedule(30, HOUR, 5, {})


@pytest.fixture
async def here(database_url):
    async with installed(database_url) as made:
        await recipient(made)
        yield made


def rfc3339(seconds):
    """A time so many seconds after START, 2026-09-21T14:13:20Z."""
    assert START == 1_790_000_000_000_000
    return f"2026-09-21T{14 + (800 + seconds) // HOUR:02d}:{(800 + seconds) % HOUR // 60:02d}:{(800 + seconds) % 60:02d}Z"


async def announced(here):
    """Publish what is due; how many deliveries were taken in hand."""
    return await here.database.write(later_announcements.deliver, here.world, 100)


async def published(here):
    return (await here.http.get("/v1/announcements")).json()["items"]


async def answered(here, one, outcome):
    """The provider's answer to a sealed attempt."""
    answer = Answer(one.notice_id, one.channel, one.number, outcome, here.clock(), here.clock())
    await here.database.write(record.record, here.world, SCHEDULE, [answer], [0.0])


async def states(here, notice_id):
    return {one["channel"]: one["state"] for one in (await read(here, notice_id))["deliveries"]}


async def test_an_announcement_waits_for_not_before(here):
    """Until then the notice is queued, nothing is published and it can be cancelled; then it is served at that moment, once."""
    notice_id = await accepted(here, channels=["announcement"], not_before=rfc3339(HOUR))
    other = await accepted(here, channels=["announcement"], not_before=rfc3339(HOUR), content={"subject": "另一", "body": "另一"})
    assert await announced(here) == 0
    assert ((await read(here, notice_id))["state"], await published(here)) == ("queued", [])
    assert (await here.http.post(f"/v1/notices/{other}/cancel")).json()["state"] == "cancelled"
    here.clock.move(HOUR)
    assert await announced(here) == 1
    shown = await read(here, notice_id)
    assert (shown["state"], shown["service"]["served_at"]) == ("served", "2026-09-21T15:13:21.000000Z")
    assert len(await published(here)) == 1
    assert await announced(here) == 0


async def test_a_waiting_announcement_may_expire_or_lose_its_agreement(here):
    """Past `expires_at`, or with a void account, nothing is published."""
    late = await accepted(here, channels=["announcement"], not_before=rfc3339(60), expires_at=rfc3339(90))
    void = await accepted(here, channels=["announcement"], not_before=rfc3339(HOUR))
    here.clock.move(100)
    assert await announced(here) == 1
    assert (await here.http.put("/v1/recipients/u-1001/account", json={"state": "void"})).status_code == 200
    assert ((await read(here, late))["state"], (await read(here, void))["state"]) == ("expired", "cancelled")
    assert await published(here) == []


async def test_an_announcement_is_published_only_when_its_rung_comes(here):
    """As the last rung it waits for the SMS, is published at once when that failed, and not at all when that served."""
    ladder = {"channels": ["sms", "announcement"], "strategy": "ladder", "ladder_after": "PT24H"}
    failed = await accepted(here, **ladder)
    one, = await sealed(here)
    assert (await announced(here), await published(here)) == (0, [])
    await answered(here, one, "failed_permanent")
    assert await announced(here) == 1
    assert await states(here, failed) == {"sms": "failed", "announcement": "delivered"}
    served = await accepted(here, **ladder, content={"subject": "另一", "body": "另一", "sms": "全文", "sms_carries": "full"})
    one, = await sealed(here)
    await answered(here, one, "arrived")
    assert await states(here, served) == {"sms": "delivered", "announcement": "cancelled"}
    here.clock.move(30 * HOUR)
    assert (await announced(here), len(await published(here))) == (0, 1)


async def test_each_rung_has_its_time_after_the_one_before(here):
    """When the first rung fails at once, the third waits `ladder_after` from the start of the second, not two of them from acceptance."""
    notice_id = await accepted(here, channels=["email", "sms", "in_site"], strategy="ladder", ladder_after="PT1H")
    one, = await sealed(here)
    await answered(here, one, "rejected")
    one, = await sealed(here)
    await answered(here, one, "submitted")
    here.clock.move(HOUR - 1)
    assert await delivered_in_site(here) == 0
    here.clock.move(1)
    assert await delivered_in_site(here) == 1
    assert await states(here, notice_id) == {"email": "failed", "sms": "sent", "in_site": "delivered"}


async def test_a_parked_rung_is_called_up_once(here):
    """An in-site rung of a locked account is parked; it is not looked at again and again, and the rung after it has its turn."""
    await here.http.put("/v1/recipients/u-1001/account", json={"state": "locked"})
    notice_id = await accepted(here, channels=["sms", "in_site", "email"], strategy="ladder", ladder_after="PT1H")
    one, = await sealed(here)
    await answered(here, one, "rejected")
    assert [await delivered_in_site(here) for _ in range(3)] == [1, 0, 0]
    here.clock.move(HOUR)
    one, = await sealed(here)
    assert one.channel == "email"
    assert (await states(here, notice_id))["in_site"] == "pending"


async def test_a_rung_fails_for_the_next_whatever_those_before_still_wait_for(here):
    """The SMS still waits for its receipt when the mail fails: in-site comes at once, not after the mail's time."""
    await accepted(here, channels=["sms", "email", "in_site"], strategy="ladder", ladder_after="PT1H")
    one, = await sealed(here)
    await answered(here, one, "submitted")
    here.clock.move(HOUR)
    one, = await sealed(here)
    await answered(here, one, "rejected")
    assert await delivered_in_site(here) == 1


async def test_commercial_messages_wait_for_the_end_of_quiet_hours(here):
    """22:13 in Shanghai: mail and SMS wait until 08:00, in-site comes at once; a mandatory notice goes and says what it overrode."""
    loud = replace(here, world=replace(here.world, quiet=hours("22:00", "08:00")))
    content = {"subject": "促销", "body": "促销", "sms": "促销", "sms_carries": "full"}
    waits = await accepted(loud, category="commercial", channels=["in_site", "sms", "email"], content=content)
    assert (await delivered_in_site(loud), await sealed(loud)) == (1, [])
    assert (await states(loud, waits)) == {"in_site": "delivered", "sms": "pending", "email": "pending"}
    await accepted(loud, channels=["email"])
    one, = await sealed(loud)
    assert one.channel == "email"
    intended = [entry for entry in await here.entries() if entry["type"] == "attempt.intended"]
    assert [entry["overrode"] for entry in intended] == [["quiet_hours"]]
    here.clock.move(9 * HOUR + 46 * 60)  # 07:59:21
    assert await sealed(loud) == []
    here.clock.move(60)
    assert sorted(one.channel for one in await sealed(loud)) == ["email", "sms"]


async def test_a_refusal_needs_no_morning(here):
    """A commercial delivery on a refused channel is cancelled in quiet hours too, and one that expires before their end expires."""
    loud = replace(here, world=replace(here.world, quiet=hours("22:00", "08:00")))
    await here.http.put("/v1/recipients/u-1001/preferences", json={"refuse_commercial": ["email"]})
    refused = await accepted(loud, category="commercial", channels=["email"])
    content = {"subject": "促销", "body": "促销", "sms": "促销", "sms_carries": "full"}
    late = await accepted(loud, category="commercial", channels=["sms"], content=content, expires_at=rfc3339(HOUR))
    assert await sealed(loud) == []
    assert (await read(loud, refused))["state"] == "cancelled"
    here.clock.move(HOUR)
    assert await sealed(loud) == []
    assert (await read(loud, late))["state"] == "expired"


async def test_an_account_that_is_unlocked_gets_what_waits(here):
    """Whether or not it would expire; what is still to come waits for its time, and what nobody unlocked expires."""
    await here.http.put("/v1/recipients/u-1001/account", json={"state": "locked"})
    ends, lasting = await accepted(here, channels=["in_site"], expires_at=rfc3339(2 * HOUR)), await accepted(here, channels=["in_site"])
    later = await accepted(here, channels=["in_site"], not_before=rfc3339(HOUR), expires_at=rfc3339(2 * HOUR))
    assert await delivered_in_site(here) == 2
    await here.http.put("/v1/recipients/u-1001/account", json={"state": "active"})
    assert await delivered_in_site(here) == 2
    assert [(await read(here, one))["state"] for one in (ends, lasting, later)] == ["served", "served", "queued"]
    await here.http.put("/v1/recipients/u-1001/account", json={"state": "locked"})
    here.clock.move(HOUR)
    assert await delivered_in_site(here) == 1
    here.clock.move(HOUR)
    await delivered_in_site(here)
    assert (await read(here, later))["state"] == "expired"


async def test_a_late_rung_has_its_own_time_for_retries(here):
    """Temporary failures are retried for 72 hours from the first try on that channel, however late its turn came."""
    notice_id = await accepted(here, channels=["sms", "email"], strategy="ladder", ladder_after="P4D")
    first, = await sealed(here)
    await answered(here, first, "submitted")
    here.clock.move(96 * HOUR)
    for waited, state in ((0, "pending"), (71, "pending"), (2, "failed")):
        here.clock.move(waited * HOUR)
        one, = await sealed(here, "mail")
        await answered(here, one, "failed_temporary")
        assert (await states(here, notice_id))["email"] == state, waited


async def test_rungs_that_come_too_late_end_with_the_notice(here):
    """At `expires_at` nothing waits for a turn of later, so that the notice is finished; unlocking an account starts no rung early."""
    await here.http.put("/v1/recipients/u-1001/account", json={"state": "locked"})
    notice_id = await accepted(here, channels=["sms", "email", "in_site"], strategy="ladder", expires_at=rfc3339(2 * HOUR))
    one, = await sealed(here)
    await answered(here, one, "submitted")
    await here.http.put("/v1/recipients/u-1001/account", json={"state": "active"})
    assert (await delivered_in_site(here), await sealed(here)) == (0, [])
    here.clock.move(2 * HOUR)
    assert await here.database.write(horizons.sweep, here.world) == 1
    assert (await sealed(here, "mail"), await delivered_in_site(here)) == ([], 1)
    assert await states(here, notice_id) == {"sms": "expired", "email": "expired", "in_site": "expired"}
    assert (await read(here, notice_id))["state"] == "expired"
