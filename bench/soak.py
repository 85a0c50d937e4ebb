"""`make soak`: the kill test for long, and the fault run, on SQLite and on a private PostgreSQL with fsync on.

Results go to bench/RESULTS.md. `kills` kills the whole service at random moments; on PostgreSQL `worker kills` kills one of two workers,
again and again, while the API goes on. The fault run lets happen what bench.crash.faults names, on PostgreSQL once with one process and
once with two workers. The seed is printed and makes the same plans again. A soak that was interrupted goes on with `--resume DIR`, where
the records of its runs lie: with the kills and notices that are missing, and a fault run on a disk in memory from its beginning. The
short forms with the same engine are tests/acceptance/test_kill.py and test_fault_run.py. Exit status 0: nothing found.
"""

import argparse
import asyncio
import json
import random
import re
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path

from bench.crash import plan as plans
from bench.crash.plan import Plan
from bench.crash.run import run
from bench.crash.verdict import Verdict
from tests.support import postgres

ONE_PROCESS = ("everything killed", "database stopped", "database frozen", "database cut off", "disk full", "clock set")
ON_SQLITE = ("everything killed", "disk full", "clock set")
TWO_WORKERS = ("worker stopped", "everything killed", "worker stopped", "database stopped")
LEAST_KILLS = 50
RESULTS = Path(__file__).with_name("RESULTS.md")
_HEAD = "\n## Kill test (`make soak`)\n\n"
_TABLE = ("| day | database | seed | notices | kills | second copies: email, SMS | allowed | found wrong | s |\n"
          "|---|---|---|---|---|---|---|---|---|\n")

_FAULT_HEAD = "\n## Fault run (`make soak`)\n\n"
_FAULT_TABLE = ("| day | database | seed | notices | faults | second copies: email, SMS | allowed | found wrong | s |\n"
                "|---|---|---|---|---|---|---|---|---|\n")


def main() -> int:
    """Run what the command line asks for."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # sinks and service end with us, as on Ctrl-C
    given = _options().parse_args()
    folder = given.resume or given.folder or Path(tempfile.mkdtemp(prefix="noticesvc-soak-"))
    folder.mkdir(exist_ok=True)
    folder.chmod(0o711)  # PostgreSQL's data lies below, and it may run as somebody else
    kept = folder / "soak.json"
    if not kept.exists():
        seed = given.seed if given.seed is not None else random.SystemRandom().randrange(10**9)
        kept.write_text(json.dumps([*sys.argv[1:], "--seed", str(seed)]))
    asked = _options().parse_args(json.loads(kept.read_text()))
    _say(f"seed {asked.seed}, records in {folder}; goes on after an interruption with --resume {folder}")
    plan = Plan(seed=asked.seed, notices=asked.notices, kills=asked.kills, drain_s=600.0)
    done: list[tuple[str, Verdict]] = []
    for kind in ("sqlite", "postgresql"):
        if asked.database in (kind, "both"):
            for name, one in _plans(plan, kind, asked.only):
                done.append((f"{kind}, {name}", _kept_or_run(kind, one, folder / f"{kind}-{name.replace(' ', '-')}")))
    return _done(done)


def _options() -> argparse.ArgumentParser:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--notices", type=int, default=2000)
    options.add_argument("--kills", type=int, default=LEAST_KILLS, help="at least so many a run")
    options.add_argument("--only", choices=["kills", "faults"], default=None, help="one half of it")
    options.add_argument("--seed", type=int, default=None)
    options.add_argument("--database", choices=["sqlite", "postgresql", "both"], default="both")
    options.add_argument("--folder", type=Path, default=None, help="where the runs keep their records")
    options.add_argument("--resume", type=Path, default=None, metavar="DIR", help="go on with the soak in DIR, whose options are kept")
    return options


def _plans(plan: Plan, kind: str, only: str | None) -> list[tuple[str, Plan]]:
    """The runs on one database: kills, and other faults."""
    found = []
    few = replace(plan, notices=plan.notices // 2, kills=0)
    if only != "faults":
        found.append(("kills", plan))
        if kind == "postgresql":
            found.append(("worker kills", replace(few, faults=("worker killed",) * plan.kills, workers=2)))
    if only != "kills":
        found.append(("faults", replace(few, faults=ON_SQLITE if kind == "sqlite" else ONE_PROCESS)))
        if kind == "postgresql":
            found.append(("workers", replace(few, faults=TWO_WORKERS, workers=2)))
    return found


def _kept_or_run(kind: str, plan: Plan, folder: Path) -> Verdict:
    """What came of a run that is over, or the rest of it."""
    result = folder / "result.json"
    if result.exists():
        return Verdict(**json.loads(result.read_text()))
    if (folder / plans.FILE).exists():
        plan = Plan.load(folder)
        if "disk full" in plan.faults:  # its installation lay in memory
            shutil.rmtree(folder)
            plan = replace(plan, smtp_port=0, sms_port=0)
    else:
        shutil.rmtree(folder, ignore_errors=True)
    verdict = (_one if kind == "sqlite" else _postgresql)(plan, folder)
    result.write_text(json.dumps(asdict(verdict)))
    return verdict


def _postgresql(plan: Plan, folder: Path) -> Verdict:
    folder.mkdir(exist_ok=True)
    with postgres.running(durable=True, home=folder / "postgresql") as server:
        former = plan.database_url
        url = server.new_database() if former is None else re.sub(r":[0-9]+/", f":{server.port}/", former)
        return _one(replace(plan, database_url=url), folder, server if plan.faults else None)


def _one(plan: Plan, folder: Path, server: postgres.PrivatePostgres | None = None) -> Verdict:
    """One run, its result told and written down."""
    began = time.monotonic()
    verdict = asyncio.run(run(plan, folder, say=_say, server=server))
    took = time.monotonic() - began
    kind = "PostgreSQL" if (plan.database_url or "").startswith("postgresql") else "SQLite"
    mail, sms = verdict.numbers["email"], verdict.numbers["sms"]
    happened = Counter(verdict.numbers["faults"])
    what = ", ".join(f"{name} {count} times" if count > 2 else ", ".join([name] * count) for name, count in happened.items())
    _append(f"| {datetime.now(UTC):%Y-%m-%d} | {kind}{f', {plan.workers} workers' if plan.workers else ''} | {plan.seed} "
            f"| {verdict.numbers['accepted']:,} | {what if plan.faults else verdict.numbers['kills']} "
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
