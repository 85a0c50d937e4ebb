"""What operators are shown, on every engine: queues by category with their age, unknowns, late receipts, dropped notices."""

from types import SimpleNamespace

import pytest
from sqlalchemy import update

from noticesvc import metrics
from noticesvc.dispatch.watch import Watch
from noticesvc.operations import record, watching
from noticesvc.operations.record import Answer, Schedule
from noticesvc.operations.watching import Waiting
from noticesvc.storage import tables as t
from tests.support.installation import installed
from tests.support.notices import accepted, recipient, sealed


@pytest.fixture
async def here(database_url):
    async with installed(database_url) as made:
        await recipient(made)
        yield made


async def looked(here):
    return await here.database.read(watching.look)


async def answered(here, one, outcome):
    answer = Answer(one.notice_id, one.channel, one.number, outcome, here.clock(), here.clock())
    await here.database.write(record.record, here.world, Schedule(30, 3600, 5, {}), [answer], [0.0])


async def test_nothing_waits_in_a_new_installation(here):
    """No queue, nothing unknown or dropped; what was recorded so far waits for the ledger, which nobody runs here."""
    here.clock.move(9)
    seen = await looked(here)
    assert (seen.queues, seen.unknown, seen.late_receipts, seen.orphans, seen.unowned) == ({}, 0, 0, 0, ())
    assert (seen.receipts, seen.events) == (Waiting(0, 0.0), Waiting(0, 0.0))
    assert (seen.ledger, seen.checkpoint_size, seen.checkpoint_age_s) == (Waiting(1, 10.0), 0, None)


async def test_queues_are_told_by_category_with_their_age(here):
    """Each due delivery counts for its notice's category; what is not due yet counts for none."""
    await accepted(here, channels=["email", "in_site"])
    here.clock.move(20)
    await accepted(here, category="commercial", channels=["email"], content={"subject": "s", "body": "b"})
    await accepted(here, channels=["email"], not_before="2030-01-01T00:00:00Z")
    here.clock.move(10)
    assert (await looked(here)).queues == {"agreement": Waiting(2, 30.0), "commercial": Waiting(1, 10.0)}


async def test_what_is_unknown_or_unreported_is_counted(here):
    """An SMS is late an hour after it was sent; an unknown outcome is counted until it is settled."""
    await accepted(here, channels=["sms"])
    (one,) = await sealed(here)
    await answered(here, one, "submitted")
    here.clock.move(3500)
    assert (await looked(here)).late_receipts == 0
    here.clock.move(200)
    assert (await looked(here)).late_receipts == 1
    await accepted(here, channels=["email"])
    (other,) = await sealed(here)
    await answered(here, other, "unknown")
    assert (await looked(here)).unknown == 1


async def test_a_parked_delivery_is_no_alarm_and_a_dropped_one_is(here):
    """In-site to a locked account waits for the account; a delivery that lost its time without reason is named, and is an alarm
    once two looks have seen it.
    """
    await here.http.put("/v1/recipients/u-1001/account", json={"state": "locked"})
    parked = await accepted(here, channels=["in_site"])
    dropped = await accepted(here, channels=["email"])
    d = t.delivery.c
    for notice_id in (parked, dropped):
        await here.database.write(lambda tx, i=notice_id: tx.execute(update(t.delivery).where(d.notice_id == i).values(due_at=None)))
    seen = await looked(here)
    assert seen.unowned == ((dropped, "email"),)
    watch = Watch(here.database)
    watch.saw(seen)
    assert "conservation" not in watch.faults()
    watch.saw(seen)
    assert dropped in watch.faults()["conservation"]
    assert metrics.REGISTRY.get_sample_value("noticesvc_deliveries_unowned") == 1
    watch.saw(SimpleNamespace(**{name: getattr(seen, name) for name in seen.__slots__} | {"unowned": ()}))
    assert "conservation" not in watch.faults()
