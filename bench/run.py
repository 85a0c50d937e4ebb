"""`make bench`: every row of the table in one run, against smtp-sink, a local gateway and a PostgreSQL of its own with fsync on.

Nothing is timed by a test and nothing here passes or fails: the figures go to bench/RESULTS.md, goals beside them. Runs of the
rows alternate, so that a busy moment of the machine meets them all. The run's name is its seed; `--resume NAME` goes on with
one that was interrupted. Figures of one run may be compared with each other, those of two may not.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from bench import report, rows
from tests.support import postgres

HERE = Path(__file__).parent
RESULTS = HERE / "RESULTS.md"


def parts(count: int, bulk: int, database: Callable[[], str], *, with_peer: bool) -> dict[str, Callable[[], rows.Figures]]:
    """The measurements by name, in their order."""
    made: dict[str, Callable[[], rows.Figures]] = {
        "email, dispatch": lambda: rows.email_dispatch(database(), count),
        "email, dispatch, 2 workers": lambda: rows.email_dispatch(database(), count, workers=2),
        "email, together": lambda: rows.email_together(database(), count),
        "email, together, SQLite": lambda: rows.email_together(None, count),
        "SMS, dispatch": lambda: rows.sms_dispatch(database(), count),
        "SMS, together": lambda: rows.sms_together(database(), count),
        "in-site, dispatch": lambda: rows.in_site_dispatch(database(), count),
        "enqueue": lambda: rows.enqueue(database(), count),
        "import": lambda: rows.recipients_import(database(), 4 * count),
        "urgent": lambda: rows.urgent(database(), bulk),
    }
    if with_peer:
        made = {"peer": lambda: rows.peer(database(), count)} | made
    return made


def main() -> int:
    """Measure what the command line asks for."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--count", type=int, default=5000, help="notices a measurement")
    options.add_argument("--bulk", type=int, default=20000, help="bulk notices while urgent ones are sent")
    options.add_argument("--runs", type=int, default=3, help="runs of each; the median is quoted")
    options.add_argument("--sizes", default="10000,100000", help="stored notices at which cost is measured; empty: not at all")
    options.add_argument("--only", default="", help="measure only rows whose name holds this; nothing is written down")
    options.add_argument("--no-peer", action="store_true", help="leave the peer out (it needs the extra `bench`)")
    options.add_argument("--resume", metavar="NAME", help="go on with an earlier run")
    options.add_argument("--results", type=Path, default=RESULTS, help="where the table goes")
    chosen = options.parse_args()
    run = chosen.resume or datetime.now(UTC).strftime("%Y%m%dT%H%M%S")
    kept = HERE / "results" / f"{run}.json"
    kept.parent.mkdir(exist_ok=True)
    print(f"run {run}; goes on after an interruption with --resume {run}", flush=True)
    figures: dict[str, list[rows.Figures]] = json.loads(kept.read_text()) if kept.exists() else {}
    began = time.monotonic()
    with postgres.running(durable=True) as server:
        names = parts(chosen.count, chosen.bulk, server.new_database, with_peer=not chosen.no_peer)
        for turn in range(chosen.runs):
            for name, measure in names.items():
                if chosen.only not in name or len(figures.setdefault(name, [])) > turn:
                    continue
                figures[name].append(measure())
                kept.write_text(json.dumps(figures))
                print(f"{turn + 1}: {name}: " + ", ".join(f"{k} {v:,.2f}" for k, v in figures[name][-1].items()), flush=True)
        sizes = [int(size) for size in chosen.sizes.split(",") if size]
        if sizes and chosen.only in "growth" and not any(name.startswith("growth") for name in figures):
            for size, found in rows.growth(server.new_database(), sizes, min(chosen.count, 3000)).items():
                figures[f"growth {size}"] = [found]
                print(f"growth, {size} stored: " + ", ".join(f"{k} {v:,.2f}" for k, v in found.items()), flush=True)
            kept.write_text(json.dumps(figures))
    command = f"python -m bench.run --count {chosen.count} --bulk {chosen.bulk} --runs {chosen.runs} --sizes {chosen.sizes}"
    text = report.table(figures, command, run, time.monotonic() - began)
    print(text)
    if not chosen.only:
        report.write(chosen.results, text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
