"""The service dies by SIGKILL at a chosen point of one delivery; the next process must know exactly what became of the attempt.

The points, in their order: sealed | written to the journal | the mail is with the server | its answer is in the journal | committed.
"""

import re

import pytest

from tests.fakes import sms_gateway
from tests.fakes.smtp_server import HANG
from tests.support.process import called, delivered, message_ids, outcomes, running, state
from tests.support.waiting import until

pytestmark = [pytest.mark.kill, pytest.mark.slow]
DIE = "from bench.crash import sabotage; sabotage.die({!r}, after={!r})"


async def died(run):
    """Wait until the process is dead, and start an ordinary one."""
    assert await run.service.gone(run.service.processes[0]) == -9
    run.service.wrapper = ""
    await run.service.start()


async def test_sealed_and_not_begun_was_not_sent(database_url, tmp_path):
    """Dead between seal and call: the attempt is not_sent, strikes nothing, and the mail goes out once, by the next attempt."""
    async with running(tmp_path, database_url, wrapper=DIE.format("start", False)) as run:
        await run.service.start()
        notice_id = await run.post(await run.recipient(), key="k")
        await died(run)
        notice = await run.until(notice_id, delivered)
        assert (outcomes(notice)[0], called(notice)) == ("not_sent", ["arrived"])
        assert len(run.mail.contents) == 1
        assert [e["attempt"] for e in notice["evidence"] if e["kind"] != "intended"] == [len(outcomes(notice))]
        await run.audited()


async def test_begun_and_not_connected_is_unknown(database_url, tmp_path):
    """Dead after the start line, before the call: nobody can tell it from a call that arrived, so it is unknown and repeated."""
    async with running(tmp_path, database_url, wrapper=DIE.format("start", True)) as run:
        await run.service.start()
        notice_id = await run.post(await run.recipient(), key="k")
        await died(run)
        assert called(await run.until(notice_id, delivered)) == ["unknown", "arrived"]
        assert len(run.mail.contents) == 1


async def test_mandatory_mail_at_the_server_is_sent_again_under_the_same_name(database_url, tmp_path):
    """Dead between the final dot and its answer: unknown, then sent again with the same Message-ID, another ENVID, both shown."""
    async with running(tmp_path, database_url) as run:
        process = await run.service.start()
        run.mail.script["CONTENT"] = [HANG]
        notice_id = await run.post(await run.recipient(), key="k")
        await run.mail.reached("CONTENT")
        await run.service.kill(process)
        del run.mail.script["CONTENT"]
        await run.service.start()
        notice = await run.until(notice_id, delivered)
        assert called(notice) == ["unknown", "arrived"]
        first, second = message_ids(run.mail)
        assert first == second
        assert [re.search(r"ENVID=(\S+)", taken.mail)[1] for taken in run.mail.contents] == [
            f"{notice_id}.email.1", f"{notice_id}.email.2"]
        await run.audited()


async def test_commercial_mail_at_the_server_is_not_sent_again(database_url, tmp_path):
    """The same with a commercial notice: once it was reconciled it waits for a receipt, for days, and nothing is sent."""
    async with running(tmp_path, database_url) as run:
        process = await run.service.start()
        run.mail.script["CONTENT"] = [HANG]
        recipient = await run.recipient()
        notice_id = await run.post(recipient, category="commercial", key="k")
        await run.mail.reached("CONTENT")
        await run.service.kill(process)
        del run.mail.script["CONTENT"]
        await run.service.start()
        await run.until(notice_id, lambda n: called(n) == ["unknown"])
        await until(lambda: run.due_in(notice_id), lambda seconds: seconds > 86400)
        await run.until(await run.post(recipient, category="commercial", key="later"), delivered)
        assert (called(await run.notice(notice_id)), state(await run.notice(notice_id))) == (["unknown"], "unknown")
        assert len(run.mail.contents) == 2


@pytest.mark.parametrize(("method", "after"), [("answer", True), ("committed", False)])
async def test_an_answer_in_the_journal_is_adopted(method, after, database_url, tmp_path):
    """Dead after the answer was written, before or after its commit: the next process records it once and sends nothing."""
    async with running(tmp_path, database_url, wrapper=DIE.format(method, after)) as run:
        await run.service.start()
        notice_id = await run.post(await run.recipient(), key="k")
        await died(run)
        notice = await run.until(notice_id, delivered)
        assert outcomes(notice) == ["arrived"]
        assert len(run.mail.contents) == 1
        assert [e["kind"] for e in notice["evidence"] if e["kind"] != "intended"] == ["arrived"]
        assert not [path for path in (run.service.folder / "journal").glob("*.journal") if path.stat().st_size > 200], "adopted and deleted"
        await run.audited()


async def test_a_submission_at_the_gateway_is_settled_by_its_report(database_url, tmp_path):
    """Dead between submission and answer, and the gateway reports meanwhile: the report settles it and nothing is sent again."""
    async with running(tmp_path, database_url, worker={"lease_s": 60}) as run:
        process = await run.service.start()
        run.sms.moves[:] = [sms_gateway.HANG]
        notice_id = await run.post(await run.recipient(), channels=("sms",), key="k")
        await run.sms.reached()
        await run.service.kill(process)
        run.sms.moves[:] = [sms_gateway.TAKEN]
        await run.service.start()
        assert await run.sms.report(run.sms.requests[0], 1, "stat:DELIVRD err:000") == 200
        notice = await run.until(notice_id, delivered)
        assert called(notice, "sms") == ["unknown"]
        assert await run.due_in(notice_id, "sms") is None
        assert len(run.sms.requests) == 1


async def test_a_lost_journal_leaves_the_outcome_unknown(database_url, tmp_path):
    """Dead before the answer and the journal is gone too, as after the loss of a host: unknown, and sent again."""
    async with running(tmp_path, database_url) as run:
        process = await run.service.start()
        run.mail.script["CONTENT"] = [HANG]
        notice_id = await run.post(await run.recipient(), key="k")
        await run.mail.reached("CONTENT")
        await run.service.kill(process)
        for path in (run.service.folder / "journal").iterdir():
            path.unlink()
        del run.mail.script["CONTENT"]
        await run.service.start()
        notice = await run.until(notice_id, delivered)
        assert called(notice) == ["unknown", "arrived"]
        assert len(message_ids(run.mail)) == 2
        assert len(set(message_ids(run.mail))) == 1
