"""The kill test in its small form: callers post, the service is killed again and again, and nothing is lost or silently sent twice.

The engine is bench.crash; `make soak` runs it for long. Here its seed is fixed, and faults put in on purpose show that it finds them.
"""

import pytest

from bench.crash.plan import Plan
from bench.crash.run import run

pytestmark = [pytest.mark.kill, pytest.mark.slow, pytest.mark.timeout(400)]
# how often the service is killed, and the finding that must be there
SABOTAGE = {
    "commit_before_append": (2, "ledger audit ended with 1"),
    "result_before_commit": (2, "its attempt says it was not sent"),
    "no_journal": (2, "its attempt says it was not sent"),
    "no_leases": (0, "second copies, more than the 0"),
    "answers_without_calls": (0, "LOST"),
}


async def test_nothing_is_lost_and_nothing_silently_sent_twice(database_url, tmp_path):
    """After SIGKILLs at seeded moments each notice came to each channel, each second copy is within the bound and shown."""
    plan = Plan(seed=20261122, notices=300, kills=5, database_url=database_url)
    verdict = await run(plan, tmp_path / "run", say=print)
    assert verdict.findings == [], verdict.numbers
    assert verdict.numbers["kills"] >= plan.kills
    assert verdict.numbers["accepted"] == plan.notices


@pytest.mark.parametrize("fault", SABOTAGE)
async def test_a_fault_put_in_on_purpose_is_found(fault, tmp_path):
    """The verdict names the fault when commit and append, or answer and commit, change places, or nothing guards a call."""
    kills, expected = SABOTAGE[fault]
    plan = Plan(seed=3, notices=30, kills=kills, recipients=20, drain_s=8.0, proofs=0, slowest_s=0.6)
    verdict = await run(plan, tmp_path / "run", wrapper=f"from bench.crash import sabotage; sabotage.{fault}()")
    assert any(expected in finding for finding in verdict.findings), verdict
