"""Notices read, listed, counted and cancelled over HTTP, on every engine."""

import asyncio

import pytest

from noticesvc.operations import claim, seal
from noticesvc.storage import tables as t
from tests.support.installation import installed
from tests.support.notices import accepted, delivered_in_site, read, recipient

PATH = "/v1/notices"


@pytest.fixture
async def here(database_url):
    async with installed(database_url) as made:
        await recipient(made)
        yield made


async def test_lists_and_counts_agree(here):
    """Each filter finds the same notices in list and counts, newest first, page by page, and total is the sum of the states."""
    await recipient(here, "u-2", phone=None)
    case = {"court": "某法院", "case_number": "（2026）京01民初1号", "stage": "execution", "document_type": "传票"}
    made = [await accepted(here, reference="r-1")]
    here.clock.move(10)
    made.append(await accepted(here, recipient_id="u-2", category="judicial", case=case))
    here.clock.move(10)
    made += [await accepted(here, reference="r-1"), await accepted(here, category="commercial")]
    assert (await here.http.post(f"{PATH}/{made[2]}/cancel")).status_code == 200

    async def found(**query):
        items, cursor = [], None
        while True:
            reply = await here.http.get(PATH, params={**query, "limit": 1} | ({"cursor": cursor} if cursor else {}))
            assert reply.status_code == 200, reply.text
            items += reply.json()["items"]
            cursor = reply.json()["next_cursor"]
            if cursor is None:
                break
        counts = (await here.http.get(f"{PATH}/counts", params=query)).json()["counts"]
        assert counts["total"] == len(items) == sum(n for name, n in counts.items() if name != "total")
        assert all(not {"deliveries", "evidence"} & item.keys() for item in items)
        return {item["id"] for item in items}, counts

    everything, counts = await found()
    assert everything == set(made)
    assert counts == {"total": 4, "queued": 3, "in_progress": 0, "served": 0, "unserved": 0, "cancelled": 1, "expired": 0}
    expected = [({"recipient_id": "u-2"}, [1]), ({"recipient_id": "nobody"}, []), ({"reference": "r-1"}, [0, 2]),
                ({"category": "commercial"}, [3]), ({"state": "cancelled"}, [2]), ({"state": "served"}, []),
                ({"case_number": case["case_number"]}, [1]), ({"broadcast_id": made[0]}, []),
                ({"accepted_from": "2026-09-21T14:13:32Z", "accepted_to": "2026-09-21T14:13:42Z"}, [1]),
                ({"accepted_from": "2026-09-21T14:13:42Z"}, [2, 3]), ({"accepted_to": "2026-09-21T14:13:22Z"}, []),
                ({"accepted_to": "2026-09-21T14:13:22.000001Z"}, [0]), ({"accepted_from": "2026-09-21T22:13:22+08:00"}, [0, 1, 2, 3]),
                ({"accepted_from": "9999-01-01T00:00:00Z"}, []), ({"accepted_to": "0001-01-01T00:00:00Z"}, [])]
    for query, places in expected:
        assert (await found(**query))[0] == {made[place] for place in places}, query
    ordered = [item["id"] for item in (await here.http.get(PATH)).json()["items"]]
    assert ordered == sorted(ordered, reverse=True)


async def test_a_bad_filter_is_refused(here):
    """A filter, limit or cursor that cannot be one is a 422, for the list and for the counts."""
    for query in ({"limit": "0"}, {"limit": "201"}, {"limit": "x"}, {"cursor": "x"}, {"cursor": ""}, {"state": "sent"}, {"category": "x"},
                  {"broadcast_id": "x"}, {"accepted_from": "2026-09-21"}, {"recipient_id": ""}, {"recipient_id": "a/b"}, {"colour": "red"},
                  {"reference": "x" * 129}, {"case_number": "a\x00"}):
        for path in (PATH, f"{PATH}/counts"):
            reply = await here.http.get(path, params=query)
            assert (reply.status_code, reply.headers["content-type"]) == (422, "application/problem+json"), query


async def test_cancelling_closes_every_delivery_once(here):
    """Before any dispatch 200 and `cancelled`, again 200 without a further entry; nothing is dispatched afterwards."""
    notice_id = await accepted(here)
    first = await here.http.post(f"{PATH}/{notice_id}/cancel")
    assert (first.status_code, first.json()["state"]) == (200, "cancelled")
    assert {d["state"] for d in first.json()["deliveries"]} == {"cancelled"}
    entries = await here.entries()
    assert [entry["type"] for entry in entries if entry.get("notice_id") == notice_id] == [
        "notice.accepted", "notice.cancelled", "delivery.closed", "delivery.closed", "delivery.closed"]
    assert [entry["seq"] for entry in entries if entry.get("notice_id") == notice_id] == [1, 2, 3, 4, 5]
    again = await here.http.post(f"{PATH}/{notice_id}/cancel")
    assert (again.status_code, again.json()) == (200, first.json())
    assert len(await here.entries()) == len(entries)
    assert await delivered_in_site(here) == 0
    assert await here.database.write(claim.claim, here.database.sources.new_id(), 10, 60) == []


async def test_cancelling_after_dispatch_is_refused(here):
    """Once anything was dispatched, 409 `already-dispatched`, and the notice is as it was."""
    notice_id = await accepted(here, channels=["in_site", "email"])
    await delivered_in_site(here)
    before = await read(here, notice_id)
    reply = await here.http.post(f"{PATH}/{notice_id}/cancel")
    assert (reply.status_code, reply.json()["type"]) == (409, "urn:noticesvc:problem:already-dispatched")
    assert await read(here, notice_id) == before


async def test_a_delivery_that_is_held_but_not_sealed_can_be_cancelled(here):
    """A cancel between claim and seal takes the delivery from the worker: its seal starts nothing."""
    notice_id = await accepted(here, channels=["sms", "email"])
    owner = here.database.sources.new_id()
    claims = await here.database.write(claim.claim, owner, 10, 60)
    assert len(claims) == 2
    assert (await here.http.post(f"{PATH}/{notice_id}/cancel")).status_code == 200
    assert await here.database.write(seal.seal, here.world, owner, [(one, "p") for one in claims]) == []
    assert (await read(here, notice_id))["state"] == "cancelled"
    assert await here.rows(t.attempt) == []


async def test_cancel_and_seal_at_once_have_one_winner(here):
    """Raced many times, either the cancel wins and no attempt exists, or it is refused and the attempts do."""
    owner = here.database.sources.new_id()
    for _ in range(10):
        notice_id = await accepted(here, channels=["email"])
        claims = [one for one in await here.database.write(claim.claim, owner, 100, 60) if one.notice_id == notice_id]
        made, reply = await asyncio.gather(here.database.write(seal.seal, here.world, owner, [(one, "p") for one in claims]),
                                           here.http.post(f"{PATH}/{notice_id}/cancel"))
        assert reply.status_code == (409 if made else 200)
        assert len((await read(here, notice_id))["deliveries"][0]["attempts"]) == len(made)
