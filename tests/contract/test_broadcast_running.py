"""Broadcasts that are approved, on every engine: exactly one notice each, counts that add up, pause and cancel, proofs, the audit."""

import json
from dataclasses import replace

import pytest

from noticesvc.domain.notice import STATES
from noticesvc.ledger import entry as ledger_entry
from noticesvc.operations import broadcast_expansion, broadcast_upkeep, claim, in_site, keys, seal
from noticesvc.storage import tables as t
from tests.support.broadcasts import approved
from tests.support.installation import installed
from tests.support.notices import CONTENT, read, recipient

WORKER = "01990000-0000-7000-8000-000000000001"


@pytest.fixture
async def here(database_url):
    async with installed(database_url) as made:
        yield made


@pytest.fixture
async def second(here):
    """Headers with another key, which may approve."""
    secret = await here.database.write(keys.create, "second", ("broadcasts:approve",))
    return {"Authorization": f"Bearer {secret}"}


async def shown(here, broadcast_id):
    """The broadcast, its counts checked: they add up in every one of them."""
    found = (await here.http.get(f"/v1/broadcasts/{broadcast_id}")).json()
    counts = found["counts"]
    assert counts["total"] == sum(counts[state] for state in STATES)
    for mine in counts["by_channel"].values():
        assert mine["total"] == sum(number for name, number in mine.items() if name not in ("total", "served")) == counts["total"]
    return found


async def expanded(here, limit=broadcast_expansion.TOGETHER):
    """Make all notices, so many recipients a transaction."""
    while await here.database.write(broadcast_expansion.expand, here.world, limit):
        here.clock.move(0.001)


async def delivered(here):
    """Deliver in-site until nothing is due; how many."""
    total = 0
    while found := await here.database.write(in_site.deliver, here.world, 100):
        total += found
    return total


async def looked(here):
    """Let upkeep look at everything that is due, and what follows from it."""
    here.clock.move(2)
    for _ in range(200):
        if not await here.database.write(broadcast_upkeep.look, here.world):
            return
    raise AssertionError("upkeep does not come to rest")


async def test_it_takes_a_second_key(here, second):
    """The key that made it cannot approve it; another one can, once."""
    await recipient(here)
    body = {"name": "更新", "notice": {"category": "agreement", "content": CONTENT}, "audience": {"type": "all"}}
    one = f"/v1/broadcasts/{(await here.http.post('/v1/broadcasts', json=body)).json()['id']}"
    refused = await here.http.post(f"{one}/approve")
    assert (refused.status_code, refused.json()["type"]) == (403, "urn:noticesvc:problem:four-eyes")
    assert (await here.http.post(f"{one}/approve", headers=second)).json()["state"] == "running"
    assert (await here.http.post(f"{one}/approve", headers=second)).status_code == 409


async def test_everybody_gets_exactly_one_notice(here, second):
    """Whoever was there at approval gets one notice, whoever comes later none; states are told by counters that add up."""
    for number in range(7):
        await recipient(here, f"u-{number}")
    broadcast_id = await approved(here, second, audience="all", notice={"channels": ["in_site"]})
    await recipient(here, "late")
    assert (await shown(here, broadcast_id))["counts"]["queued"] == 7
    await expanded(here, 3)
    counts = (await shown(here, broadcast_id))["counts"]
    assert (counts["expanded"], counts["queued"]) == (7, 7)
    notices = await here.rows(t.notice)
    assert len(notices) == len({row.subject_id for row in notices}) == 7
    assert await delivered(here) == 7
    assert (await shown(here, broadcast_id))["counts"]["served"] == 7
    await looked(here)
    found = await shown(here, broadcast_id)
    assert (found["state"], found["counts"]["by_channel"]["in_site"]["served"]) == ("completed", 7)
    page = (await here.http.get("/v1/notices", params={"broadcast_id": broadcast_id})).json()
    assert [one["state"] for one in page["items"]] == ["served"] * 7


async def test_entries_are_what_the_encoder_writes(here, second):
    """The hand-written entries are canonical and of the form of all others; contents are committed once, or for each with parameters."""
    await here.http.put("/v1/templates/greeting", json={"subject": "更新", "body": "{{ name }}"})
    await approved(here, second, "u-1", "u-2", notice={"reference": 'r-%b"1', "metadata": {"a": 1}})
    await approved(here, second, "u-3", notice={"content": None, "template": {"name": "greeting"}, "channels": ["in_site"]},
                   params={"u-3": {"name": "李"}})
    await expanded(here)
    entries = [one for one in await here.entries() if one["type"] == "notice.accepted"]  # decoding refuses what is not canonical
    assert [len(one["deliveries"]) for one in entries] == [3, 3, 1]
    assert [one["content_id"] == entries[0]["content_id"] for one in entries] == [True, True, False]
    assert [("content_commit" in one, "reference_commit" in one, "metadata_commit" in one) for one in entries] == [
        (False, True, True), (False, True, True), (True, False, False)]
    for one in entries:
        assert ledger_entry.decode(ledger_entry.encode(one)) == one


async def test_each_has_their_own_words(here, second):
    """Template parameters of a recipient stand in their text, and in nobody else's."""
    await here.http.put("/v1/templates/greeting", json={"subject": "更新", "body": "{{ name }}，您好", "sms": "{{ name }}",
                                                        "sms_carries": "full"})
    await approved(here, second, "u-1", "u-2", notice={"content": None, "template": {"name": "greeting"}, "channels": ["in_site", "sms"]},
                   params={"u-1": {"name": "李"}, "u-2": {"name": "王"}})
    await expanded(here)
    await delivered(here)
    for recipient_id, name in (("u-1", "李"), ("u-2", "王")):
        items = (await here.http.get(f"/v1/inbox/{recipient_id}/messages")).json()["items"]
        assert [one["body_html"].strip() for one in items] == [f"<p>{name}，您好</p>"]


async def test_who_became_nobody_is_counted_with_a_reason(here, second):
    """Recipients who were anonymised or whose agreement became void since the upload get no notice, and count as cancelled."""
    broadcast_id = await approved(here, second, "u-1", "u-2", "u-3", notice={"channels": ["in_site"]})
    assert (await here.http.post("/v1/recipients/u-1/anonymise", json={"reason": "x"})).status_code == 200
    assert (await here.http.put("/v1/recipients/u-2/account", json={"state": "void"})).status_code == 200
    await expanded(here)
    counts = (await shown(here, broadcast_id))["counts"]
    assert (counts["total"], counts["expanded"], counts["queued"], counts["cancelled"]) == (3, 1, 1, 2)
    reasons = sorted(row.skipped for row in await here.rows(t.broadcast_recipient) if row.skipped)
    assert reasons == ["agreement_void", "anonymised"]
    await delivered(here)
    await looked(here)
    assert (await shown(here, broadcast_id))["state"] == "completed"


async def claimed(here, **more):
    return await here.database.write(claim.claim, WORKER, 100, 60, **more)


async def test_a_paused_broadcast_gives_nothing_away(here, second):
    """Paused, nothing is claimed, sealed or delivered in-site, also of what a worker has in hand; resumed, all of it is."""
    broadcast_id = await approved(here, second, "u-1", "u-2")
    await expanded(here)
    in_hand = await claimed(here, channels=("sms",))
    assert len(in_hand) == 2
    assert (await here.http.post(f"/v1/broadcasts/{broadcast_id}/pause")).json()["state"] == "paused"
    assert await here.database.write(seal.seal, here.world, WORKER, [(one, "sms") for one in in_hand]) == []
    assert await claimed(here) == []
    assert await delivered(here) == 0
    single = await here.http.post("/v1/notices", json={"recipient_id": "u-1", "category": "platform", "content": CONTENT,
                                                       "channels": ["sms"]})
    assert [one.notice_id for one in await claimed(here)] == [single.json()["id"]]
    assert (await here.http.post(f"/v1/broadcasts/{broadcast_id}/resume")).json()["state"] == "running"
    assert len(await claimed(here)) == 4
    assert await delivered(here) == 2
    assert (await shown(here, broadcast_id))["counts"]["served"] == 2


async def test_a_cancel_leaves_what_was_sent(here, second):
    """What was delivered stands, what was sealed goes its way, what waits is cancelled, and who has no notice yet gets none."""
    broadcast_id = await approved(here, second, "u-1", "u-2", "u-3", notice={"channels": ["in_site", "sms"]})
    await here.database.write(broadcast_expansion.expand, here.world, 2)
    assert await here.database.write(in_site.deliver, here.world, 1) == 1
    begun, = await here.database.write(claim.claim, WORKER, 1, 60)
    assert len(await here.database.write(seal.seal, here.world, WORKER, [(begun, "sms")])) == 1
    reply = await here.http.post(f"/v1/broadcasts/{broadcast_id}/cancel")
    assert (reply.json()["state"], reply.json()["counts"]["cancelled"]) == ("cancelled", 1)
    assert await claimed(here) == []
    assert await delivered(here) == 0
    await looked(here)
    await expanded(here)
    counts = (await shown(here, broadcast_id))["counts"]
    assert counts["expanded"] == len(await here.rows(t.notice)) == 2
    left = {(row.notice_id, row.channel): (row.state, row.closed) for row in await here.rows(t.delivery)}
    assert left.pop((begun.notice_id, "sms")) == ("pending", None)  # under way
    assert sorted(left.values(), key=str) == [("cancelled", "cancelled")] * 2 + [("delivered", None)]
    assert counts["by_channel"]["sms"]["pending"] == 1
    assert counts["served"] == 1


async def test_proofs_and_the_audit_take_them(here, second):
    """Entries name what was approved, and its commitments are kept to be opened."""
    broadcast_id = await approved(here, second, "u-1", effective_at="2026-12-15T00:00:00Z", rates={"sms": 0.5})
    await expanded(here)
    entries = await here.entries()
    approval, = (one for one in entries if one["type"] == "broadcast.approved")
    accepted, = (one for one in entries if one["type"] == "notice.accepted")
    assert approval["broadcast_id"] == accepted["broadcast_id"] == broadcast_id
    assert approval["content_id"] == accepted["content_id"]
    assert approval["created_by"] != approval["approved_by"]
    assert approval["recipients"] == 1
    assert accepted["effective_at"] == approval["effective_at"] == "2026-12-15T00:00:00.000000Z"
    assert not any(word in json.dumps(entries) for word in ("u-1", "用户协议", "更新"))


async def test_completion_is_told_once(here, second):
    """The event names the broadcast and its counts."""
    world = replace(here.world, events_enabled=True)
    broadcast_id = await approved(here, second, "u-1", notice={"channels": ["in_site"]})
    await expanded(here)
    await delivered(here)
    for _ in range(3):
        here.clock.move(70)
        await here.database.write(broadcast_upkeep.look, world)
    told = [row for row in await here.rows(t.outgoing_event) if row.type == "broadcast.completed"]
    body = json.loads(world.system_key.open(told[0].sealed, f"outgoing_event:{told[0].id}"))
    assert len(told) == 1
    assert (body["data"]["broadcast_id"], body["data"]["counts"]["served"]) == (broadcast_id, 1)


async def test_a_notice_reads_like_any_other(here, second):
    """GET shows a broadcast's notice with the hash of the shared content."""
    await approved(here, second, "u-1")
    await expanded(here)
    row, = await here.rows(t.notice)
    found = await read(here, row.id)
    assert (found["recipient_id"], found["state"], len(found["content_sha256"])) == ("u-1", "queued", 64)


async def test_a_rate_holds_for_in_site_messages_too(here, second):
    """One message in a hundred seconds: the first goes, the next has to wait, a single notice does not."""
    broadcast_id = await approved(here, second, "u-1", "u-2", notice={"channels": ["in_site"]}, rates={"in_site": 0.01})
    await expanded(here)
    assert await here.database.write(in_site.deliver, here.world, 100) == 1
    single = {"recipient_id": "u-1", "category": "platform", "channels": ["in_site"], "content": {"subject": "通知", "body": "正文"}}
    assert (await here.http.post("/v1/notices", json=single)).status_code == 202
    done = await here.database.write(in_site.deliver_paced, here.world, 100)
    assert done.number == 1
    assert 60 < done.wait_s <= 100
    counts = (await shown(here, broadcast_id))["counts"]
    assert (counts["served"], counts["queued"]) == (1, 1)
