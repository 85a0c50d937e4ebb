"""Single notices go before bulk, mandatory ones before commercial, on every engine: in claims and in-site. Notices of broadcasts are
made before they are delivered.
"""

from types import SimpleNamespace

import pytest

from noticesvc import config
from noticesvc.dispatch import worker as dispatching
from noticesvc.operations import claim, in_site, keys
from noticesvc.storage import tables as t
from tests.support.broadcasts import approved, expanded
from tests.support.installation import installed
from tests.support.notices import accepted, notice, read, recipient

WORKER = "01990000-0000-7000-8000-000000000001"


@pytest.fixture
async def here(database_url):
    async with installed(database_url) as made:
        await recipient(made)
        yield made


async def batch(here, *categories, channels):
    """Post a batch with a notice of each category; the ids."""
    content = {"subject": "通知", "body": "正文"}
    reply = await here.http.post("/v1/notices/batch", json={
        "notices": [notice(category=category, channels=channels, content=content) for category in categories]})
    return [one["id"] for one in reply.json()["results"]]


async def claimed(here, limit, **more):
    """What one worker gets; on SQLite another would take it away."""
    return [one.notice_id for one in await here.database.write(claim.claim, WORKER, limit, 60, **more)]


async def test_claims_go_by_kind_then_by_age(here):
    """Single mandatory, single commercial, bulk mandatory, bulk commercial; a batch of one is no bulk."""
    promotion, bulk = await batch(here, "commercial", "agreement", channels=["email"])
    here.clock.move(1)
    content = {"subject": "通知", "body": "正文"}
    offer = await accepted(here, category="commercial", channels=["email"], content=content)
    alone, = await batch(here, "platform", channels=["email"])
    here.clock.move(1)
    single = await accepted(here, channels=["email"])
    assert await claimed(here, 10) == [alone, single, offer, bulk, promotion]


async def test_single_notices_can_be_claimed_alone(here):
    """A worker with its hands full of bulk takes the single ones, and leaves bulk to others."""
    bulk = await batch(here, "agreement", "agreement", channels=["email"])
    single = await accepted(here, channels=["email"])
    assert await claimed(here, 10, single=True) == [single]
    assert await claimed(here, 10, single=True) == []
    assert await claimed(here, 10) == bulk


async def test_in_site_single_notices_pass_bulk(here):
    """Of a batch and a single notice that came later the single one is delivered first."""
    bulk = await batch(here, "agreement", "agreement", "agreement", channels=["in_site"])
    here.clock.move(1)
    single = await accepted(here, channels=["in_site"])
    assert await here.database.write(in_site.deliver, here.world, 1) == 1
    assert (await read(here, single))["state"] == "served"
    assert [(await read(here, one))["state"] for one in bulk] == ["queued"] * 3


async def test_a_repeat_is_the_same_notice_alone_or_among_many(here):
    """Whether a notice was one of many is no part of what was asked: its key gives the same notice back."""
    body = notice(channels=["email"]) | {"content": {"subject": "通知", "body": "正文"}}
    first = (await here.http.post("/v1/notices", json=body, headers={"Idempotency-Key": "k"})).json()["id"]
    again = await here.http.post("/v1/notices/batch", json={"notices": [body | {"idempotency_key": "k"}, body]})
    assert again.json()["results"][0] | {"replayed": True} == again.json()["results"][0]
    assert again.json()["results"][0]["id"] == first


async def test_in_site_messages_of_broadcasts_wait_while_notices_are_made(here, monkeypatch):
    """But for a batch now and then; single ones go on, and all of them afterwards."""
    monkeypatch.setattr(dispatching, "_MAKING_S", 3600.0)
    secret = await here.database.write(keys.create, "second", ("broadcasts:approve",))
    await approved(here, {"Authorization": f"Bearer {secret}"}, "u-1", "u-2", "u-3", notice={"channels": ["in_site"]})
    await expanded(here.database, here.world)
    making = True
    settings = SimpleNamespace(worker=config.Worker(claim_batch=1), providers={})
    worker = dispatching.Worker(settings, here.database, here.world, {}, lambda: making)

    async def served():
        await worker._deliver_in_site()
        return sum(row.broadcast_id is not None and row.state == "served" for row in await here.rows(t.notice))
    assert await served() == 1
    single = await accepted(here, recipient_id="u-1", channels=["in_site"])
    assert await served() == 1
    assert (await read(here, single))["state"] == "served"
    making = False
    assert await served() == 2
    assert await served() == 3
