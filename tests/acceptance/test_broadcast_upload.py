"""An upload whose service is killed in the midst: sent again whole, everybody is in the audience once."""

import asyncio
import json

import httpx
import pytest

from tests.support.asking import async_caller
from tests.support.process import running
from tests.support.waiting import until

pytestmark = [pytest.mark.kill, pytest.mark.slow, pytest.mark.timeout(300)]
PEOPLE = [f"recipient-{number:08d}" for number in range(5000)]


async def test_an_upload_is_killed_and_sent_again(database_url, tmp_path):
    """What was recorded before the kill counts as duplicates, the rest is accepted, and the audience is everybody once."""
    async with running(tmp_path, database_url, patient=True) as here, async_caller(
            here.service.url, here.service.key) as http, httpx.AsyncClient(
            base_url=here.service.url, headers=http.headers, timeout=120, trust_env=False) as once:
        await here.service.start()
        lines = "\n".join(json.dumps({"recipient_id": one, "contacts": [], "source": "crm"}) for one in PEOPLE)
        assert (await http.post("/v1/recipients/import", content=lines.encode())).json()["accepted"] == len(PEOPLE)
        made = (await http.post("/v1/broadcasts", json={"name": "n", "audience": {"type": "upload"}, "notice": {
            "category": "agreement", "channels": ["in_site"], "content": {"subject": "s", "body": "b"}}})).json()
        path, killed = f"/v1/broadcasts/{made['id']}", asyncio.Event()

        async def body():
            yield "\r\n".join(["recipient_id", *PEOPLE[:4500]]).encode()  # more than what the charset is told from
            await killed.wait()
            raise httpx.WriteError("the other end is gone")

        upload = asyncio.create_task(once.post(f"{path}/recipients", content=body(), headers={"Content-Type": "text/csv"}))

        async def total():
            return int((await http.get(path)).json()["counts"]["total"])

        before = await until(total, lambda number: number > 0)
        await here.service.kill()
        killed.set()
        with pytest.raises(httpx.HTTPError):
            await upload
        await here.service.start()
        again = await http.post(f"{path}/recipients", content="\r\n".join(["recipient_id", *PEOPLE]).encode(),
                                headers={"Content-Type": "text/csv"})
        found = again.json()
        assert (found["accepted"] + found["duplicates"], found["rejected"]) == (len(PEOPLE), [])
        assert before <= found["duplicates"] < len(PEOPLE)
        assert await total() == len(PEOPLE)
