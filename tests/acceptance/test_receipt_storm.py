"""A storm of receipts against a running service, in its small form; `python -m bench.receipts` is the large one."""

import random

import pytest

from tests.support.process import running
from tests.support.storm import Storm
from tests.support.storm_vendors import vendors

pytestmark = pytest.mark.slow
SEQUENCES = 16


async def test_whatever_is_thrown_at_it_the_service_says_what_the_evidence_says(database_url, tmp_path):
    """No 500, nothing lost, and each notice's result is what `explain` and a second reading make of its evidence; the seed is printed."""
    seed = random.SystemRandom().randrange(10**9)
    print(f"python -m bench.receipts --seed {seed} --sequences {SEQUENCES}")
    async with running(tmp_path, database_url, patient=True, sms={"unknown_subscriber_errors": ["001"]}) as run, \
            vendors(run, seed, SEQUENCES) as others:
        await run.service.start()
        storm = Storm(run, seed, SEQUENCES, others)
        await storm.blow()
        assert storm.wrong == []
        assert storm.seen["callback 200"] > 0
        assert storm.seen["callback 401"] + storm.seen["callback 400"] > 0
