"""The fault run in its small form, by the engine of `make soak`: the database dies, freezes or is cut off, a worker outsleeps its lease,
the disk is full, the clock jumps. After each, nothing is lost, second copies are within the bound and visible, and the audit holds.
"""

import pytest

from bench.crash.plan import Plan
from bench.crash.run import run
from bench.soak import ON_SQLITE, ONE_PROCESS

pytestmark = [pytest.mark.kill, pytest.mark.slow, pytest.mark.timeout(600)]


async def judged(tmp_path, capsys, plan, server=None):
    """Run a plan; nothing may be found, and what was left out for want of means is told by name."""
    verdict = await run(plan, tmp_path / "run", say=print, server=server)
    assert verdict.findings == [], verdict.numbers
    skipped = [line for line in capsys.readouterr().out.splitlines() if line.startswith("SKIPPED")]
    assert len(verdict.numbers["faults"]) + len(skipped) == len(plan.faults)
    if skipped:
        pytest.skip("; ".join(skipped))
    assert verdict.numbers["accepted"] == plan.notices


async def test_on_sqlite(tmp_path, capsys):
    """Everything is killed at once, the disk is full, the clock goes back an hour and forth two."""
    await judged(tmp_path, capsys, Plan(seed=7, notices=60, kills=0, faults=ON_SQLITE, proofs=1))


@pytest.mark.postgres
async def test_on_postgresql(durable_postgres, tmp_path, capsys):
    """The same, and PostgreSQL is stopped immediately and restarted, frozen for ten seconds, and cut off."""
    url = durable_postgres.new_database()
    await judged(tmp_path, capsys, Plan(seed=8, notices=100, kills=0, faults=ONE_PROCESS, database_url=url, proofs=1), durable_postgres)


@pytest.mark.postgres
async def test_a_worker_that_outslept_its_lease(durable_postgres, tmp_path, capsys):
    """Of two workers one is stopped longer than its lease and goes on: it records nothing that another took over meanwhile."""
    url = durable_postgres.new_database()
    plan = Plan(seed=9, notices=60, kills=0, faults=("worker stopped",), workers=2, database_url=url, proofs=1)
    await judged(tmp_path, capsys, plan, durable_postgres)
