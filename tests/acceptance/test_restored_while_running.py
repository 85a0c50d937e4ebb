"""PostgreSQL is restored under running processes: each of them notices, reads on, and neither accepts nor sends anything."""

import asyncio

import httpx
import pytest

from tests.support.process import running
from tests.support.waiting import until

pytestmark = [pytest.mark.postgres, pytest.mark.slow, pytest.mark.timeout(300)]
HELD = b"an older database was restored: read-only, nothing is sent"


async def test_processes_that_run_notice_that_an_older_database_took_their_place(postgres, postgres_url, tmp_path):
    """A notice that waits in the backup was sent since: it is not sent again, POST is refused with the entries named, GET goes on."""
    async with running(tmp_path, postgres_url, patient=True) as house:
        api = await house.service.start(only="api")
        notice_id = await house.post(await house.recipient())
        backup = await asyncio.to_thread(postgres.dump, postgres_url)
        worker = await house.service.start(only="worker")
        await house.taken(1)
        proof = f"/v1/notices/{notice_id}/proof?reason=test"
        status, _ = await house.caller.get(proof)  # answered once a checkpoint covers it
        assert status == 200
        await asyncio.to_thread(postgres.restore, postgres_url, backup)
        log = house.service.log
        await until(lambda: asyncio.to_thread(log.read_bytes), lambda said: said.count(HELD) >= 2)
        headers = {"Authorization": f"Bearer {house.service.key}"}
        async with httpx.AsyncClient(base_url=house.service.url, headers=headers, trust_env=False, timeout=60) as http:
            # One of them may have said it twice, to its loop and to a writer, before the other has looked.
            await until(lambda: http.get("/readyz"), lambda answer: "are missing" in str(answer.json()["checks"].get("signer")))
            assert {api.returncode, worker.returncode} == {None}
            await house.refused()
            refused = await http.post("/v1/notices", json={
                "recipient_id": "u-1", "category": "platform", "channels": ["in_site"], "content": {"subject": "S", "body": "B"}})
            ready = await http.get("/readyz")
        assert refused.status_code == 503
        assert "are missing. A backup was restored" in refused.json()["detail"]
        assert ready.json()["checks"]["signer"] == refused.json()["detail"]
        status, notice = await house.caller.get(f"/v1/notices/{notice_id}")
        assert status == 200
        assert notice["deliveries"][0]["state"] == "pending"
        assert len(house.mail.contents) == 1
        assert await house.service.stop() == [0, 0]
        assert len(house.mail.contents) == 1
