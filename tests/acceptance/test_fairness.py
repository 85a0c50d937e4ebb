"""Nobody waits behind another's trouble: single notices pass bulk, and a provider that hangs leaves the others their calls.

Nothing here is timed: peers hang for good, and what is asserted comes about while they do.
"""

import pytest

from noticesvc.dispatch.slots import for_bulk, sure
from tests.fakes import sms_gateway, smtp_server
from tests.support.process import delivered, outcomes, running, state
from tests.support.waiting import until

pytestmark = [pytest.mark.kill, pytest.mark.slow]
PATIENT = {"lease_s": 240, "stop_grace_s": 110}  # with a time-out of 100 s whatever hangs hangs for the whole test


async def test_a_single_notice_passes_bulk_that_hangs(database_url, tmp_path):
    """A mail server hangs in every call that bulk may hold, and hundreds more are in hand: a single notice goes out all the same."""
    async with running(tmp_path, database_url, worker=PATIENT | {"concurrency": 8, "claim_batch": 40},
                       mail={"connections": 8, "timeout_s": 100}) as run:
        await run.service.start()
        recipient = await run.recipient()
        most = for_bulk(8) - sure(for_bulk(8), 2)
        run.mail.script["RCPT"] = [smtp_server.HANG] * most + [b"250 2.1.5 Ok\r\n"]
        ids = await run.post_many(recipient, 200)
        await until(lambda: rcpts(run), lambda count: count == most)
        single = await run.post(recipient)
        assert outcomes(await run.until(single, delivered)) == ["arrived"]
        assert await rcpts(run) == most + 1, "bulk took no further call"
        assert state(await run.notice(ids[-1])) == "pending"


async def rcpts(run):
    """How many conversations came to RCPT."""
    return sum(command.startswith("RCPT") for command in run.mail.commands)


async def test_a_gateway_that_hangs_leaves_mail_its_calls(database_url, tmp_path):
    """The gateway holds the calls that a provider may hold and no more, while mail of any kind goes out."""
    async with running(tmp_path, database_url, worker=PATIENT | {"concurrency": 8, "claim_batch": 40},
                       sms={"timeout_s": 100}) as run:
        await run.service.start()
        recipient = await run.recipient()
        run.sms.moves[:] = [sms_gateway.HANG]
        hanging = [await run.post(recipient, channels=("sms",)) for _ in range(10)]
        await until(lambda: requests(run), lambda count: count == 8 - sure(8, 2))
        mails = [await run.post(recipient), *await run.post_many(recipient, 60)]
        for one in mails:
            assert outcomes(await run.until(one, delivered)) == ["arrived"]
        assert await requests(run) == 8 - sure(8, 2)
        assert state(await run.notice(hanging[-1]), "sms") == "pending"


async def requests(run):
    """How many calls the gateway had."""
    return len(run.sms.requests)
