"""The kill test in its small form: callers post, the service is killed again and again, and nothing is lost or silently sent twice.

The engine is bench.crash; `make soak` runs it for long. Here its seed is fixed, and faults put in on purpose show that it finds them.
"""

import pytest

from bench.crash.plan import Plan
from bench.crash.run import run

pytestmark = [pytest.mark.kill, pytest.mark.slow, pytest.mark.timeout(400)]
SABOTAGE = {
    "commit_before_append": "ledger audit ended with 1",
    "result_before_commit": "its attempt says it was not sent",
    "no_journal_and_no_leases": "its attempt says it was not sent",
    "answers_without_calls": "LOST",
}


async def test_nothing_is_lost_and_nothing_silently_sent_twice(database_url, tmp_path):
    """After SIGKILLs at seeded moments each notice came to each channel, each second copy is within the bound and shown."""
    plan = Plan(seed=20261122, notices=300, kills=5, database_url=database_url)
    verdict = await run(plan, tmp_path / "run", say=print)
    assert verdict.findings == [], verdict.numbers
    assert verdict.numbers["kills"] >= plan.kills
    assert verdict.numbers["accepted"] == plan.notices


@pytest.mark.parametrize(("fault", "found"), SABOTAGE.items())
async def test_a_fault_put_in_on_purpose_is_found(fault, found, tmp_path):
    """The verdict names the fault when commit and append, or answer and commit, change places, or nothing guards a call."""
    plan = Plan(seed=3, notices=40, kills=2, drain_s=10.0)
    verdict = await run(plan, tmp_path / "run", wrapper=f"from bench.crash import sabotage; sabotage.{fault}()")
    assert any(found in finding for finding in verdict.findings), verdict
