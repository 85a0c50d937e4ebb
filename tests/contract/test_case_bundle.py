"""The bundle of a case: every notice that names it, each with a proof that verifies and a certificate that was kept."""

import asyncio
import hashlib
import io
import json
import zipfile
from urllib.parse import quote

import pytest
from sqlalchemy import update

from noticesvc.proof.verify import verify
from noticesvc.storage import tables as t
from tests.contract.test_certificates import served
from tests.support import proofs
from tests.support.ledger import SIGNER

CASE = "(2026)京0108民初1号"


@pytest.fixture
async def desk(database_url):
    """An installation whose notices are run by hand."""
    async with proofs.desk(database_url) as made:
        yield made


async def asked(desk, case_number, reason="法院调取"):
    """The answer to a request for the bundle, while somebody signs checkpoints."""
    task = asyncio.create_task(desk.house.http.get(f"/v1/cases/{quote(case_number, safe='')}/bundle", params={"reason": reason}))
    while not task.done():
        await desk.sequence()
        await asyncio.wait({task}, timeout=0.05)
    return task.result()


async def test_it_holds_every_notice_of_the_case(desk):
    """Two notices of the case and none of another; proofs verify, certificates are those that are kept, the index names them."""
    mine = [await served(desk), await served(desk)]
    await served(desk, case={"court": "法院", "case_number": "(2026)京0108民初2号", "stage": "retrial", "document_type": "传票"})
    reply = await asked(desk, CASE)
    assert (reply.status_code, reply.headers["content-type"]) == (200, "application/zip")
    with zipfile.ZipFile(io.BytesIO(reply.content)) as archive:
        assert archive.testzip() is None
        index = json.loads(archive.read("index.json"))
        assert [one["notice_id"] for one in index["notices"]] == mine
        assert index["case_number"] == CASE
        for place, one in enumerate(index["notices"], 1):
            folder = f"{place:03d}-{one['notice_id']}"
            data = archive.read(f"{folder}/proof.json")
            assert verify(data, [SIGNER.verifier]).ok
            assert hashlib.sha256(data).hexdigest() == one["proof_sha256"]
            kept = await desk.house.http.get(f"/v1/certificates/{one['certificate']}")
            assert archive.read(f"{folder}/{one['certificate']}.pdf") == kept.content
        assert len(archive.namelist()) == 5
    assert sorted(row.notice_id for row in await desk.house.rows(t.certificate)) == sorted(mine)


async def test_unknown_cases_and_readers_without_the_category(desk):
    """404 for a case of no notice, 422 without a reason, and nothing of another category for a limited key."""
    await served(desk)
    assert (await asked(desk, "(2026)京0108民初9号")).status_code == 404
    assert (await asked(desk, CASE, reason="")).status_code == 422
    await desk.house.database.write(lambda tx: tx.execute(update(t.api_key).values(categories="platform")))
    assert (await asked(desk, CASE)).status_code == 404
    assert await desk.house.rows(t.certificate) == []
