"""Broadcasts in a running service: one notice each although it is killed in the midst, and nothing sent while one is paused."""

import json

import pytest
from sqlalchemy import func, select

from noticesvc import config
from noticesvc.bootstrap.installation import open_database
from noticesvc.domain.notice import STATES
from noticesvc.storage import tables as t
from tests.support.process import running
from tests.support.waiting import until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
# So that there are many moments.
SMALL = "from noticesvc.operations import broadcast_expansion as b; b.expand.__defaults__ = (16,); b.take.__defaults__ = (None, 16)"


async def people(here, number):
    """Record so many recipients with a number each."""
    lines = [json.dumps({"recipient_id": f"u-{i}", "source": "crm", "contacts": [
        {"channel": "sms", "address": f"+8613800{i:06d}", "confirmation": "confirmed"}]}) for i in range(number)]
    async with here.caller._session.post(f"{here.service.url}/v1/recipients/import", data="\n".join(lines),
                                         headers={"Content-Type": "application/x-ndjson"}) as answer:
        assert (await answer.json())["accepted"] == number


async def begun(here, channels, **more):
    """A broadcast to everybody, approved with a second key; its path."""
    status, output = await here.service.command("keys", "create", "--config", str(here.service.config_file), "--name", "second",
                                                "--scope", "broadcasts:approve")
    assert status == 0, output
    sms = {"sms": "更新", "sms_carries": "full"} if "sms" in channels else {}
    status, made = await here.caller.request("POST", "/v1/broadcasts", {
        "name": "更新", "audience": {"type": "all"},
        "notice": {"category": "agreement", "channels": channels, "content": {"subject": "更新", "body": "正文", **sms}}, **more})
    assert status == 201, made
    path = f"/v1/broadcasts/{made['id']}"
    second = {"Authorization": f"Bearer {output.strip().splitlines()[-1]}"}
    status, answer = await here.caller.request("POST", f"{path}/approve", None, second)
    assert (status, answer["state"]) == (200, "running"), answer
    return path


async def counts(here, path):
    """The broadcast; its counts add up whenever they are asked for."""
    status, found = await here.caller.get(path)
    assert status == 200, found
    assert found["counts"]["total"] == sum(found["counts"][state] for state in STATES), found
    return found


async def sealed(here):
    """How many attempts there are."""
    database = open_database(config.load(here.service.config_file, {}))
    try:
        count = select(func.count()).select_from(t.attempt)
        return await database.read(lambda tx: tx.execute(count).scalar_one())
    finally:
        await database.close()


async def notices(here):
    """How many notices there are, and of how many recipients."""
    database = open_database(config.load(here.service.config_file, {}))
    try:
        both = select(func.count(), func.count(t.notice.c.subject_id.distinct())).select_from(t.notice)
        return tuple(await database.read(lambda tx: tx.execute(both).one()))
    finally:
        await database.close()


async def test_killed_in_the_midst_it_makes_one_notice_each(database_url, tmp_path):
    """SIGKILL while notices are made, three times: in the end each recipient has one, all are served, and the audit agrees."""
    number = 640
    async with running(tmp_path, database_url, wrapper=SMALL) as here:
        await here.service.start()
        await people(here, number)
        path = await begun(here, ["in_site"])
        for part in (1, 2, 3):
            await until(lambda: counts(here, path), lambda found, part=part: found["counts"]["expanded"] >= part * number // 5)
            await here.service.kill()
            await here.service.start()
        done = await until(lambda: counts(here, path), lambda found: found["state"] == "completed", 120)
        assert (done["counts"]["served"], done["counts"]["expanded"]) == (number, number)
        assert await notices(here) == (number, number)
        await here.audited()


async def test_a_pause_stops_it_and_loses_nothing(database_url, tmp_path):
    """Paused under load, single notices go on and nothing of it does; resumed, every recipient is sent one message."""
    number = 100
    async with running(tmp_path, database_url, patient=True) as here:
        await here.service.start()
        await people(here, number)
        path = await begun(here, ["sms"], rates={"sms": 100})
        await until(lambda: counts(here, path), lambda found: found["counts"]["by_channel"]["sms"]["sent"] >= 5)
        assert (await here.caller.request("POST", f"{path}/pause"))[0] == 200
        # What was under way at that moment ends; single notices, which are sealed after it, show that time goes on.
        notice_id = await here.post("u-1", channels=("sms",))
        await here.until(notice_id, lambda found: found["deliveries"][0]["state"] == "sent")
        stopped = await until(lambda: settled(here, path), lambda found: found is not None)
        for _ in range(3):
            notice_id = await here.post("u-1", channels=("sms",))
            await here.until(notice_id, lambda found: found["deliveries"][0]["state"] == "sent")
        assert (await counts(here, path))["counts"] == stopped
        assert (await here.caller.request("POST", f"{path}/resume"))[0] == 200
        await until(lambda: counts(here, path), lambda found: found["counts"]["by_channel"]["sms"]["pending"] == 0, 120)
        assert len(here.sms.requests) == number + 4
        await here.audited()


async def settled(here, path):
    """The counts once the gateway was given, and answered, whatever was sealed, a single notice beside them; null before."""
    found = (await counts(here, path))["counts"]
    return found if found["by_channel"]["sms"]["sent"] + 1 == len(here.sms.requests) == await sealed(here) else None


async def test_a_cancel_stands_for_the_rest(database_url, tmp_path):
    """Cancelled under load, what was sent stays sent, everything else is cancelled, and the numbers are those of the gateway."""
    number = 100
    async with running(tmp_path, database_url, patient=True) as here:
        await here.service.start()
        await people(here, number)
        # So slowly that a busy machine comes to the cancel before all were sent.
        path = await begun(here, ["sms"], rates={"sms": 3})
        await until(lambda: counts(here, path), lambda found: found["counts"]["by_channel"]["sms"]["sent"] >= 5)
        assert (await here.caller.request("POST", f"{path}/cancel"))[0] == 200
        done = await until(lambda: counts(here, path), lambda found: found["counts"]["by_channel"]["sms"]["pending"] == 0)
        sent = len(here.sms.requests)
        mine = done["counts"]["by_channel"]["sms"]
        assert (mine["sent"], mine["cancelled"]) == (sent, number - sent)
        assert 5 <= sent < number
        await here.audited()
