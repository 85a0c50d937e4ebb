"""`make soak`: the kill test for long, and the fault run, on SQLite and on a private PostgreSQL with fsync on.

Results go to bench/RESULTS.md. The fault run lets happen what bench.crash.faults names, on PostgreSQL once with one process and once
with two workers. The seed is printed and makes the same plans again. A run that was interrupted goes on with `--resume DIR`, where
its sinks', callers' and kills' records lie. The short forms with the same engine are tests/acceptance/test_kill.py and
test_fault_run.py. Exit status 0: nothing found.
"""

import argparse
import asyncio
import random
import signal
import sys
import tempfile
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from bench.crash.plan import Plan
from bench.crash.run import run
from bench.crash.verdict import Verdict
from tests.support import postgres

ONE_PROCESS = ("everything killed", "database stopped", "database frozen", "database cut off", "disk full", "clock set")
ON_SQLITE = ("everything killed", "disk full", "clock set")
TWO_WORKERS = ("worker stopped", "everything killed", "worker stopped", "database stopped")
RESULTS = Path(__file__).with_name("RESULTS.md")
_HEAD = "\n## Kill test (`make soak`)\n\n"
_TABLE = ("| day | database | seed | notices | kills | second copies: email, SMS | allowed | found wrong | s |\n"
          "|---|---|---|---|---|---|---|---|---|\n")

_FAULT_HEAD = "\n## Fault run (`make soak`)\n\n"
_FAULT_TABLE = ("| day | database | seed | notices | faults | second copies: email, SMS | allowed | found wrong | s |\n"
                "|---|---|---|---|---|---|---|---|---|\n")


def main() -> int:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m bench.soak", description="Kill the service again and again; count what was lost.")
    parser.add_argument("--notices", type=int, default=2000)
    parser.add_argument("--kills", type=int, default=34, help="at least so many a database")
    parser.add_argument("--only", choices=["kills", "faults"], default=None, help="one half of it")
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--database", choices=["sqlite", "postgresql", "both"], default="both")
    parser.add_argument("--folder", type=Path, default=None, help="where the runs keep their records")
    parser.add_argument("--resume", type=Path, default=None, metavar="DIR", help="go on with the SQLite run in DIR")
    asked = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # sinks and service end with us, as on Ctrl-C
    if asked.resume is not None:
        return _done([("sqlite", _one(Plan.load(asked.resume), asked.resume))])
    seed = asked.seed if asked.seed is not None else random.SystemRandom().randrange(10**9)
    folder = asked.folder or Path(tempfile.mkdtemp(prefix="noticesvc-soak-"))
    _say(f"seed {seed}, records in {folder}")
    plan = Plan(seed=seed, notices=asked.notices, kills=asked.kills, drain_s=600.0)
    done: list[tuple[str, Verdict]] = []
    for kind in ("sqlite", "postgresql"):
        if asked.database in (kind, "both"):
            for name, one in _plans(plan, kind, asked.only):
                done.append((f"{kind}, {name}", (_one if kind == "sqlite" else _postgresql)(one, folder / f"{kind}-{name}")))
    return _done(done)


def _plans(plan: Plan, kind: str, only: str | None) -> list[tuple[str, Plan]]:
    """The runs on one database: kills, and other faults."""
    found = [("kills", plan)] if only != "faults" else []
    if only != "kills":
        few = replace(plan, notices=plan.notices // 2, kills=0)
        found.append(("faults", replace(few, faults=ON_SQLITE if kind == "sqlite" else ONE_PROCESS)))
        if kind == "postgresql":
            found.append(("workers", replace(few, faults=TWO_WORKERS, workers=2)))
    return found


def _postgresql(plan: Plan, folder: Path) -> Verdict:
    with postgres.running(durable=True) as server:
        return _one(replace(plan, database_url=server.new_database()), folder, server if plan.faults else None)


def _one(plan: Plan, folder: Path, server: postgres.PrivatePostgres | None = None) -> Verdict:
    """One run, its result told and written down."""
    began = time.monotonic()
    verdict = asyncio.run(run(plan, folder, say=_say, server=server))
    took = time.monotonic() - began
    kind = "PostgreSQL" if (plan.database_url or "").startswith("postgresql") else "SQLite"
    mail, sms = verdict.numbers["email"], verdict.numbers["sms"]
    what = ", ".join(verdict.numbers["faults"]) if plan.faults else str(verdict.numbers["kills"])
    _append(f"| {datetime.now(UTC):%Y-%m-%d} | {kind}{f', {plan.workers} workers' if plan.workers else ''} | {plan.seed} "
            f"| {verdict.numbers['accepted']:,} | {what} "
            f"| {mail['second copies']}, {sms['second copies']} | {mail['allowed']}, {sms['allowed']} "
            f"| {len(verdict.findings) or 'nothing'} | {took:.0f} |\n", *((_FAULT_HEAD, _FAULT_TABLE) if plan.faults else (_HEAD, _TABLE)))
    return verdict


def _append(row: str, heading: str, table: str) -> None:
    """Add a row to the results, under a head of their own."""
    text = RESULTS.read_text("utf-8") if RESULTS.exists() else "# Results\n"
    before, head, after = text.partition(heading)
    if not head:
        RESULTS.write_text(text.rstrip("\n") + "\n" + heading + table + row, "utf-8")
        return
    ours, sep, rest = after.partition("\n## ")
    RESULTS.write_text(before + head + ours.rstrip("\n") + "\n" + row + sep + rest, "utf-8")


def _done(verdicts: list[tuple[str, Verdict]]) -> int:
    for kind, verdict in verdicts:
        _say(f"{kind}: {verdict.numbers}")
        for finding in verdict.findings:
            _say(f"{kind}: FOUND {finding}")
    return 1 if any(verdict.findings for _, verdict in verdicts) else 0


def _say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
