"""`make bench`: every row of the table in one run, against smtp-sink, a local gateway and a PostgreSQL of its own with fsync on.

What waits for a quiet machine and a quarter of an hour more: `python -m bench.run --sizes 10000,100000,1000000`.

Nothing is timed by a test and nothing here passes or fails: the figures go to bench/RESULTS.md, goals beside them. Runs of the
rows alternate, so that a busy moment of the machine meets them all. The run's name is its seed; `--resume NAME` goes on, with the
same options, with one that was interrupted. Figures of one run may be compared with each other, those of two may not.
"""

import argparse
import json
import shlex
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from bench import growth, report, rows
from bench.broadcast import row
from bench.service import POSTGRESQL
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
        "broadcast": lambda: row.expansion(database(), database(), bulk),
    }
    if with_peer:
        made = {"peer": lambda: rows.peer(database(), count)} | made
    return made


class Run:
    """What was measured so far, kept in a file after every measurement."""

    def __init__(self, name: str, given: list[str]) -> None:
        self.name, self.path = name, HERE / "results" / f"{name}.json"
        self.path.parent.mkdir(exist_ok=True)
        kept = json.loads(self.path.read_text()) if self.path.exists() else {"options": given, "took_s": 0.0, "figures": {}}
        self.options: list[str] = kept["options"]
        self.figures: dict[str, list[rows.Figures]] = kept["figures"]
        self._took_before, self._began = float(kept["took_s"]), time.monotonic()
        self._keep()

    @property
    def took_s(self) -> float:
        """Seconds, those before an interruption included."""
        return self._took_before + time.monotonic() - self._began

    def once(self, name: str, turn: int, measure: Callable[[], rows.Figures]) -> None:
        """Measure, unless this turn of it was measured before."""
        if len(self.figures.setdefault(name, [])) > turn:
            return
        self.figures[name].append(measure())
        self._keep()
        print(f"{turn + 1}: {name}: " + ", ".join(f"{k} {v:,.2f}" for k, v in self.figures[name][-1].items()), flush=True)

    def _keep(self) -> None:
        fresh = self.path.with_suffix(".new")
        fresh.write_text(json.dumps({"options": self.options, "took_s": self.took_s, "figures": self.figures}))
        fresh.replace(self.path)


def main() -> int:
    """Measure what the command line asks for."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # servers and sinks end with us, as on Ctrl-C
    given = _options().parse_args()
    run = Run(given.resume or datetime.now(UTC).strftime("%Y%m%dT%H%M%S"), sys.argv[1:])
    chosen = _options().parse_args(run.options)
    print(f"run {run.name}; goes on after an interruption with --resume {run.name}", flush=True)
    with postgres.running(durable=True, settings=POSTGRESQL) as server:
        names = parts(chosen.count, chosen.bulk, server.new_database, with_peer=not chosen.no_peer)
        for turn in range(chosen.runs):
            for name, measure in names.items():
                if chosen.only in name:
                    run.once(name, turn, measure)
    sizes = [int(size) for size in chosen.sizes.split(",") if size]
    if sizes and chosen.only in "growth":
        folder = chosen.grown or Path(tempfile.gettempdir()) / f"noticesvc-bench-{run.name}"
        _grown(run, folder, sizes, min(chosen.count, 3000), chosen.runs)
        if not chosen.grown:
            shutil.rmtree(folder)
    text = report.table(run.figures, shlex.join(["python", "-m", "bench.run", *run.options]), run.name, run.took_s)
    print(text)
    if not chosen.only:
        report.write(chosen.results, text)
    return 0


def _options() -> argparse.ArgumentParser:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--count", type=int, default=5000, help="notices a measurement")
    options.add_argument("--bulk", type=int, default=100_000, help="bulk notices while urgent ones are sent, and recipients of a broadcast")
    options.add_argument("--runs", type=int, default=3, help="runs of each; the median is quoted")
    options.add_argument("--sizes", default="10000,100000", help="stored notices at which cost is measured; empty: not at all")
    options.add_argument("--grown", type=Path, help="keep the databases of these sizes in this folder, or use those that lie there")
    options.add_argument("--only", default="", help="measure only rows whose name holds this; nothing is written down")
    options.add_argument("--no-peer", action="store_true", help="leave the peer out (it needs the extra `bench`)")
    options.add_argument("--resume", metavar="NAME", help="go on with an earlier run, whose options are kept")
    options.add_argument("--results", type=Path, default=RESULTS, help="where the table goes")
    return options


def _grown(run: Run, folder: Path, sizes: list[int], count: int, turns: int) -> None:
    """Grow, measure in turns, audit."""
    folder.mkdir(exist_ok=True)
    print(f"growth in {folder}", flush=True)
    with postgres.running(durable=True, home=folder / "server", settings=POSTGRESQL) as server:
        grown = growth.Growth(folder, server, count, lambda text: print(text, flush=True))
        grown.grow(sizes)
        for turn in range(turns):
            for size in sizes if turn % 2 == 0 else sizes[::-1]:  # so that a load that grows does not look like the sizes' doing
                run.once(f"growth {size}", turn, lambda size=size, turn=turn: grown.measure(size, turn))
        run.once("growth, audit", 0, lambda: grown.audit(max(sizes)))


if __name__ == "__main__":
    sys.exit(main())
