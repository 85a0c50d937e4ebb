"""The process dies around a call of the sandbox, which can be asked afterwards: what it took is not sent again, what it did not is."""

import re

import pytest

from tests.support.process import called, running

pytestmark = [pytest.mark.kill, pytest.mark.slow]
DIES = "from bench.crash import sabotage; sabotage.die({!r}, after={!r})"
DEATHS = {
    "after the call": ("answer", False, 1),
    "before the call": ("start", True, 2),
}


@pytest.mark.parametrize("death", DEATHS)
async def test_the_sandbox_says_what_became_of_a_call(database_url, tmp_path, death):
    """Mail of either category: one copy in the end, by one attempt if it was taken, by a second if it never was."""
    method, after, attempts = DEATHS[death]
    async with running(tmp_path, database_url) as run:
        file = run.service.config_file
        text = re.sub(r"(?s)\[providers\.(mail|sms)\].*?(?=\n\[|\Z)", "", file.read_text())
        file.write_text(text + '\n[providers.mail]\nkind = "sandbox"\nchannel = "email"\ntimeout_s = 2\n')
        run.service.wrapper = DIES.format(method, after)
        process = await run.service.start()
        recipient = await run.recipient()
        notice_id = await run.post(recipient, category="commercial", key="k")
        await run.service.gone(process)
        run.service.wrapper = ""
        await run.service.start()
        notice = await run.until(notice_id, lambda n: n["deliveries"][0]["state"] == "delivered")
        assert len(called(notice)) == attempts
        assert called(notice)[0] == "unknown"
        _, kept = await run.caller.get("/sandbox/messages")
        assert len(kept["items"]) == 1
        await run.audited()
