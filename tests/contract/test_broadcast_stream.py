"""The stream of a broadcast, on every engine: what it tells and when, when it ends, and that many readers cost one look."""

import asyncio

import pytest

from noticesvc.api import broadcast_stream
from noticesvc.operations import broadcast_audience, keys
from tests.support.installation import installed
from tests.support.notices import CONTENT, recipient
from tests.support.served import events, served
from tests.support.waiting import until


@pytest.fixture
async def here(database_url, monkeypatch):
    monkeypatch.setattr(broadcast_stream, "POLL_S", 0.02)
    async with installed(database_url) as made:
        await recipient(made)
        yield made


async def draft(here):
    """A draft; its id."""
    reply = await here.http.post("/v1/broadcasts", json={
        "name": "更新", "audience": {"type": "upload"}, "notice": {"category": "agreement", "content": CONTENT, "channels": ["in_site"]}})
    assert reply.status_code == 201, reply.text
    return reply.json()["id"]


def members(told):
    return told["state"], told["counts"]["total"], told["counts"]["cancelled"]


async def test_the_stream_tells_of_every_change_and_ends_with_the_broadcast(here):
    """State and counts at the start and at each change, as GET shows them; after the last one the stream is over."""
    broadcast_id = await draft(here)
    path = f"/v1/broadcasts/{broadcast_id}"
    async with served(here) as http, http.stream("GET", f"{path}/events") as reply:
        assert reply.headers["content-type"].startswith("text/event-stream")
        assert reply.headers["cache-control"] == "no-store"
        told = events(reply.aiter_lines())
        assert members(await anext(told)) == ("draft", 0, 0)
        await here.database.write(broadcast_audience.add, here.world, broadcast_id, [("u-1001", {})])
        assert members(await anext(told)) == ("draft", 1, 0)
        await here.http.post(f"{path}/cancel")
        last = await anext(told)
        assert members(last) == ("cancelled", 1, 1)
        assert last["counts"] == (await here.http.get(path)).json()["counts"]
        with pytest.raises(StopAsyncIteration):
            await anext(told)


async def test_many_readers_cost_one_look_and_those_who_leave_are_forgotten(here, monkeypatch):
    """All readers of a process are fed from one read, whose bytes are made once; when the last one left, nobody looks any more."""
    looked = []
    several = broadcast_stream.broadcast_watching.several
    monkeypatch.setattr(broadcast_stream.broadcast_watching, "several",
                        lambda tx, world, ids: looked.append(list(ids)) or several(tx, world, ids))
    broadcast_id = await draft(here)
    path = f"/v1/broadcasts/{broadcast_id}/events"
    async with served(here) as http:
        async with http.stream("GET", path) as one, http.stream("GET", path) as other:
            first, second = events(one.aiter_lines()), events(other.aiter_lines())
            assert await anext(first) == await anext(second)
            watch = here.http._transport.app.state.broadcast_watch
            assert len(watch._listeners[broadcast_id]) == 2
        await until(lambda: asyncio.sleep(0, (len(watch._listeners), watch._task.done())), lambda found: found == (0, True))
    assert watch.latest == {}
    assert all(ids == [broadcast_id] for ids in looked)


async def test_a_stream_ends_when_the_process_does(here):
    """A service that stops is not held open by its readers."""
    async with served(here) as http, http.stream("GET", f"/v1/broadcasts/{await draft(here)}/events") as reply:
        told = events(reply.aiter_lines())
        await anext(told)
        here.http._transport.app.state.stopping.set()
        with pytest.raises(StopAsyncIteration):
            await anext(told)


async def test_who_may_follow(here):
    """Nobody without the scopes, nobody whose key is for other categories, and nobody what is not there; HEAD opens no stream."""
    path = f"/v1/broadcasts/{await draft(here)}/events"
    for scopes, categories, status in ((("notices:read",), (), 403), (("broadcasts:write",), ("commercial",), 403)):
        secret = await here.database.write(keys.create, scopes[0], scopes, categories)
        assert (await here.http.get(path, headers={"Authorization": f"Bearer {secret}"})).status_code == status
    assert (await here.http.get(path.replace("/events", "0/events"))).status_code == 404
    assert (await here.http.head(path)).status_code == 200
