"""A storm of receipts against a running service, in its small form; `python -m bench.receipts` is the large one."""

import random

import pytest

from tests.support.process import running
from tests.support.storm import Storm

pytestmark = pytest.mark.slow


async def test_whatever_is_thrown_at_it_the_service_says_what_the_evidence_says(database_url, tmp_path):
    """No 500, nothing lost, and each notice's result is what `explain` and a second reading make of its evidence; the seed is printed."""
    seed = random.SystemRandom().randrange(10**9)
    print(f"python -m bench.receipts --seed {seed} --sequences 24")
    async with running(tmp_path, database_url, patient=True, sms={"unknown_subscriber_errors": ["001"]}) as run:
        await run.service.start()
        storm = Storm(run, seed, 24)
        await storm.blow()
        assert storm.wrong == []
        assert storm.seen["callback 200"] > 24
