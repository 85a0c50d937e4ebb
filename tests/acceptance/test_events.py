"""Outgoing events of a real process: the receiver is down, hangs, refuses, and dies; the service is killed while it posts."""

import pytest

from tests.fakes.receiver import Receiver
from tests.support.ports import free_port
from tests.support.process import running
from tests.support.waiting import until

pytestmark = [pytest.mark.kill, pytest.mark.slow]
SECRET = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"


async def told(receiver, count):
    """What the receiver has taken, once it is so much."""
    async def look():
        return set(receiver.taken)
    return await until(look, lambda taken: len(taken) >= count)


async def test_each_event_comes_whatever_happens_to_either_side(database_url, tmp_path):
    """Every served notice is told at least once under one id, though receiver and service are killed in between."""
    first = Receiver(["hang"], port=free_port())
    async with first, running(tmp_path, database_url, events={"url": first.url, "secret": SECRET}) as run:
        process = await run.service.start()
        ids = [await run.post(await run.recipient())]
        await first.came.wait()
        await run.service.kill(process)  # it has posted and does not know how that ended
        await first.__aexit__(None, None, None)  # and nobody listens any more
        await run.service.start()
        ids.append(await run.post("u-1"))
        async with Receiver([500], port=first.port) as second:
            await told(second, 2)
        served = [one for one in [*first.events(), *second.events()] if one["type"] == "notice.served"]
        assert {one["data"]["notice_id"] for one in served} == set(ids)
        by_id = {headers["webhook-id"]: body for headers, body in [*first.seen, *second.seen]}
        assert all(by_id[headers["webhook-id"]] == body for headers, body in [*first.seen, *second.seen])
        assert len(by_id) == 2
        assert first.seen[0][0]["webhook-id"] in second.taken
        await run.audited()
